"""The port to the queue engine: what its verbs promise, and what they rely on in the engine."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from importlib.metadata import version
from typing import Any

import pytest

from keepstep.dispatch.queue import QUEUES, Queue, Timing
from keepstep.dispatch.sweeper import Watch
from keepstep.model.errors import Fenced, LockHeld
from keepstep.model.integration import Mode
from keepstep.model.run import Event, RunRequest
from keepstep.store import queue as store
from keepstep.store import runs
from keepstep.store.db import Connection, Database
from keepstep.store.notices import listening
from keepstep.store.queue import Suspect
from keepstep.store.session import RunSession
from tests.support.workers import QUICK, until

REQUEST = RunRequest(("leases", "owners"), Mode.DELTA, actor="ann")
NEVER = 3600.0


@pytest.fixture
def queue(database: Database) -> Queue:
    """The queue of the test's own database."""
    return Queue(database, Timing(**QUICK))


async def rows(connection: Connection, query: str, *parameters: Any) -> list[dict[str, Any]]:
    """The rows of any statement."""
    return await (await connection.execute(query.encode(), parameters or None)).fetchall()


async def jobs(connection: Connection) -> list[dict[str, Any]]:
    """The engine's rows."""
    return await rows(connection, "SELECT * FROM keepstep_queue.procrastinate_jobs ORDER BY id")


async def state(connection: Connection, run_id: int) -> str:
    """The state of a run."""
    [row] = await rows(connection, "SELECT state FROM keepstep.runs WHERE id = %s", run_id)
    return str(row["state"])


async def lose(connection: Connection) -> None:
    """End the sessions of all runs as kill -9 does."""
    await connection.execute("SELECT pg_terminate_backend(backend_pid, 5000) FROM keepstep.locks")


@contextlib.asynccontextmanager
async def working(
    queue: Queue, perform: Callable[[int], Awaitable[None]], *, concurrency: int = 1, queues: Sequence[str] = QUEUES
) -> AsyncIterator[None]:
    """A worker of the engine in this process."""
    worker = asyncio.create_task(queue.run_worker(perform, concurrency=concurrency, queues=queues))
    try:
        await until(lambda: _alive(queue))
        yield
        assert not worker.done(), worker.exception()
    finally:
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)


async def _alive(queue: Queue) -> bool:
    return (await queue.stats()).workers > 0


async def test_of_fifty_who_start_a_run_at_once_one_does_and_the_others_are_told_its_id(
    queue: Queue, connection: Connection
) -> None:
    answers = await asyncio.gather(*(queue.enqueue_one("doorloop", REQUEST) for _ in range(50)), return_exceptions=True)
    [run_id] = [answer for answer in answers if isinstance(answer, int)]
    refused = [answer for answer in answers if isinstance(answer, LockHeld)]
    assert len(refused) == 49
    assert {answer.run_id for answer in refused} == {str(run_id)}
    assert len(await jobs(connection)) == 1


async def test_a_queued_run_has_one_row_and_its_workers_are_told_once(
    queue: Queue, database: Database, connection: Connection
) -> None:
    async with listening(database, "procrastinate_queue_v1#interactive", name="test") as notices:
        run_id = await queue.enqueue_one("doorloop", REQUEST)
        async with asyncio.timeout(10):
            notice = await anext(aiter(notices))
    [job] = await jobs(connection)
    assert str(job["id"]) in str(notice)
    expected = {
        "queue_name": "interactive", "task_name": "keepstep.run", "priority": 100, "queueing_lock": f"run/{run_id}",
        "args": {"run_id": run_id}, "status": "todo", "scheduled_at": None, "attempts": 0,
    }  # fmt: skip
    assert {name: job[name] for name in expected} == expected
    [run] = await rows(connection, "SELECT * FROM keepstep.runs")
    assert job["lock"] == f"connection/{run['connection_id']}"
    assert (run["state"], run["in_queue"], run["entities"], run["mode"], run["actor"]) == (
        "queued", True, ["leases", "owners"], "delta", "ann",
    )  # fmt: skip
    assert await rows(connection, "SELECT * FROM keepstep.run_entities") == []


