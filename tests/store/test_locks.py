"""One run at a time for a connection: by a lock with a lease, which a dead holder loses at once."""

import asyncio

import psycopg
import pytest

from keepstep.model.errors import Fenced, LockHeld
from keepstep.model.integration import Mode
from keepstep.model.run import Event, RunRequest, State
from keepstep.store import locks, queue, runs
from keepstep.store.db import Connection, Database
from keepstep.store.session import Heartbeats, RunSession

REQUEST = RunRequest(("leases",), Mode.BACKFILL)


async def begin(database: Database, *, lease: float = 60.0, integration: str = "doorloop") -> RunSession:
    """A new run."""
    return await runs.begin(database, integration, REQUEST, lease=lease)


async def states(connection: Connection) -> dict[int, str]:
    """The state of every run."""
    cursor = await connection.execute("SELECT id, state FROM keepstep.runs")
    return {row["id"]: row["state"] for row in await cursor.fetchall()}


async def lose(session: RunSession, connection: Connection) -> None:
    """End the session of a run as a killed process does: without a word."""
    await connection.execute(
        "SELECT pg_terminate_backend(backend_pid, 5000) FROM keepstep.locks WHERE run_id = %s", [session.run_id]
    )


async def watch(database: Database, session: RunSession, *, every: float = 0.05) -> None:
    """Keep the lock alive until it is gone."""
    heartbeats = Heartbeats(database, every=every)
    try:
        await heartbeats.watch(session)
    finally:
        await heartbeats.aclose()


async def finish(session: RunSession) -> None:
    """End a run as it should."""
    await session.flush(lambda c, _now: runs.finish(c, session, State.SUCCEEDED, Event("run-finished", "done"), None))
    await session.release()


async def test_a_second_run_is_refused_while_one_is_alive_and_told_its_id(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "_TAKEOVER_PATIENCE", 0.1)
    first = await begin(database)
    with pytest.raises(LockHeld, match=rf"Run {first.run_id} is active since") as refusal:
        await begin(database)
    assert refusal.value.run_id == str(first.run_id)
    assert "keepstep stop" in refusal.value.fix
    other = await begin(database, integration="another")
    await other.release()
    await finish(first)
    await finish(await begin(database))


async def test_of_many_that_begin_at_once_one_does(
    database: Database, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "_TAKEOVER_PATIENCE", 0.1)
    outcomes = await asyncio.gather(*(begin(database) for _ in range(8)), return_exceptions=True)
    winners = [outcome for outcome in outcomes if isinstance(outcome, RunSession)]
    assert len(winners) == 1
    assert {outcome.run_id for outcome in outcomes if isinstance(outcome, LockHeld)} == {str(winners[0].run_id)}
    assert list((await states(connection)).values()) == ["running"]
    await finish(winners[0])


async def test_a_holder_whose_session_has_ended_is_replaced_at_once_and_called_crashed(
    database: Database, connection: Connection
) -> None:
    dead = await begin(database, lease=3600)
    await lose(dead, connection)
    heir = await begin(database)
    assert await states(connection) == {dead.run_id: "crashed", heir.run_id: "running"}
    events = await runs.events(connection, dead.run_id)
    assert events[-1]["msg"] == f"Run {dead.run_id} crashed: its process ended without a word."
    with pytest.raises(Fenced, match="has lost its lock"):
        await dead.flush(lambda c, _now: runs.clock(c))
    await finish(heir)


async def test_a_holder_that_lost_its_connection_but_not_its_lock_goes_on(
    database: Database, connection: Connection
) -> None:
    session = await begin(database)
    await lose(session, connection)
    assert await session.flush(lambda c, _now: runs.clock(c))
    assert await runs.is_active(connection, session.connection_id)
    await finish(session)


