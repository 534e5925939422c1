"""A Keepstep that serves, with an upstream of its own, and how it names what is wrong."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from keepstep.model.diagnosis import TABLE
from tests.support.site import Served, served
from tests.support.sync import Sync

SYNC = "/api/admin/sync"
DOORLOOP = "/api/admin/integrations/doorloop"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The faults are those of the test, not of a proxy on this machine."""
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
async def site(sync: Sync, tmp_path: Path) -> AsyncIterator[Served]:
    """An application on the database of ``sync``, with the credentials of its upstream."""
    async with at(sync, tmp_path, sync.upstream.url) as site:
        yield site


def at(sync: Sync, home: Path, base_url: str, **environment: str) -> Any:
    """The same, pointed elsewhere."""
    key = {"DOORLOOP_API_KEY": sync.upstream.options.api_key}
    return served(sync.dsn, home, DOORLOOP_BASE_URL=base_url, **{**key, **environment})


async def status(site: Served) -> dict[str, Any]:
    answer = await site.admin.get(f"{SYNC}/status")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


async def problems(site: Served) -> dict[str, dict[str, Any]]:
    """What the status says is wrong, by code; everything as the table has it."""
    found = (await status(site))["problems"]
    for problem in found:
        fault = TABLE[problem["code"]]
        assert (problem["severity"], problem["title"], problem["impact"]) == (fault.severity, fault.title, fault.impact)
        assert problem["docs"] == f"docs/diagnosis.md#{fault.code}"
        assert problem["fix"]
        assert problem["message"]
    return {problem["code"]: problem for problem in found}


async def ping(site: Served) -> dict[str, Any]:
    """What the periodic ping finds for the status, and then somebody who pings now."""
    await site.service.pinger.ping("doorloop")
    return dict((await site.admin.get(f"{DOORLOOP}/ping")).json())