async def test_each_owner_has_a_queue_of_their_own(queue: Queue) -> None:
    first = await queue.enqueue_one("doorloop", REQUEST, owner="ann")
    second = await queue.enqueue_one("doorloop", REQUEST, owner="bob")
    with pytest.raises(LockHeld) as refusal:
        await queue.enqueue_one("doorloop", REQUEST, owner="ann")
    assert refusal.value.run_id == str(first) != str(second)
    assert await queue.cancel("doorloop", owner="ann") == first
    assert await queue.cancel("doorloop") is None
    assert await queue.enqueue_one("doorloop", REQUEST, owner="ann") > second


async def test_a_live_run_in_any_state_refuses_another_and_says_what_it_does(queue: Queue, database: Database) -> None:
    run_id = await queue.enqueue_one("doorloop", REQUEST)
    with pytest.raises(LockHeld, match="is queued and begins as soon as a worker is free"):
        await queue.enqueue_one("doorloop", REQUEST)
    with pytest.raises(LockHeld, match=f"Run {run_id} is queued"):
        await runs.begin(database, "doorloop", REQUEST, lease=60)
    taken = await runs.take_up(database, run_id, lease=60)
    with pytest.raises(LockHeld, match="is active since"):
        await queue.enqueue_one("doorloop", REQUEST)
    await wait(taken.session)
    with pytest.raises(LockHeld, match="waits for upstream until"):
        await queue.enqueue_one("doorloop", REQUEST)
    assert await queue.cancel("doorloop") == run_id
    assert await queue.enqueue_one("doorloop", REQUEST) > run_id


async def wait(session: RunSession, seconds: float = NEVER) -> None:
    """Let a run wait for upstream."""
    event = Event("run-waiting", "waits")
    await session.flush(lambda c, _now: runs.wait(c, session, seconds, event, {"code": "rate-limited"}))
    await session.release()


async def test_a_run_is_taken_up_by_one(queue: Queue, database: Database, connection: Connection) -> None:
    run_id = await queue.enqueue_one("doorloop", REQUEST)
    tries = await asyncio.gather(*(runs.take_up(database, run_id, lease=60) for _ in range(6)), return_exceptions=True)
    [taken] = [one for one in tries if isinstance(one, runs.TakenUp)]
    assert all(isinstance(one, LockHeld | Fenced) for one in tries if one is not taken)
    assert (taken.request, taken.entities, taken.first) == (REQUEST, ("leases", "owners"), True)
    assert await state(connection, run_id) == "running"
    await taken.session.release()


async def test_a_stop_and_a_worker_that_meet_leave_a_stopped_run_and_nothing_else(
    queue: Queue, database: Database, connection: Connection
) -> None:
    for _ in range(10):
        run_id = await queue.enqueue_one("doorloop", REQUEST)
        taken, stopped = await asyncio.gather(
            runs.take_up(database, run_id, lease=60), queue.cancel("doorloop"), return_exceptions=True
        )
        assert stopped == run_id
        assert await state(connection, run_id) == "stopped"
        if isinstance(taken, runs.TakenUp):
            with pytest.raises(Fenced):
                await taken.session.flush(lambda c, _now: runs.clock(c))
            await taken.session.release()
        assert await jobs(connection) == []
        assert await rows(connection, "SELECT * FROM keepstep.locks") == []


async def test_what_somebody_waits_for_comes_first_then_what_is_scheduled_then_what_is_nightly(
    queue: Queue, connection: Connection
) -> None:
    kinds = [("nightly", "backfill"), ("schedule", "backfill"), ("schedule", "delta"), ("manual", "backfill")] * 2
    ids = [await queued(connection, f"number-{n}", trigger, mode) for n, (trigger, mode) in enumerate(kinds)]
    await connection.execute("SELECT keepstep.enqueue(%s)", [ids])
    performed: list[int] = []

    async def perform(run_id: int) -> None:
        performed.append(run_id)

    async with working(queue, perform):
        await until(lambda: _is(len(performed) == len(ids)))
    ranked = [("manual", "schedule", "nightly").index(kinds[ids.index(run)][0]) for run in performed]
    assert ranked == sorted(ranked)


async def queued(connection: Connection, integration: str, trigger: str = "schedule", mode: str = "delta") -> int:
    """A queued run without a row."""
    owner = await runs.connection_id(connection, integration)
    insert = (
        "INSERT INTO keepstep.runs (connection_id, mode, dry_run, trigger, entities, state, in_queue)"
        " VALUES (%s, %s, false, %s, '{leases}', 'queued', true) RETURNING id"
    )
    [row] = await rows(connection, insert, owner, mode, trigger)
    return int(row["id"])


async def _is(what: bool) -> bool:
    return what


