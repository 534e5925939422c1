"""The contract of the queue: what becomes of a run whose worker is killed, frozen, cut off, or told to end."""

import asyncio
import signal
from collections.abc import AsyncIterator

import pytest

from tests.support.sync import Sync, entity_of
from tests.support.upstream import SMALL
from tests.support.workers import Workers, until, workers

LEASES = SMALL["leases"]


@pytest.fixture
async def processes(sync: Sync) -> AsyncIterator[Workers]:
    """Worker processes of the test's own."""
    async with workers(sync) as processes:
        yield processes


async def told(sync: Sync, run_id: int) -> list[str]:
    """What happened to a run, without its pages."""
    return [e.type for e in await sync.views.events(run_id) if e.type.startswith("run-")]


async def test_a_queued_run_is_taken_up_and_leaves_nothing_behind(sync: Sync, processes: Workers) -> None:
    await processes.start()
    run = await processes.ended(await processes.enqueue("leases", "owners"))
    assert (run.result, run.inserted, run.trigger) == ("succeeded", LEASES + SMALL["owners"], "manual")
    await sync.assert_in_step("leases", "owners")
    assert await told(sync, run.run_id) == ["run-started", "run-finished"]
    await until(processes.is_empty)


async def test_the_run_of_a_killed_worker_goes_on_from_its_last_page_in_another(sync: Sync, processes: Workers) -> None:
    sync.upstream.fault("hang", entity="leases", page=4)
    first = await processes.start(lease=3600)
    run_id = await processes.enqueue("leases")
    await first.until("page", 3)
    await first.kill()
    sync.upstream.clear_faults()
    await processes.start()
    run = await processes.ended(run_id)
    assert (run.result, run.inserted) == ("succeeded", LEASES)
    assert (entity_of(run, "leases").resumed, entity_of(run, "leases").pages) == (True, LEASES // 10)
    assert await told(sync, run_id) == ["run-started", "run-requeued", "run-resumed", "run-finished"]
    assert await sync.value("SELECT crashes FROM keepstep.runs") == 1
    await sync.assert_in_step("leases")
    await until(processes.is_empty)


async def test_a_run_that_kills_its_workers_is_given_up_after_the_third(sync: Sync, processes: Workers) -> None:
    sync.upstream.fault("hang", entity="leases", page=2, forever=True)
    run_id = await processes.enqueue("leases")
    keeper = await processes.start(concurrency=1)
    for attempt in range(3):
        worker = keeper
        await worker.until("run-started" if attempt == 0 else "run-resumed")
        await worker.kill()
        keeper = await processes.start(concurrency=1)
    run = await processes.ended(run_id)
    assert run.result == "crashed"
    assert run.error is not None
    assert "3 workers died" in run.error["message"]
    assert "keepstep" not in run.error["fix"]
    assert await sync.value("SELECT count(*) FROM keepstep.locks") == 0
    sync.upstream.clear_faults()
    assert (await processes.ended(await processes.enqueue("leases"))).result == "succeeded"
    await sync.assert_in_step("leases")


async def test_a_frozen_worker_is_replaced_after_its_lease_and_writes_nothing_when_it_wakes_up(
    sync: Sync, processes: Workers
) -> None:
    sync.upstream.fault("hang", entity="leases", page=4)
    frozen = await processes.start(lease=1.0)
    run_id = await processes.enqueue("leases")
    await frozen.until("page", 3)
    frozen.send(signal.SIGSTOP)
    sync.upstream.clear_faults()
    await processes.start(lease=1.0)
    run = await processes.ended(run_id)
    assert (run.result, run.inserted) == ("succeeded", LEASES)
    rows = await sync.rows("leases")
    told = f"SELECT count(*) FROM keepstep.events WHERE run_id = {run_id}"
    events = await sync.value(told)
    frozen.send(signal.SIGCONT)
    next_id = await processes.enqueue("owners")
    assert (await processes.ended(next_id)).result == "succeeded"
    assert await sync.value(told) == events
    assert await sync.rows("leases") == rows
    assert (await sync.views.run(run_id)).result == "succeeded"
    assert await frozen.terminate() == 0
    await until(processes.is_empty)


async def test_a_worker_that_is_told_to_end_gives_its_run_back_and_another_goes_on(
    sync: Sync, processes: Workers
) -> None:
    sync.upstream.fault("hang", entity="leases", page=3)
    first = await processes.start()
    run_id = await processes.enqueue("leases")
    await first.until("page", 2)
    assert await first.terminate() == 0
    run = await sync.views.run(run_id)
    assert (run.result, run.inserted) == ("queued", 20)
    assert await sync.value("SELECT count(*) FROM keepstep.locks") == 0
    assert await sync.value("SELECT status::text FROM keepstep_queue.procrastinate_jobs") == "todo"
    assert await sync.value("SELECT count(*) FROM keepstep_queue.procrastinate_workers") == 0
    sync.upstream.clear_faults()
    await processes.start()
    run = await processes.ended(run_id)
    assert (run.result, run.inserted) == ("succeeded", LEASES)
    assert await told(sync, run_id) == ["run-started", "run-given-back", "run-resumed", "run-finished"]
    assert await sync.value("SELECT crashes FROM keepstep.runs") == 0


async def test_a_stop_ends_a_run_at_once_and_its_worker_takes_the_next(sync: Sync, processes: Workers) -> None:
    sync.upstream.fault("hang", entity="leases", page=3, forever=True)
    worker = await processes.start(lease=3600)
    run_id = await processes.enqueue("leases")
    await worker.until("page", 2)
    assert await processes.queue.cancel("doorloop") == run_id
    run = await sync.views.run(run_id)
    assert (run.result, run.inserted) == ("stopped", 20)
    assert await processes.queue.cancel("doorloop") is None
    sync.upstream.clear_faults()
    following = await processes.ended(await processes.enqueue("leases"))
    assert (following.result, following.inserted) == ("succeeded", LEASES - 20)
    assert await told(sync, run_id) == ["run-started", "run-stopped"]
    await sync.assert_in_step("leases")


async def test_a_restart_of_the_database_interrupts_no_run(sync: Sync, processes: Workers) -> None:
    sync.upstream.fault("hang", entity="leases", page=3)
    worker = await processes.start(concurrency=1)
    run_id = await processes.enqueue("leases")
    await worker.until("page", 2)
    await cut_off(sync)
    sync.upstream.clear_faults()
    run = await processes.ended(run_id)
    assert (run.result, run.inserted) == ("succeeded", LEASES)
    assert await told(sync, run_id) == ["run-started", "run-finished"]
    following = await processes.enqueue("owners")
    assert (await processes.ended(following, 30)).result == "succeeded"


async def cut_off(sync: Sync) -> None:
    """End every other session of the database, as a restart does."""
    await sync.sql(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )


async def test_a_run_that_must_wait_gives_its_worker_back_and_goes_on_when_it_is_due(
    sync: Sync, processes: Workers
) -> None:
    sync.upstream.fault("429", entity="leases", page=3, retry_after=2400)
    await processes.start(concurrency=1)
    run_id = await processes.enqueue("leases")

    async def waits() -> bool:
        return (await sync.views.run(run_id)).result == "waiting"

    await until(waits)
    await until(processes.is_empty)
    stats = await processes.queue.stats()
    assert (stats.todo, stats.doing, stats.workers) == ({}, {}, 1)
    await sync.sql("UPDATE keepstep.runs SET due_at = now()")
    run = await processes.ended(run_id)
    assert (run.result, run.inserted) == ("succeeded", LEASES)
    assert await told(sync, run_id) == ["run-started", "run-waiting", "run-resumed", "run-finished"]


async def test_runs_of_several_connections_go_on_side_by_side_and_a_manual_one_never_waits(
    sync: Sync, processes: Workers
) -> None:
    hanging = ["one", "two", "three", "four", "five"]  # in both places, parked beside them, and one that waits
    processes.keys = (*hanging, "six")
    sync.upstream.fault("hang", entity="leases", page=2, forever=True)
    worker = await processes.start(concurrency=2)
    await sync.sql("INSERT INTO keepstep.connections (integration) SELECT unnest(%s::text[])", hanging)
    await sync.sql(
        "INSERT INTO keepstep.runs (connection_id, mode, dry_run, trigger, entities, state, in_queue)"
        " SELECT id, 'backfill', false, 'schedule', '{leases}', 'queued', true FROM keepstep.connections"
    )
    await sync.sql("SELECT keepstep.enqueue(array_agg(id)) FROM keepstep.runs")
    await worker.until("page", 4)
    manual = await processes.enqueue("owners", key="six")
    assert (await processes.ended(manual)).result == "succeeded"
    states = await sync.sql("SELECT state FROM keepstep.runs WHERE trigger = 'schedule' ORDER BY id")
    assert [row["state"] for row in states] == [*["running"] * 4, "queued"]
    sync.upstream.clear_faults()
    await asyncio.gather(*(processes.ended(run) for run in range(1, 6)))
    await until(processes.is_empty)
