"""A reading that goes on after an interruption ends in step with upstream, whatever happened there meanwhile."""

import asyncio

import pytest

from tests.engine.test_deletions import completeness, deleted
from tests.support.sync import Sync, counts_of, entity_of
from tests.support.upstream import SMALL

LEASES = SMALL["leases"]


def by_creation(sync: Sync) -> list[str]:
    """The ids of leases in the order of a full reading."""
    return [record["id"] for record in sorted(sync.upstream.records("leases"), key=lambda r: r["createdAt"])]


async def interrupted(sync: Sync) -> list[str]:
    """A full reading of three pages that ended after two; the ids it had read, and those it had not."""
    sync.upstream.fault("503", entity="leases", page=3, forever=True)
    assert (await sync.run("leases", flush_rows=1)).result == "failed"
    sync.upstream.clear_faults()
    sync.upstream.reset_requests()
    return by_creation(sync)


@pytest.mark.parametrize("loaded", [False, True], ids=["first load", "loaded before"])
@pytest.mark.parametrize("created", [0, 3])
async def test_records_that_went_and_came_while_it_was_interrupted_are_missed_by_nobody(
    sync: Sync, loaded: bool, created: int
) -> None:
    if loaded:
        await sync.run("leases")
    ids = await interrupted(sync)
    sync.upstream.change("leases", delete=ids[:3])
    sync.upstream.change("leases", create=created)

    run = await sync.run("leases")

    assert entity_of(run, "leases").resumed
    assert completeness(run) == f"complete: all {LEASES - 3 + created} records seen"
    assert await deleted(sync) == set(ids[:3])
    await sync.assert_in_step("leases")
    assert any("the listing has moved" in event.msg for event in sync.events)


async def test_what_a_reading_counts_is_what_it_read_even_where_it_began_again(sync: Sync) -> None:
    await sync.run("leases")
    ids = await interrupted(sync)
    changed = sync.upstream.change("leases", update=5)["updated"]
    sync.upstream.change("leases", delete=ids[:3])
    gone = set(changed) & set(ids[:3])

    counts = counts_of(await sync.run("leases"))

    # The two pages before the interruption were counted by the run that read them; three records of them are gone.
    assert counts["deleted"] == 3
    assert counts["updated"] == len(changed) - len(gone)
    newly_met = [key for key in ids[40:] if key not in changed]
    assert counts["unchanged"] == len(newly_met)


async def test_a_listing_that_held_still_goes_on_where_it_was_after_one_look_back(sync: Sync) -> None:
    await interrupted(sync)
    sync.upstream.change("leases", update=4, create=2)

    run = await sync.run("leases")

    assert counts_of(run) == {"inserted": LEASES - 40 + 2}
    pages = [request.page for request in sync.upstream.requests() if request.entity == "leases"]
    assert pages == [2, 3, 4]
    await sync.delta("leases")
    await sync.assert_in_step("leases")


async def test_rows_that_go_between_the_two_looks_are_deleted_after_a_third(sync: Sync) -> None:
    await sync.run("leases")
    ids = by_creation(sync)
    sync.upstream.change("leases", delete=ids[:2])

    def delete_more(event: object) -> None:
        if getattr(event, "type", "") == "page" and sync.upstream.asked("leases") == 3:
            sync.upstream.change("leases", delete=[key for key in ids[2:5] if key in sync.upstream.ids("leases")])

    sync.upstream.reset_requests()
    run = await sync.run("leases", listener=delete_more)

    assert sync.upstream.asked("leases") == 9
    assert completeness(run) == f"complete: all {LEASES - 5} records seen"
    assert counts_of(run) == {"unchanged": LEASES - 2, "deleted": 5}
    assert await deleted(sync) == set(ids[:5])
    await sync.assert_in_step("leases")


async def test_a_reading_that_missed_records_looks_again_before_it_ends(sync: Sync) -> None:
    sync.concurrency = 1
    ids = by_creation(sync)

    def swap(event: object) -> None:
        if getattr(event, "page", None) == 2:
            sync.upstream.change("leases", delete=[key for key in ids[:3] if key in sync.upstream.ids("leases")])

    sync.page_size = 5
    run = await sync.run("leases", listener=swap, flush_rows=1)

    assert run.result == "succeeded"
    assert completeness(run) == f"complete: all {LEASES - 3} records seen"
    assert await deleted(sync) == set(ids[:3])
    await sync.assert_in_step("leases")


async def test_a_delta_without_a_watermark_that_is_resumed_misses_nothing_either(sync: Sync) -> None:
    sync.upstream.fault("503", entity="leases", page=3, forever=True)
    await sync.delta("leases", flush_rows=1)
    sync.upstream.clear_faults()
    ids = by_creation(sync)
    sync.upstream.change("leases", delete=ids[:3])

    run = await sync.delta("leases")

    assert counts_of(run)["inserted"] == LEASES - 40
    assert set(ids[3:]) <= set(await sync.rows("leases"))


async def test_a_reading_that_was_interrupted_when_all_was_read_looks_whether_it_still_is_so(sync: Sync) -> None:
    ids = by_creation(sync)
    stopped = asyncio.create_task(sync.run("leases", listener=lambda e: e.page == 3 and stopped.cancel()))
    with pytest.raises(asyncio.CancelledError):
        await stopped
    assert (await sync.value("SELECT cursor->>'done' FROM keepstep.checkpoints")) == "true"
    sync.upstream.change("leases", delete=ids[:3])

    run = await sync.run("leases")

    assert completeness(run) == f"complete: all {LEASES - 3} records seen"
    assert await deleted(sync) == set(ids[:3])


async def test_a_listing_that_was_read_before_the_interruption_is_looked_at_as_well(sync: Sync) -> None:
    await sync.run("units")
    active = [record["id"] for record in sync.upstream.records("units") if record["active"]]
    sync.upstream.fault("503", entity="units", page=1, after=1, forever=True)  # the listing of inactive ones
    sync.page_size = 100
    assert (await sync.run("units", flush_rows=1)).result == "failed"
    sync.upstream.clear_faults()
    sync.upstream.change("units", delete=active[:2])

    run = await sync.run("units")

    assert completeness(run, "units") == f"complete: all {SMALL['units'] - 2} records seen"
    assert await deleted(sync, "units") == set(active[:2])
