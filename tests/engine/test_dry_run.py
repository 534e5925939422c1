"""A dry run says exactly what the real run would do, and does nothing of it."""

from typing import Any

import pytest

from keepstep.engine.runner import Runner
from keepstep.integrations.doorloop.emulator.poison import POISONS
from keepstep.model.integration import Mode
from keepstep.model.run import RunRequest
from tests.support.quiet import physical
from tests.support.sync import ALL, Sync, counts_of, entity_of
from tests.support.upstream import SMALL, some

LEASES = SMALL["leases"]
CONTROL = ("checkpoints", "dead_letters", "entity_states", "held_deletions", "held_keys", "locks")


async def control(sync: Sync) -> dict[str, list[dict[str, Any]]]:
    """Everything that a dry run must leave alone, beside the synced tables."""
    return {name: await sync.sql(f"SELECT * FROM keepstep.{name}") for name in CONTROL}


async def report(sync: Sync, entity: str = "leases", **options: Any) -> dict[str, Any]:
    """The report of a dry run."""
    run = await sync.run(entity, dry_run=True, **options)
    found = entity_of(run, entity).report
    assert found is not None
    return found


async def test_before_the_first_run_it_works_without_any_table_and_makes_none(sync: Sync) -> None:
    dry = await sync.run(dry_run=True)
    assert dry.result == "succeeded"
    assert dry.dry_run
    assert await sync.value("SELECT count(*) FROM pg_tables WHERE schemaname = 'doorloop'") == 0
    assert await sync.value("SELECT count(*) FROM pg_class WHERE relname LIKE 'seen%%'") == 0
    assert not any((await control(sync)).values())
    real = await sync.run()
    assert counts_of(dry) == counts_of(real) == {"inserted": sum(SMALL.values())}
    found = entity_of(dry, "leases").report or {}
    assert found["schema"] == ["table doorloop.leases would be created"]
    assert {sample["change"] for sample in found["samples"]} == {"inserted"}
    assert found["requests"] == 3


async def test_its_counts_are_those_of_the_real_run_that_follows(sync: Sync) -> None:
    await sync.run()
    upstream = sync.upstream
    for name in ALL:
        upstream.change(name, update=3, create=2, delete=1)
    upstream.poison("leases", *POISONS)
    upstream.poison("tenants", "nul-in-text", "nested-number-out-of-range", count=3)
    gone = some(upstream.ids("owners"), 1)
    upstream.change("owners", delete=gone)
    before, kept = await physical(sync, *ALL), await control(sync)

    dry = await sync.run(dry_run=True)
    after = await physical(sync, *ALL)
    assert after == before
    assert after.written == before.written
    assert await control(sync) == kept

    real = await sync.run()
    assert {name: counts_of(entity_of(dry, name)) for name in ALL} == {
        name: counts_of(entity_of(real, name)) for name in ALL
    }
    for name in ALL:
        found = entity_of(dry, name).report or {}
        counts = counts_of(entity_of(real, name))
        assert (found["inserted"], found["updated"]) == (counts.get("inserted", 0), counts.get("updated", 0))
        assert (found["deleted"], found["deadLettered"]) == (counts.get("deleted", 0), counts.get("dead_lettered", 0))
        assert (entity_of(real, name).completeness or "").startswith(found["completeness"])


async def test_a_dry_delta_counts_like_the_real_one(sync: Sync) -> None:
    await sync.run("leases")
    await sync.delta("leases")
    sync.upstream.change("leases", update=9, create=4)
    kept = await control(sync)
    dry = await sync.run("leases", mode=Mode.DELTA, dry_run=True)
    assert await control(sync) == kept
    real = await sync.delta("leases")
    assert counts_of(dry) == counts_of(real)
    assert counts_of(real)["updated"] == 9


