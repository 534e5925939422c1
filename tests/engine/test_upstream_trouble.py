"""What a run does about limits, refusals and answers that are not data."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from keepstep.engine.runner import Runner
from keepstep.model.errors import LockHeld
from keepstep.model.integration import Mode
from keepstep.model.run import RunRequest
from tests.support.sync import Sync, counts_of, entity_of
from tests.support.upstream import SMALL

LEASES = SMALL["leases"]
REQUEST = RunRequest(("leases", "owners"), Mode.BACKFILL)

NOT_DATA: dict[str, dict[str, Any]] = {
    "a web page": {"kind": "html"},
    "the documentation": {"kind": "readme"},
    "half an answer": {"kind": "truncate", "variant": "body"},
    "broken syntax": {"kind": "bad-json"},
    "a list without an envelope": {"kind": "envelope", "variant": "list"},
    "another envelope": {"kind": "envelope", "variant": "items"},
    "no data": {"kind": "envelope", "variant": "null"},
    "no total": {"kind": "envelope", "variant": "no-total"},
    "a total in words": {"kind": "envelope", "variant": "total-text"},
    "a wrapped envelope": {"kind": "envelope", "variant": "wrapped"},
    "a page that repeats": {"kind": "repeat", "forever": True},
}


@pytest.mark.parametrize("what", NOT_DATA)
async def test_what_is_not_data_never_becomes_data_and_the_error_says_what_to_do(sync: Sync, what: str) -> None:
    await sync.run("leases")
    before = await sync.rows("leases")
    sync.upstream.change("leases", update=LEASES)
    changed = {record["id"] for record in sync.upstream.records("leases")}
    sync.upstream.fault(**{"entity": "leases", "page": 2, **NOT_DATA[what]})
    run = await sync.run("leases")
    assert run.result == "failed"
    error = entity_of(run, "leases").error
    assert error is not None
    assert error["message"]
    assert error["fix"]
    assert run.error == error
    assert sync.upstream.options.api_key not in str(error)
    rows = await sync.rows("leases")
    assert len([key for key in changed if rows[key] != before[key]]) == 20  # page 1
    assert not any(row["_deleted_at"] for row in rows.values())
    assert await sync.letters() == []
    sync.upstream.clear_faults()
    assert counts_of(await sync.run("leases")) == {"updated": LEASES - 20}
    await sync.assert_in_step("leases")


async def test_an_answer_that_concerns_one_entity_fails_that_one_alone(sync: Sync) -> None:
    sync.upstream.switch(forbidden=["leases"])
    run = await sync.run("leases", "owners")
    assert run.result == "failed"
    assert [entity.state for entity in run.entities] == ["failed", "succeeded"]
    assert "405" in (entity_of(run, "leases").error or {})["message"]
    await sync.assert_in_step("owners")


async def test_a_refused_key_stops_the_run_at_once(sync: Sync) -> None:
    sync.api_key = "dl_api_key_EMULATOR0000000000000000"
    run = await sync.run()
    assert run.result == "failed"
    assert (run.error or {})["code"] == "auth-failed"
    assert "DOORLOOP_API_KEY" in (run.error or {})["fix"]
    assert [entity.state for entity in run.entities] == ["failed", *["pending"] * 4]
    assert len(sync.upstream.requests()) == 1
    assert sync.api_key not in str(await sync.sql("SELECT * FROM keepstep.events, keepstep.runs"))


@pytest.mark.parametrize("kind", ["500", "502", "503", "reset", "truncate"])
async def test_what_passes_by_itself_is_sat_out(sync: Sync, kind: str) -> None:
    sync.upstream.fault(kind, entity="leases", page=2, count=3)
    run = await sync.run("leases")
    assert run.result == "succeeded"
    assert run.requests == 3 + 3
    await sync.assert_in_step("leases")


async def test_what_does_not_pass_fails_the_run_and_the_next_one_goes_on(sync: Sync) -> None:
    sync.upstream.fault("503", entity="leases", page=3, forever=True)
    run = await sync.run("leases", flush_rows=1)
    assert (run.result, run.inserted) == ("failed", 40)
    assert (run.error or {})["code"] == "upstream-failed"
    sync.upstream.clear_faults()
    sync.upstream.reset_requests()
    run = await sync.run("leases")
    assert (run.inserted, sync.upstream.asked("leases")) == (LEASES - 40, 2)
    await sync.assert_in_step("leases")


# Limits


async def test_a_short_retry_after_is_sat_out(sync: Sync) -> None:
    sync.upstream.fault("429", entity="leases", page=2, retry_after=7)
    run = await sync.run("leases")
    assert run.result == "succeeded"
    assert sync.clock.slept >= 7
    assert run.requests == 3 + 1


async def test_a_long_retry_after_makes_the_run_wait_in_the_database_without_its_lock(sync: Sync) -> None:
    sync.upstream.fault("429", entity="leases", page=3, retry_after=3600)
    asked = datetime.now(UTC)
    run = await sync.run("leases", "owners", flush_rows=1)
    assert run.result == "waiting"
    assert run.due_at is not None
    assert timedelta(seconds=3590) < run.due_at - asked < timedelta(seconds=3700)
    assert (run.error or {})["code"] == "rate-limited-hour"
    assert [entity.state for entity in run.entities] == ["running", "pending"]
    assert await sync.value("SELECT count(*) FROM keepstep.locks") == 0
    assert await sync.value("SELECT count(*) FROM doorloop.leases") == 40

    sync.upstream.reset_requests()
    doorloop = sync.connector()
    runner = Runner(sync.database, doorloop, sync.policy, sync.events.append)
    assert await runner.go_on(run.run_id, REQUEST, ["leases", "owners"]) == run.run_id
    await doorloop.aclose()
    ended = await sync.views.run(run.run_id)
    assert ended.result == "succeeded"
    assert counts_of(ended) == {"inserted": LEASES + SMALL["owners"]}
    assert sync.upstream.asked("leases") == 2
    await sync.assert_in_step("leases", "owners")


async def test_a_new_run_takes_the_place_of_one_whose_wait_is_long_over_and_goes_on_from_its_page(sync: Sync) -> None:
    sync.upstream.fault("429", entity="leases", page=3, retry_after=3600)
    waiting = await sync.run("leases", flush_rows=1)
    with pytest.raises(LockHeld, match=f"Run {waiting.run_id} waits for upstream until"):
        await sync.run("leases")
    await sync.sql("UPDATE keepstep.runs SET due_at = now() - interval '61 seconds'")
    run = await sync.run("leases")
    assert (run.result, run.inserted) == ("succeeded", LEASES - 40)
    assert (await sync.views.run(waiting.run_id)).result == "stopped"


async def test_a_full_rate_window_makes_the_run_wait_and_nothing_is_asked_twice(sync: Sync) -> None:
    sync.upstream.switch(rate_per_hour=2)
    run = await sync.run("leases", flush_rows=1)
    assert run.result == "waiting"
    sync.upstream.switch(rate_per_hour=0)
    assert await sync.commands.stop("doorloop") == run.run_id
    assert (await sync.run("leases")).inserted == LEASES - run.inserted
    await sync.assert_in_step("leases")


async def test_requests_that_hang_do_not_keep_a_stop_waiting(sync: Sync) -> None:
    sync.upstream.fault("hang", forever=True)
    started = asyncio.create_task(sync.run("leases", lease=0.2))
    async with asyncio.timeout(30):
        while await sync.commands.stop("doorloop") is None:  # noqa: ASYNC110 - until it has begun
            await asyncio.sleep(0)
        assert (await started).result == "stopped"
