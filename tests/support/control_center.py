"""The control center as people meet it: a server with workers, an emulated upstream, a real browser."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from keepstep import always_on
from tests.support.site import Served, served
from tests.support.upstream import Upstream

PAGE = "/systems/integrations"


@asynccontextmanager
async def working(dsn: str, home: Path, upstream: Upstream, **environment: str) -> AsyncIterator[Served]:
    """Keepstep with workers and a scheduler, reading an emulated upstream."""
    given = {
        "DOORLOOP_BASE_URL": upstream.url, "DOORLOOP_API_KEY": upstream.options.api_key, "DOORLOOP_PAGE_SIZE": "20",
        "DOORLOOP_RATE_LIMIT_RPS": "1000", **environment,
    }  # fmt: skip
    async with served(dsn, home, **given) as site, always_on.working(site.service, concurrency=2):
        yield site


async def run(site: Served, *entities: str, **body: Any) -> int:
    """Start a run and give its number."""
    asked = {"mode": "backfill", **({"entities": list(entities)} if entities else {}), **body}
    answer = await site.admin.post("/api/admin/sync/run", json=asked)
    assert answer.status_code == 202, answer.text
    return int(answer.json()["runId"])
