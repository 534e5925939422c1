"""A row is marked deleted only on proof; large deletions wait for a person."""

import json

import pytest

from keepstep.model.errors import Conflict
from keepstep.service.shapes import RunSummary
from tests.support.sync import Sync, counts_of, entity_of
from tests.support.upstream import SMALL, Upstream, some

LEASES = SMALL["leases"]


async def deleted(sync: Sync, entity: str = "leases") -> set[str]:
    """The ids of rows that are marked deleted."""
    return {key for key, row in (await sync.rows(entity)).items() if row["_deleted_at"]}


def completeness(run: RunSummary, entity: str = "leases") -> str:
    """What the run says about having seen everything."""
    return entity_of(run, entity).completeness or ""


@pytest.fixture
async def loaded(sync: Sync) -> Sync:
    """Leases are in step."""
    await sync.run("leases")
    sync.upstream.reset_requests()
    return sync


# Proof


async def test_a_deletion_shows_after_two_looks_that_both_did_not_see_the_row(loaded: Sync) -> None:
    lost = loaded.upstream.change("leases", delete=4)["deleted"]
    run = await loaded.run("leases")
    assert counts_of(run) == {"unchanged": LEASES - 4, "deleted": 4}
    assert completeness(run) == f"complete: all {LEASES - 4} records seen"
    assert await deleted(loaded) == set(lost)
    assert loaded.upstream.asked("leases") == 2 * 3
    await loaded.assert_in_step("leases")


async def test_a_deleted_row_keeps_its_content_and_says_when_and_by_which_run(loaded: Sync) -> None:
    before = await loaded.rows("leases")
    [lost] = loaded.upstream.change("leases", delete=1)["deleted"]
    run = await loaded.run("leases")
    row = (await loaded.rows("leases"))[lost]
    assert row["_deleted_at"] == row["_changed_at"] > before[lost]["_changed_at"]
    assert row["_run_id"] == run.run_id
    moved = ("_deleted_at", "_changed_at", "_run_id")
    assert {k: v for k, v in row.items() if k not in moved} == {k: v for k, v in before[lost].items() if k not in moved}


async def test_when_nothing_is_missing_one_look_is_enough(loaded: Sync) -> None:
    run = await loaded.run("leases")
    assert completeness(run) == f"complete: all {LEASES} records seen"
    assert loaded.upstream.asked("leases") == 3


async def test_a_delta_never_deletes(loaded: Sync) -> None:
    loaded.upstream.change("leases", delete=4)
    assert counts_of(await loaded.delta("leases")).get("deleted") is None
    assert await deleted(loaded) == set()


async def test_a_row_that_comes_back_is_live_again_although_it_is_the_same(loaded: Sync) -> None:
    before = await loaded.rows("leases")
    truth = {json.loads(raw)["id"]: raw for raw in await loaded.upstream.truth("leases")}
    [lost] = loaded.upstream.change("leases", delete=1)["deleted"]
    await loaded.run("leases")
    assert await deleted(loaded) == {lost}
    loaded.upstream.inject("leases", truth[lost])
    run = await loaded.run("leases")
    assert counts_of(run) == {"updated": 1, "unchanged": LEASES - 1}
    row = (await loaded.rows("leases"))[lost]
    assert row["_deleted_at"] is None
    assert row["_hash"] == before[lost]["_hash"]
    assert row["_first_seen_at"] == before[lost]["_first_seen_at"]
    assert row["_run_id"] == run.run_id
    await loaded.assert_in_step("leases")


async def test_a_deleted_row_is_not_deleted_again(loaded: Sync) -> None:
    loaded.upstream.change("leases", delete=4)
    await loaded.run("leases")
    before = await loaded.rows("leases")
    loaded.upstream.reset_requests()
    assert counts_of(await loaded.run("leases")) == {"unchanged": LEASES - 4}
    assert loaded.upstream.asked("leases") == 3
    assert await loaded.rows("leases") == before