async def test_a_row_is_gone_when_its_attempt_is_over_whatever_became_of_it(
    queue: Queue, connection: Connection
) -> None:
    async def perform(run_id: int) -> None:
        if run_id % 2:
            raise ValueError("an attempt that fails")

    async with working(queue, perform, concurrency=3):
        for number in range(6):
            await queue.enqueue_one(f"number-{number}", REQUEST)
        await until(lambda: _no_rows(connection))


async def _no_rows(connection: Connection) -> bool:
    return not await jobs(connection)


async def test_more_runs_than_places_are_performed_without_waiting_for_a_poll(
    database: Database, connection: Connection
) -> None:
    queue = Queue(database, Timing(**{**QUICK, "poll": NEVER}))
    performed: list[int] = []

    async def perform(run_id: int) -> None:
        await asyncio.sleep(0)
        performed.append(run_id)

    ids = [await queued(connection, f"number-{number}") for number in range(20)]
    await connection.execute("SELECT keepstep.enqueue(%s)", [ids])
    async with working(queue, perform, concurrency=2):
        await until(lambda: _is(len(performed) == 20), 30)
    assert sorted(performed) == ids


async def test_a_given_back_run_is_taken_up_as_soon_as_its_old_row_is_gone(database: Database) -> None:
    queue = Queue(database, Timing(**{**QUICK, "poll": NEVER}))
    attempts: list[int] = []

    async def perform(run_id: int) -> None:
        attempts.append(run_id)
        taken = await runs.take_up(database, run_id, lease=60)
        if len(attempts) < 3:
            event = Event("run-given-back", "given back")
            await taken.session.flush(lambda c, _now: runs.give_back(c, taken.session, event))
        await taken.session.release()

    async with working(queue, perform):
        await queue.enqueue_one("doorloop", REQUEST)
        await until(lambda: _is(len(attempts) == 3), 30)


async def test_a_worker_hears_of_new_runs_again_after_its_ear_was_cut_off(
    database: Database, connection: Connection
) -> None:
    queue = Queue(database, Timing(**{**QUICK, "poll": NEVER}))
    performed: list[int] = []

    async def perform(run_id: int) -> None:
        performed.append(run_id)

    async with working(queue, perform):
        for number in range(3):
            await connection.execute(
                "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity"
                " WHERE datname = current_database() AND application_name LIKE 'keepstep worker%'"
            )
            await queue.enqueue_one(f"number-{number}", REQUEST)
            await until(lambda: _is(len(performed) == number + 1), 30)  # noqa: B023


async def test_a_worker_that_was_forgotten_is_the_same_one_again(queue: Queue, connection: Connection) -> None:
    performed: list[int] = []

    async def perform(run_id: int) -> None:
        performed.append(run_id)

    async with working(queue, perform):
        await connection.execute("DELETE FROM keepstep_queue.procrastinate_workers")
        await queue.enqueue_one("doorloop", REQUEST)
        await until(lambda: _is(len(performed) == 1), 30)
        await until(lambda: _alive(queue))


async def test_a_stop_reaches_the_worker_at_once(queue: Queue, connection: Connection) -> None:
    entered, ended = asyncio.Event(), asyncio.Event()

    async def perform(_run_id: int) -> None:
        entered.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with working(queue, perform):
        await queue.enqueue_one("doorloop", REQUEST)
        await entered.wait()
        await queue.cancel("doorloop")
        async with asyncio.timeout(20):
            await ended.wait()
        await until(lambda: _no_rows(connection))


async def test_rows_of_a_worker_without_a_sign_of_life_are_removed_and_the_run_gets_a_new_one(
    queue: Queue, connection: Connection
) -> None:
    run_id = await queue.enqueue_one("doorloop", REQUEST)
    await connection.execute(
        "INSERT INTO keepstep_queue.procrastinate_workers (last_heartbeat) VALUES (now()), (now() - interval '2 s')"
    )
    take = (
        "SELECT id FROM keepstep_queue.procrastinate_fetch_job_v2("
        "NULL, (SELECT {}(id) FROM keepstep_queue.procrastinate_workers))"
    )
    [first] = await rows(connection, take.format("max"))
    swept = await queue.sweep()
    assert (swept.rows, swept.requeued, swept.suspects) == (1, [run_id], [])
    [second] = await rows(connection, take.format("min"))
    assert second["id"] > first["id"]
    assert (await queue.sweep()).rows == 0
    assert (await queue.stats()).doing == {"interactive": 1}