async def test_a_holder_whose_lease_is_over_is_replaced_and_can_commit_nothing_more(
    database: Database, connection: Connection
) -> None:
    late = await begin(database, lease=0.05)
    heir = await begin(database)
    done = []

    async def work(_connection: Connection, _now: object) -> None:
        done.append("written")

    with pytest.raises(Fenced):
        await late.flush(work)
    assert done == []
    await watch(database, late)
    await late.release()
    assert await runs.is_active(connection, heir.connection_id)
    await finish(heir)


async def test_a_holder_that_hangs_inside_a_transaction_is_replaced_when_its_lease_is_over(
    database: Database, connection: Connection
) -> None:
    frozen = await begin(database, lease=0.3)
    entered, never = asyncio.Event(), asyncio.Event()

    async def hang(_connection: Connection, _now: object) -> None:
        entered.set()
        await never.wait()

    flush = asyncio.create_task(frozen.flush(hang, repeatable=False))
    await entered.wait()
    async with asyncio.timeout(20):
        heir = await begin(database)
    assert await states(connection) == {frozen.run_id: "crashed", heir.run_id: "running"}
    never.set()
    with pytest.raises(Exception, match=r"."):
        await flush
    await finish(heir)


async def test_a_holder_that_hangs_inside_a_copy_is_replaced_when_its_lease_is_over(
    database: Database, connection: Connection
) -> None:
    await connection.execute("CREATE TABLE public.filled (n integer)")
    frozen = await begin(database, lease=0.3)
    entered, never = asyncio.Event(), asyncio.Event()

    async def hang(session: Connection, _now: object) -> None:
        async with session.cursor() as cursor, cursor.copy("COPY public.filled FROM STDIN") as copy:
            await copy.write(b"1\n")
            entered.set()
            await never.wait()

    flush = asyncio.create_task(frozen.flush(hang, repeatable=False))
    await entered.wait()
    async with asyncio.timeout(20):
        heir = await begin(database)
    never.set()
    with pytest.raises(Exception, match=r"."):
        await flush
    cursor = await connection.execute("SELECT count(*) AS n FROM public.filled")
    assert await cursor.fetchone() == {"n": 0}
    await finish(heir)


async def test_a_holder_that_the_database_keeps_busy_longer_than_its_lease_is_left_alone(
    database: Database, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "_TAKEOVER_PATIENCE", 0.1)
    busy = await begin(database, lease=0.3)
    entered = asyncio.Event()

    async def work(session: Connection, _now: object) -> None:
        entered.set()
        await session.execute("SELECT pg_sleep(1.5)")

    beat = asyncio.create_task(watch(database, busy))
    flush = asyncio.create_task(busy.flush(work))
    await entered.wait()
    await connection.execute("SELECT pg_sleep_until(expires_at) FROM keepstep.locks")
    with pytest.raises(LockHeld):
        await begin(database)
    await flush
    assert not beat.done()
    beat.cancel()
    await asyncio.gather(beat, return_exceptions=True)
    await finish(busy)


async def test_the_heartbeat_renews_the_lease(database: Database, connection: Connection) -> None:
    session = await begin(database)
    beat = asyncio.create_task(watch(database, session, every=0.005))
    async with asyncio.timeout(20):
        seen: set[object] = set()
        while len(seen) < 4:
            cursor = await connection.execute("SELECT expires_at FROM keepstep.locks")
            row = await cursor.fetchone()
            assert row is not None
            seen.add(row["expires_at"])
    beat.cancel()
    await asyncio.gather(beat, return_exceptions=True)
    await finish(session)


async def test_a_stop_ends_the_run_and_its_heartbeat_and_lets_nothing_more_be_written(
    database: Database, connection: Connection
) -> None:
    session = await begin(database)
    assert await queue.stop(connection, "doorloop") == session.run_id
    assert await states(connection) == {session.run_id: "stopped"}
    await watch(database, session)
    with pytest.raises(Fenced):
        await session.flush(lambda c, _now: runs.clock(c))
    await session.release()
    assert await queue.stop(connection, "doorloop") is None
    await finish(await begin(database))


