"""The log of all runs, for who comes late to the feed."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.site import Served, served
from tests.support.sync import Sync


@pytest.fixture
async def site(sync: Sync, tmp_path: Path) -> AsyncIterator[Served]:
    async with served(sync.dsn, tmp_path) as site:
        yield site


async def logs(site: Served, **query: Any) -> list[dict[str, Any]]:
    answer = await site.admin.get("/api/admin/sync/logs", params=query)
    assert answer.status_code == 200, answer.text
    return list(answer.json())


async def test_the_log_holds_the_events_of_all_runs_in_the_order_in_which_they_came(site: Served, sync: Sync) -> None:
    first, second = await sync.run("owners"), await sync.delta("tenants")
    found = await logs(site)
    told = [e.msg for run in (first, second) for e in await sync.views.events(run.run_id)]
    assert [line["msg"] for line in found] == told
    assert [line["id"] for line in found] == sorted(line["id"] for line in found)
    assert set(found[0]) == {"id", "type", "ts", "entity", "page", "rows", "level", "msg", "runId"}


async def test_the_log_is_filtered_and_read_backwards_in_pieces(site: Served, sync: Sync) -> None:
    sync.upstream.fault("html", entity="owners", count=9)
    run = await sync.run("owners", "tenants")
    assert {line["entity"] for line in await logs(site, entity="tenants")} == {"tenants"}
    assert {line["level"] for line in await logs(site, level="error")} == {"error"}
    assert await logs(site, runId=run.run_id + 1) == []
    everything = await logs(site, entity="", level="", runId="")
    newest = await logs(site, limit=3)
    assert newest == everything[-3:]
    assert await logs(site, limit=3, before=newest[0]["id"]) == everything[-6:-3]