async def test_a_running_run_without_a_session_is_suspected_and_queued_again_once_that_is_confirmed(
    queue: Queue, database: Database, connection: Connection
) -> None:
    run_id = await queue.enqueue_one("doorloop", REQUEST)
    taken = await runs.take_up(database, run_id, lease=NEVER)
    assert (await queue.sweep()).suspects == []
    await lose(connection)
    [suspect] = (await queue.sweep()).suspects
    assert (suspect.run_id, await state(connection, run_id)) == (run_id, "running")
    swept = await queue.sweep([suspect])
    assert (swept.requeued, swept.crashed, swept.suspects) == ([run_id], [], [])
    assert await state(connection, run_id) == "queued"
    assert [job["status"] for job in await jobs(connection)] == ["todo"]
    with pytest.raises(Fenced):
        await taken.session.flush(lambda c, _now: runs.clock(c))
    again = await runs.take_up(database, run_id, lease=60)
    assert (again.entities, again.first) == (("leases", "owners"), False)
    await again.session.release()


async def test_a_suspected_run_that_has_renewed_its_lock_is_left_alone(
    queue: Queue, database: Database, connection: Connection
) -> None:
    run_id = await queue.enqueue_one("doorloop", REQUEST)
    taken = await runs.take_up(database, run_id, lease=NEVER)
    await lose(connection)
    [suspect] = (await queue.sweep()).suspects
    await taken.session.flush(lambda c, _now: runs.clock(c))
    swept = await queue.sweep([suspect])
    assert (swept.requeued, swept.crashed, swept.suspects) == ([], [], [])
    assert await state(connection, run_id) == "running"
    await taken.session.release()


async def test_a_frozen_holder_is_suspected_when_its_lease_is_over_and_its_open_transaction_is_ended(
    queue: Queue, database: Database, connection: Connection
) -> None:
    run_id = await queue.enqueue_one("doorloop", REQUEST)
    taken = await runs.take_up(database, run_id, lease=0.2)
    entered, never = asyncio.Event(), asyncio.Event()

    async def hang(_connection: Connection, _now: object) -> None:
        entered.set()
        await never.wait()

    flush = asyncio.create_task(taken.session.flush(hang, repeatable=False))
    await entered.wait()
    seen: list[Suspect] = []

    async def is_suspected() -> bool:
        seen[:] = (await queue.sweep()).suspects
        return bool(seen)

    await until(is_suspected)
    assert (await queue.sweep(seen)).requeued == [run_id]
    never.set()
    assert isinstance((await asyncio.gather(flush, return_exceptions=True))[0], Exception)
    await taken.session.release()


async def test_the_third_crash_of_a_run_is_its_last_and_says_so(
    queue: Queue, database: Database, connection: Connection
) -> None:
    run_id = await queue.enqueue_one("doorloop", REQUEST)
    for crash in (1, 2, 3):
        await runs.take_up(database, run_id, lease=NEVER)
        await lose(connection)
        swept = await queue.sweep((await queue.sweep()).suspects)
        assert (swept.requeued, swept.crashed) == (([run_id], []) if crash < 3 else ([], [run_id]))
    row = await runs.get(connection, run_id)
    assert row is not None
    assert (row["state"], row["error"]["code"]) == ("crashed", "run-crashed")
    assert "3 workers died" in row["error"]["message"]
    assert row["error"]["fix"]
    assert await jobs(connection) == []


async def test_a_run_of_a_command_that_died_has_crashed_and_is_not_gone_on_with(
    queue: Queue, database: Database, connection: Connection
) -> None:
    session = await runs.begin(database, "doorloop", REQUEST, lease=NEVER)
    await lose(connection)
    swept = await queue.sweep((await queue.sweep()).suspects)
    assert (swept.requeued, swept.crashed) == ([], [session.run_id])
    assert await state(connection, session.run_id) == "crashed"
    assert await queue.enqueue_one("doorloop", REQUEST) > session.run_id


async def test_a_command_that_died_while_its_run_waited_is_noticed(
    queue: Queue, database: Database, connection: Connection
) -> None:
    session = await runs.begin(database, "doorloop", REQUEST, lease=60)
    await wait(session, -30)
    assert (await queue.sweep()).crashed == []
    await connection.execute("UPDATE keepstep.runs SET due_at = now() - interval '61 s'")
    assert (await queue.sweep()).crashed == [session.run_id]
    assert await state(connection, session.run_id) == "crashed"


