"""The control center as people meet it: a server with workers, an emulated upstream, a real browser."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from keepstep import always_on
from keepstep.app import App
from keepstep.config import Settings
from keepstep.model.schedule import Role
from keepstep.service.core import Service
from keepstep.service.feed import Feed
from keepstep.web.app import create_app
from keepstep.web.server import Site
from tests.support.site import ADMIN_TOKEN, PASSWORD, Served, served
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


class Restarting:
    """A web process that can be taken down and started again at the same address, while workers go on."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._stack = AsyncExitStack()
        self._port = 0
        self.url = ""

    async def start(self) -> None:
        """Serve, where it served before."""
        service = replace(self._service, feed=Feed(self._service.database))
        site = Site(create_app(service, version="test"), "127.0.0.1", self._port)
        self._stack.callback(site.close)
        await self._stack.enter_async_context(site.serving())
        self._stack.push_async_callback(service.feed.aclose)
        self.url, self._port = site.url, int(site.url.rsplit(":", 1)[1])

    async def stop(self) -> None:
        """End it, in order."""
        await self._stack.aclose()


@asynccontextmanager
async def restarting(dsn: str, home: Path, upstream: Upstream) -> AsyncIterator[tuple[Restarting, Service]]:
    """A web process with workers beside it; ana is an admin."""
    settings = {
        "DATABASE_URL": dsn, "KEEPSTEP_HOME": str(home), "ADMIN_SYNC_TOKEN": ADMIN_TOKEN,
        "DOORLOOP_BASE_URL": upstream.url, "DOORLOOP_API_KEY": upstream.options.api_key,
        "DOORLOOP_RATE_LIMIT_RPS": "1000",
    }  # fmt: skip
    async with App(Settings.load(settings)).open() as service, always_on.working(service, concurrency=2):
        await service.accounts.add_user("ana", PASSWORD, Role.ADMIN, by="test")
        web = Restarting(service)
        await web.start()
        try:
            yield web, service
        finally:
            await web.stop()


async def settled(site: Served, run_id: int) -> dict[str, Any]:
    """A run once it has ended or waits."""
    while True:
        found = (await site.admin.get(f"/api/admin/sync/runs/{run_id}?events=0")).json()
        if found["result"] not in ("queued", "running"):
            return dict(found)
        await site.service.views.events(run_id)