async def test_the_report_names_the_columns_that_change_and_shows_before_and_after(sync: Sync) -> None:
    await sync.run("leases")
    first, second = some(sync.upstream.ids("leases"), 2)
    old = (await sync.rows("leases"))[first]["notes"]
    sync.upstream.change(
        "leases", patch={first: {"notes": "new", "unheardOf": [1]}, second: {"notes": "newer"}}, silent=True
    )
    found = await report(sync)
    assert found["changedColumns"] == {"notes": 2, "_extra": 1}
    samples = {sample["key"]: sample for sample in found["samples"]}
    assert samples[first]["change"] == "updated"
    assert samples[first]["columns"]["notes"] == [old, "new"]
    assert samples[first]["columns"]["_extra"][1]["unheardOf"] == [1]
    assert samples[second]["columns"].keys() == {"notes"}


async def test_the_report_shows_at_most_20_samples_of_every_kind(sync: Sync) -> None:
    await sync.run("leases")
    sync.upstream.change("leases", update=20, create=30, delete=15)
    found = await report(sync)
    assert len(found["samples"]) == 20
    assert {sample["change"] for sample in found["samples"]} == {"inserted", "updated", "deleted"}


async def test_the_report_says_what_would_be_held_and_what_would_become_a_dead_letter(sync: Sync) -> None:
    await sync.run("leases")
    sync.upstream.change("leases", delete=40)
    [bad] = sync.upstream.poison("leases", "nul-in-text")
    found = await report(sync)
    assert found["wouldBeHeld"] is True
    assert found["deleted"] == 40
    [letter] = found["deadLetters"]
    assert letter["recordKey"] == bad
    assert "NUL" in letter["reason"]
    assert await sync.views.held() == []


async def test_the_report_names_the_columns_that_would_be_added(sync: Sync) -> None:
    await sync.run("leases")
    await sync.sql("ALTER TABLE doorloop.leases DROP COLUMN notes, DROP COLUMN total_balance_due")
    found = await report(sync)
    assert sorted(found["schema"]) == [
        "column doorloop.leases.notes would be added",
        "column doorloop.leases.total_balance_due would be added",
    ]
    columns = "SELECT count(*) FROM information_schema.columns WHERE table_name = 'leases' AND column_name = 'notes'"
    assert await sync.value(columns) == 0


async def test_a_deleted_row_that_is_back_shows_as_returned(sync: Sync) -> None:
    await sync.run("leases")
    [back] = some(sync.upstream.ids("leases"), 1)
    await sync.sql("UPDATE doorloop.leases SET _deleted_at = now() WHERE id = %s", back)
    found = await report(sync)
    assert [(sample["key"], sample["change"]) for sample in found["samples"]] == [(back, "returned")]
    assert found["updated"] == 1


@pytest.mark.parametrize("again", [False, True])
async def test_an_unfinished_real_run_is_neither_used_nor_lost(sync: Sync, again: bool) -> None:
    sync.upstream.fault("html", entity="leases", page=3)
    assert (await sync.run("leases", flush_rows=1)).result == "failed"
    kept = await control(sync)
    dry = await sync.run("leases", dry_run=True)
    if again:
        dry = await sync.run("leases", dry_run=True)
    assert counts_of(dry) == {"inserted": LEASES - 40, "unchanged": 40}
    assert await control(sync) == kept
    run = await sync.run("leases")
    assert entity_of(run, "leases").resumed
    assert counts_of(run) == {"inserted": LEASES - 40}


async def test_a_dry_run_that_had_to_wait_begins_again_and_counts_once(sync: Sync) -> None:
    sync.upstream.fault("429", entity="leases", page=3, retry_after=3600)
    waiting = await sync.run("leases", dry_run=True, flush_rows=1)
    assert (waiting.result, waiting.inserted) == ("waiting", 40)
    doorloop = sync.connector()
    runner = Runner(sync.database, doorloop, sync.policy, sync.events.append)
    await runner.go_on(waiting.run_id, RunRequest(("leases",), Mode.BACKFILL, dry_run=True), ["leases"])
    await doorloop.aclose()
    run = await sync.views.run(waiting.run_id)
    assert (run.result, counts_of(run)) == ("succeeded", {"inserted": LEASES})
    assert (entity_of(run, "leases").report or {})["inserted"] == LEASES
    assert entity_of(run, "leases").pages == 3
    assert run.requests == len(sync.upstream.requests()) == 2 + 1 + 3