async def test_many_sweepers_at_once_do_everything_once(
    queue: Queue, database: Database, connection: Connection
) -> None:
    ids = []
    for number in range(5):
        ids.append(await queue.enqueue_one(f"number-{number}", REQUEST))
        await runs.take_up(database, ids[-1], lease=NEVER)
    await connection.execute("DELETE FROM keepstep_queue.procrastinate_jobs")
    await lose(connection)
    suspects = (await queue.sweep()).suspects
    assert len(suspects) == 5
    swept = await asyncio.gather(*(queue.sweep(suspects) for _ in range(6)))
    assert sorted(run for one in swept for run in one.requeued) == ids
    assert len(await jobs(connection)) == 5
    [crashes] = await rows(connection, "SELECT sum(crashes) AS n FROM keepstep.runs")
    assert crashes["n"] == 5


def test_a_suspect_is_confirmed_when_it_has_stayed_the_same_for_long_enough() -> None:
    now = 0.0
    watch = Watch(6.0, lambda: now)
    dead, alive = Suspect(1, 1, "a", None), Suspect(2, 2, "b", None)
    watch.see([dead, alive])
    assert watch.confirmed() == []
    now = 5.0
    watch.see([dead, Suspect(2, 2, "c", None)])
    now = 6.0
    assert watch.confirmed() == [dead]
    watch.see([])
    assert watch.confirmed() == []


async def test_the_due_runs_of_schedules_come_through_the_same_port(queue: Queue, connection: Connection) -> None:
    owner = await runs.connection_id(connection, "doorloop")
    await connection.execute(
        "INSERT INTO keepstep.schedules (connection_id, enabled, interval_seconds, entities)"
        " VALUES (%s, true, 600, '{leases}')",
        [owner],
    )
    [run_id] = (await queue.enqueue_due()).started
    assert [job["queue_name"] for job in await jobs(connection)] == ["scheduled"]
    with pytest.raises(LockHeld) as refusal:
        await queue.enqueue_one("doorloop", REQUEST)
    assert refusal.value.run_id == str(run_id)
    stats = await queue.stats()
    assert (stats.todo, stats.doing, stats.workers) == ({"scheduled": 1}, {"scheduled": 0}, 0)
    assert stats.oldest_seconds is not None


async def test_an_empty_queue_says_so(queue: Queue) -> None:
    stats = await queue.stats()
    assert (stats.todo, stats.doing, stats.workers, stats.oldest_seconds) == ({}, {}, 0, None)


async def test_the_engine_is_the_one_whose_tables_we_write(connection: Connection) -> None:
    assert version("procrastinate") == "3.10.0"
    columns = await rows(
        connection,
        "SELECT table_name || '.' || column_name || ' ' || data_type AS name FROM information_schema.columns"
        " WHERE table_schema = 'keepstep_queue' AND table_name IN ('procrastinate_jobs', 'procrastinate_workers')",
    )
    jobs_of = {
        "id bigint", "queue_name character varying", "task_name character varying", "priority integer", "lock text",
        "queueing_lock text", "args jsonb", "status USER-DEFINED", "scheduled_at timestamp with time zone",
        "attempts integer", "abort_requested boolean", "worker_id bigint",
    }  # fmt: skip
    assert {row["name"] for row in columns} == {
        *(f"procrastinate_jobs.{column}" for column in jobs_of),
        "procrastinate_workers.id bigint", "procrastinate_workers.last_heartbeat timestamp with time zone",
    }  # fmt: skip
    triggers = await rows(
        connection,
        "SELECT tgname AS name FROM pg_trigger WHERE tgrelid = 'keepstep_queue.procrastinate_jobs'::regclass"
        " AND NOT tgisinternal AND tgenabled <> 'D'",
    )
    assert "procrastinate_jobs_notify_queue_job_aborted_v1" in {row["name"] for row in triggers}
    assert "procrastinate_jobs_notify_queue_job_inserted_v1" not in {row["name"] for row in triggers}


def test_only_the_lane_imports_the_engine() -> None:
    from pathlib import Path

    package = Path(store.__file__).parents[1]
    importing = [
        str(path.relative_to(package)) for path in package.rglob("*.py")
        if "import procrastinate" in (text := path.read_text("utf-8")) or "from procrastinate" in text
    ]  # fmt: skip
    assert importing == ["dispatch/lane.py"]