@pytest.mark.parametrize("variant", ["rename", "replace"])
@pytest.mark.parametrize("sort", ["honoured", "ignored"])
@pytest.mark.parametrize("looks", [1, 2])
async def test_a_listing_that_shifts_while_it_is_read_never_deletes_a_live_row(
    sync: Sync, variant: str, sort: str, looks: int
) -> None:
    sync.upstream.switch(sort=sort)
    sync.page_size = 5
    sync.concurrency = 1
    await sync.run("leases")
    lost = sync.upstream.change("leases", delete=2)["deleted"]
    for look in range(looks):
        for page in (1, 4, 7):
            sync.upstream.fault("shift", entity="leases", page=page, variant=variant, rows=2, after=look)
    run = await sync.run("leases")
    assert run.result == "succeeded"
    live = set(sync.upstream.ids("leases"))
    assert not live & await deleted(sync)
    if "unproven" not in completeness(run):
        assert set(lost) <= await deleted(sync)
    sync.upstream.clear_faults()
    await sync.run("leases")
    await sync.assert_in_step("leases")
    assert set(lost) <= await deleted(sync)


async def test_a_total_that_changes_while_reading_proves_nothing(loaded: Sync) -> None:
    lost = loaded.upstream.change("leases", delete=2)["deleted"]
    upstream = loaded.upstream
    loaded.concurrency = 1

    def add(event: object) -> None:
        if getattr(event, "type", "") == "page":
            upstream.change("leases", create=1)

    loaded.page_size = 5
    run = await loaded.run("leases", listener=add, flush_rows=1)
    assert "completeness unproven: upstream's total changed from" in completeness(run)
    assert "2 rows that were not seen stay" in completeness(run)
    assert await deleted(loaded) == set()
    await loaded.run("leases")
    assert await deleted(loaded) == set(lost)
    await loaded.assert_in_step("leases")


async def test_a_record_without_an_id_may_be_any_row_so_none_is_deleted(loaded: Sync) -> None:
    [lost] = loaded.upstream.change("leases", delete=1)["deleted"]
    loaded.upstream.poison("leases", "missing-id", replace=some(loaded.upstream.ids("leases"), 1)[0])
    run = await loaded.run("leases")
    assert completeness(run) == ("completeness unproven: 1 records came without an id; 2 rows that were not seen stay")
    assert await deleted(loaded) == set()
    loaded.upstream.cure("leases")
    await loaded.run("leases")
    assert await deleted(loaded) == {lost}


async def test_a_bad_page_in_the_second_look_fails_the_entity_and_the_next_run_goes_on_with_that_look(
    loaded: Sync,
) -> None:
    lost = loaded.upstream.change("leases", delete=2)["deleted"]
    loaded.upstream.fault("html", entity="leases", page=2, after=1)
    failed = await loaded.run("leases")
    assert failed.result == "failed"
    assert await deleted(loaded) == set()
    loaded.upstream.reset_requests()
    run = await loaded.run("leases")
    assert (run.result, entity_of(run, "leases").resumed) == ("succeeded", True)
    assert loaded.upstream.asked("leases") == 2 + 1  # what was left, and the page before it
    assert await deleted(loaded) == set(lost)


async def test_units_need_both_of_their_listings_to_be_whole(sync: Sync) -> None:
    await sync.run("units")
    inactive = [record["id"] for record in sync.upstream.records("units") if not record["active"]]
    sync.upstream.change("units", delete=inactive[:1])
    run = await sync.run("units")
    assert counts_of(run) == {"unchanged": SMALL["units"] - 1, "deleted": 1}
    assert await deleted(sync, "units") == set(inactive[:1])


async def test_a_unit_that_changes_between_the_listings_while_they_are_read_is_not_deleted(sync: Sync) -> None:
    await sync.run("units")
    sync.upstream.change("units", delete=1)
    active = [record["id"] for record in sync.upstream.records("units") if record["active"]]
    inactive = [record["id"] for record in sync.upstream.records("units") if not record["active"]]
    sync.concurrency = 1

    def swap(event: object) -> None:
        if getattr(event, "type", "") == "page" and inactive:
            sync.upstream.change("units", patch={inactive.pop(): {"active": True}, active.pop(): {"active": False}})

    await sync.run("units", listener=swap, flush_rows=1)
    assert not set(sync.upstream.ids("units")) & await deleted(sync, "units")
    await sync.run("units")
    await sync.assert_in_step("units")


# The guard


