"""A commit whose confirmation was lost with the connection is repeated, and counts once."""

from collections.abc import AsyncIterator

import pytest

from keepstep.store.db import Database
from tests.support.sync import Sync, counts_of, entity_of
from tests.support.upstream import SMALL
from tests.support.wire import Wire, wire_to


@pytest.fixture
async def wire(dsn: str) -> AsyncIterator[Wire]:
    async with wire_to(dsn) as wire:
        yield wire


async def test_a_flush_counts_once(sync: Sync, wire: Wire) -> None:
    sync.upstream.poison("leases", "nul-in-text")
    wire.cut_at("leases: page", times=2)
    run = await sync.run("leases", on=Database(wire.dsn), flush_rows=20)
    assert wire.cuts == 2
    assert run.result == "succeeded"
    assert counts_of(run) == {"inserted": SMALL["leases"], "dead_lettered": 1}
    assert (entity_of(run, "leases").pages, entity_of(run, "leases").requests) == (4, 4)
    assert [letter["attempts"] for letter in await sync.letters()] == [1]
    assert len([event for event in await sync.views.events(run.run_id) if event.type == "page"]) == 4


async def test_the_end_of_an_entity_counts_once(sync: Sync, wire: Wire) -> None:
    await sync.run("leases")
    lost = sync.upstream.change("leases", delete=3)["deleted"]
    wire.cut_at("entity-finished")
    run = await sync.run("leases", on=Database(wire.dsn))
    assert wire.cuts == 1
    assert run.result == "succeeded"
    assert counts_of(run) == {"unchanged": SMALL["leases"] - 3, "deleted": 3}
    assert run.entities[0].completeness == f"complete: all {SMALL['leases'] - 3} records seen"
    rows = await sync.rows("leases")
    assert {key for key, row in rows.items() if row["_deleted_at"]} == set(lost)
    assert [event.type for event in await sync.views.events(run.run_id)].count("entity-finished") == 1


async def test_a_second_look_is_taken_although_the_first_was_decided_twice(sync: Sync, wire: Wire) -> None:
    await sync.run("leases")
    lost = sync.upstream.change("leases", delete=2)["deleted"]
    sync.upstream.fault("shift", entity="leases", page=1, rows=1)
    wire.cut_at("look-again")
    sync.upstream.reset_requests()
    run = await sync.run("leases", on=Database(wire.dsn))
    assert wire.cuts == 1
    assert run.result == "succeeded"
    assert sync.upstream.asked("leases") == 2 * 3
    rows = await sync.rows("leases")
    assert {key for key, row in rows.items() if row["_deleted_at"]} == set(lost)
    await sync.assert_in_step("leases")


async def test_the_end_of_a_run_is_told_once(sync: Sync, wire: Wire) -> None:
    wire.cut_at("run-finished")
    run = await sync.run("owners", on=Database(wire.dsn))
    assert wire.cuts == 1
    assert run.result == "succeeded"
    told = await sync.sql("SELECT event_type FROM keepstep.audit_events ORDER BY created_at")
    assert [row["event_type"] for row in told] == ["SYNC_STARTED", "SYNC_FINISHED"]