async def test_a_stop_waits_for_the_flush_under_way(database: Database, connection: Connection) -> None:
    session = await begin(database)
    entered, go_on = asyncio.Event(), asyncio.Event()

    async def work(own: Connection, _now: object) -> None:
        entered.set()
        await go_on.wait()
        await runs.tell(own, session, Event("page", "the last one"))

    flush = asyncio.create_task(session.flush(work))
    await entered.wait()
    stop = asyncio.create_task(queue.stop(connection, "doorloop"))
    await blocked(database)
    go_on.set()
    await flush
    assert await stop == session.run_id
    told = [event["type"] for event in await runs.events(connection, session.run_id)]
    assert told == ["run-started", "page", "run-stopped"]
    await session.release()


async def test_a_stop_interrupts_a_flush_that_does_not_end(
    database: Database, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(queue, "_STOP_PATIENCE", 1)
    session = await begin(database)
    entered = asyncio.Event()

    async def hang(own: Connection, _now: object) -> None:
        await runs.tell(own, session, Event("page", "never told"))
        entered.set()
        await own.execute("SELECT pg_sleep(3600)")

    flush = asyncio.create_task(session.flush(hang))
    await entered.wait()
    assert await queue.stop(connection, "doorloop") == session.run_id
    with pytest.raises(Fenced):
        await flush
    told = [event["type"] for event in await runs.events(connection, session.run_id)]
    assert told == ["run-started", "run-stopped"]
    await session.release()


async def blocked(database: Database) -> None:
    """Wait until some session waits for a lock."""
    async with database.connection() as connection, asyncio.timeout(20):
        query = (
            "SELECT count(*) AS n FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        while (await (await connection.execute(query)).fetchone() or {})["n"] == 0:  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def test_a_run_that_waits_gives_its_lock_back_and_takes_it_again(
    database: Database, connection: Connection
) -> None:
    session = await begin(database)
    event = Event("run-waiting", "waits")
    due = await session.flush(lambda c, _now: runs.wait(c, session, 3600, event, {"code": "rate-limited"}))
    await session.release()
    assert not await runs.is_active(connection, session.connection_id)
    row = await runs.get(connection, session.run_id)
    assert row is not None
    assert (row["state"], row["due_at"]) == ("waiting", due)
    again = await runs.resume(database, session.run_id, lease=60)
    assert again.run_id == session.run_id
    await finish(again)


async def wait(session: RunSession, seconds: float) -> None:
    """Let a run wait for upstream."""
    event = Event("run-waiting", "waits")
    await session.flush(lambda c, _now: runs.wait(c, session, seconds, event, {"code": "rate-limited"}))
    await session.release()


async def test_a_run_that_waits_refuses_another_one_and_says_until_when(
    database: Database, connection: Connection
) -> None:
    session = await begin(database)
    await wait(session, 3600)
    with pytest.raises(LockHeld, match=rf"Run {session.run_id} waits for upstream until \d\d:\d\d:\d\d UTC") as refusal:
        await begin(database)
    assert refusal.value.run_id == str(session.run_id)
    assert await states(connection) == {session.run_id: "waiting"}


async def test_a_run_that_should_have_gone_on_long_ago_is_replaced_and_cannot_go_on(
    database: Database, connection: Connection
) -> None:
    session = await begin(database)
    await wait(session, -61)
    heir = await begin(database)
    await finish(heir)
    assert (await states(connection))[session.run_id] == "stopped"
    with pytest.raises(Fenced, match="was ended while it waited"):
        await runs.resume(database, session.run_id, lease=60)


async def test_the_database_itself_refuses_two_live_runs_of_a_connection(connection: Connection) -> None:
    owner = await runs.connection_id(connection, "doorloop")
    insert = (
        "INSERT INTO keepstep.runs (connection_id, mode, dry_run, trigger, state, started_at) "
        "VALUES (%s, 'delta', false, 'manual', 'running', now())"
    )
    await connection.execute(insert.encode(), [owner])
    with pytest.raises(psycopg.errors.UniqueViolation):
        await connection.execute(insert.encode(), [owner])