async def test_more_than_half_of_the_rows_gone_waits_for_a_person(loaded: Sync) -> None:
    lost = loaded.upstream.change("leases", delete=31)["deleted"]
    loaded.upstream.change("leases", update=1)
    run = await loaded.run("leases", "owners")
    assert run.result == "held"
    assert counts_of(entity_of(run, "leases")) == {"updated": 1, "unchanged": LEASES - 32}
    assert completeness(run) == (
        f"complete: all {LEASES - 31} records seen; 31 of {LEASES} rows are gone upstream: "
        "their deletion waits for approval"
    )
    assert entity_of(run, "owners").state == "succeeded"
    assert await deleted(loaded) == set()
    [held] = await loaded.views.held()
    assert (held.run_id, held.entity, held.delete_rows, held.live_rows) == (run.run_id, "leases", 31, LEASES)
    assert set(held.sample) <= set(lost)

    assert await loaded.commands.approve(run.run_id, by="ann", reason="moved to another account") == 31
    assert await deleted(loaded) == set(lost)
    settled = await loaded.views.run(run.run_id)
    assert (settled.result, settled.deleted) == ("succeeded", 31)
    await loaded.assert_in_step("leases")
    with pytest.raises(Conflict, match="holds nothing"):
        await loaded.commands.approve(run.run_id, by="ann", reason="again")
    assert await loaded.value("SELECT count(*) FROM keepstep.held_keys") == 0


@pytest.mark.parametrize(("rows", "lost", "held"), [(60, 30, False), (60, 31, True), (30, 20, False), (30, 21, True)])
async def test_the_guard_needs_more_than_its_share_and_more_than_its_floor(
    sync: Sync, rows: int, lost: int, held: bool
) -> None:
    sync.upstream.reset(leases=rows)
    await sync.run("leases")
    sync.upstream.change("leases", delete=lost)
    run = await sync.run("leases")
    assert run.result == ("held" if held else "succeeded")
    assert len(await deleted(sync)) == (0 if held else lost)


async def test_a_source_that_is_suddenly_empty_is_held(loaded: Sync) -> None:
    loaded.upstream.change("leases", delete="100%")
    run = await loaded.run("leases")
    assert run.result == "held"
    assert await deleted(loaded) == set()


async def test_an_empty_answer_by_mistake_deletes_nothing(loaded: Sync) -> None:
    loaded.upstream.fault("empty", entity="leases", forever=True)
    run = await loaded.run("leases")
    assert run.result == "held"
    assert await deleted(loaded) == set()
    loaded.upstream.clear_faults()
    again = await loaded.run("leases")
    assert again.result == "succeeded"
    assert [held.state for held in await loaded.views.held(state=None)] == ["void"]


async def test_an_approval_is_void_when_the_table_has_moved(loaded: Sync) -> None:
    loaded.upstream.change("leases", delete=40)
    held = await loaded.run("leases")
    loaded.upstream.change("leases", update=1)
    await loaded.delta("leases")
    with pytest.raises(Conflict, match="void: leases has changed since") as refusal:
        await loaded.commands.approve(held.run_id, by="ann", reason="yes")
    assert "backfill" in refusal.value.fix
    assert await deleted(loaded) == set()
    assert [known.state for known in await loaded.views.held(state=None)] == ["void"]


async def test_a_discarded_hold_keeps_the_rows(loaded: Sync) -> None:
    loaded.upstream.change("leases", delete=40)
    held = await loaded.run("leases")
    assert await loaded.commands.discard_held(held.run_id, by="ann", reason="an outage") == ["leases"]
    assert await deleted(loaded) == set()
    assert (await loaded.views.run(held.run_id)).result == "succeeded"
    again = await loaded.run("leases")
    assert again.result == "held"  # what is still gone is asked for anew


async def test_a_later_full_run_makes_an_older_hold_void(loaded: Sync) -> None:
    loaded.upstream.change("leases", delete=40)
    first = await loaded.run("leases")
    second = await loaded.run("leases")
    states = {known.run_id: known.state for known in await loaded.views.held(state=None)}
    assert states == {first.run_id: "void", second.run_id: "open"}


async def test_the_guard_counts_live_rows_only(sync: Sync, upstream: Upstream) -> None:
    await sync.run("leases")
    upstream.change("leases", delete=30)
    await sync.run("leases")
    upstream.change("leases", delete=21)
    run = await sync.run("leases")
    assert run.result == "held"
    [held] = await sync.views.held()
    assert (held.delete_rows, held.live_rows) == (21, 30)
