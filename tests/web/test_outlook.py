"""Health hour by hour, and the outlook on upstream's limit, by the API."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.support.site import Served, served
from tests.support.upstream import Upstream

SYNC = "/api/admin/sync"


@pytest.fixture
async def site(dsn: str, tmp_path: Path, upstream: Upstream) -> AsyncIterator[Served]:
    key = upstream.options.api_key
    async with served(dsn, tmp_path, DOORLOOP_API_KEY=key, DOORLOOP_BASE_URL=upstream.url) as site:
        yield site


async def test_the_score_is_kept_once_an_hour(site: Served) -> None:
    await site.sql("INSERT INTO keepstep.connections (integration) VALUES ('doorloop')")
    for _ in range(2):
        await site.sql("DELETE FROM keepstep.ticks")
        await site.service.health_history.round()

    [kept] = (await site.admin.get(f"{SYNC}/health?hours=2")).json()
    assert kept["score"] == 70
    assert kept["deductions"] == [{"points": 30, "reason": "Not every entity has been read successfully yet."}]


async def test_the_outlook_says_what_a_full_run_needs(site: Served) -> None:
    before = (await site.admin.get(f"{SYNC}/rate-limit/outlook")).json()
    await site.sql("INSERT INTO keepstep.connections (integration) VALUES ('doorloop') ON CONFLICT DO NOTHING")
    await site.sql(
        "WITH r AS (INSERT INTO keepstep.runs (connection_id, mode, dry_run, trigger, state, started_at, finished_at)"
        " SELECT id, 'backfill', false, 'manual', 'succeeded', now(), now() FROM keepstep.connections RETURNING id)"
        " INSERT INTO keepstep.run_entities (run_id, entity, position, state, requests)"
        " SELECT id, 'leases', 1, 'succeeded', 140 FROM r"
    )
    await site.sql("INSERT INTO keepstep.request_minutes SELECT id, now(), 120, 0 FROM keepstep.connections")
    after = (await site.admin.get(f"{SYNC}/rate-limit/outlook")).json()

    assert before["forecast"]["needed"] is None
    assert len(before["strategy"]) == 5
    assert (after["forecast"]["needed"], after["forecast"]["left"], after["forecast"]["enough"]) == (140, 380, True)
    assert "380 are left this hour" in after["forecast"]["words"]


async def test_the_outlook_knows_a_full_run_once_each_entity_was_read_in_full(site: Served) -> None:
    await site.sql("INSERT INTO keepstep.connections (integration) VALUES ('doorloop') ON CONFLICT DO NOTHING")
    needed = []
    for entity, requests in (("leases", 140), ("owners", 2), ("leases", 150)):
        await site.sql(
            "WITH r AS (INSERT INTO keepstep.runs"
            " (connection_id, mode, dry_run, trigger, state, started_at, finished_at)"
            " SELECT id, 'backfill', false, 'manual', 'succeeded', now(), now() FROM keepstep.connections RETURNING *),"
            " e AS (INSERT INTO keepstep.run_entities (run_id, entity, position, state, requests)"
            " SELECT id, %s, 1, 'succeeded', %s FROM r)"
            " INSERT INTO keepstep.entity_states (connection_id, entity, last_delta_at)"
            " SELECT connection_id, unnest(ARRAY['owners', 'leases']), now() FROM r ON CONFLICT DO NOTHING",
            entity,
            requests,
        )
        needed.append((await site.admin.get(f"{SYNC}/rate-limit/outlook")).json()["forecast"]["needed"])

    assert needed == [None, 142, 152]
