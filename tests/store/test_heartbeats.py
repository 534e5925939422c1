"""Locks that are kept alive side by side, and sessions that serve one run after another."""

import asyncio

import pytest
from tests.support.workers import until

from keepstep.model.integration import Mode
from keepstep.model.run import Event, RunRequest
from keepstep.store import queue, runs
from keepstep.store.db import Connection, Database
from keepstep.store.session import Closing, Heartbeats, RunSession

REQUEST = RunRequest(("leases",), Mode.BACKFILL)


async def begin(database: Database, integration: str = "doorloop", *, lease: float = 60.0) -> RunSession:
    """A new run."""
    return await runs.begin(database, integration, REQUEST, lease=lease)


async def value(connection: Connection, query: str) -> object:
    """The one value of a query."""
    row = await (await connection.execute(query.encode())).fetchone()
    assert row is not None
    return next(iter(row.values()))


async def test_many_runs_are_kept_alive_from_one_session(database: Database, connection: Connection) -> None:
    sessions = [await begin(database, f"number-{number}", lease=0.4) for number in range(5)]
    before = await value(connection, "SELECT max(renewed_at) FROM keepstep.locks")
    heartbeats = Heartbeats(database)
    watching = [asyncio.create_task(heartbeats.watch(session)) for session in sessions]

    async def all_renewed() -> bool:
        row = await (await connection.execute("SELECT min(renewed_at) AS at FROM keepstep.locks")).fetchone()
        return row is not None and row["at"] > before

    await until(all_renewed)
    others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
    assert await value(connection, others) == len(sessions) + 1
    await sessions[2].release()
    await asyncio.wait_for(watching[2], 20)
    assert [task.done() for task in watching] == [False, False, True, False, False]
    await heartbeats.aclose()
    for task in watching:
        task.cancel()
    await asyncio.gather(*watching, return_exceptions=True)
    for session in sessions:
        await session.release()


async def test_a_run_that_commits_for_long_does_not_keep_the_others_from_being_renewed(
    database: Database, connection: Connection
) -> None:
    busy, other = await begin(database, "busy", lease=0.4), await begin(database, "other", lease=0.4)
    heartbeats = Heartbeats(database)
    watching = [asyncio.create_task(heartbeats.watch(session)) for session in (busy, other)]
    entered, go_on = asyncio.Event(), asyncio.Event()

    async def work(_connection: Connection, _now: object) -> None:
        entered.set()
        await go_on.wait()

    flush = asyncio.create_task(busy.flush(work))
    await entered.wait()
    seen: set[object] = set()

    async def renewed_thrice() -> bool:
        query = f"SELECT renewed_at FROM keepstep.locks WHERE run_id = {other.run_id}"
        seen.add(await value(connection, query))
        return len(seen) > 3

    await until(renewed_thrice)
    assert not any(task.done() for task in watching)
    go_on.set()
    await flush
    await heartbeats.aclose()
    for task in watching:
        task.cancel()
    await asyncio.gather(*watching, return_exceptions=True)
    await busy.release()
    await other.release()


async def test_a_sweep_does_not_wait_for_a_suspected_run_that_is_busy_committing(
    database: Database, connection: Connection
) -> None:
    busy = await begin(database, lease=0.01)
    entered, go_on = asyncio.Event(), asyncio.Event()

    async def work(own: Connection, _now: object) -> None:
        entered.set()
        await own.execute("SELECT pg_sleep(3)")
        await go_on.wait()

    flush = asyncio.create_task(busy.flush(work))
    await entered.wait()
    [suspect] = await queue.suspects(connection)
    assert await queue.recover(connection, suspect) is None
    assert not flush.done()
    go_on.set()
    await flush
    await busy.release()


async def test_a_session_serves_one_run_after_another_and_keeps_nothing_of_them(dsn: str) -> None:
    database = Database(dsn)
    async with database.keeping_sessions(1):
        first = await begin(database, "first")
        pid = await _pid(first)
        await first.flush(lambda own, _now: own.execute("CREATE TEMP TABLE left_over (n integer)"))
        await first.release()
        second = await begin(database, "second")
        assert await _pid(second) == pid

        async def look(own: Connection, _now: object) -> object:
            return await value(own, "SELECT to_regclass('left_over')")

        assert await second.flush(look) is None
        third = await begin(database, "third")
        assert await _pid(third) != pid
        await second.release()
        await third.release()
        assert await _open(database) == 1
    assert await _open(database) == 0


async def test_a_session_that_was_cut_off_is_not_given_to_the_next_run(dsn: str, connection: Connection) -> None:
    database = Database(dsn)
    async with database.keeping_sessions(1):
        first = await begin(database, "first")
        await first.release()
        await connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'keepstep run'"
        )
        second = await begin(database, "second")
        await second.flush(lambda own, _now: runs.clock(own))
        await second.release()


async def _pid(session: RunSession) -> object:
    return await session.flush(lambda own, _now: value(own, "SELECT pg_backend_pid()"))


async def _open(database: Database) -> object:
    async with database.connection() as connection:
        query = (
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND application_name = 'keepstep run'"
        )
        return await value(connection, query)


async def test_a_session_that_is_closing_lets_the_flush_under_way_end_and_no_other_begin(database: Database) -> None:
    session = await begin(database)
    entered, go_on = asyncio.Event(), asyncio.Event()

    async def work(own: Connection, _now: object) -> None:
        entered.set()
        await go_on.wait()
        await runs.tell(own, session, Event("page", "the last one"))

    flush = asyncio.create_task(session.flush(work))
    await entered.wait()
    closing = asyncio.create_task(session.close_after(60))
    await asyncio.sleep(0)
    with pytest.raises(Closing):
        await session.flush(lambda own, _now: runs.clock(own))
    assert not closing.done()
    go_on.set()
    await flush
    await closing
    session.reopen()
    assert await session.flush(lambda own, _now: runs.clock(own))
    await session.release()


async def test_pages_in_quick_succession_are_announced_together_and_everything_else_at_once(
    database: Database, connection: Connection
) -> None:
    session = await begin(database)
    await connection.execute("LISTEN keepstep")
    for kind in ("page", "page", "page", "entity-finished", "page", "run-finished"):
        event = Event(kind, kind)
        await session.flush(lambda own, _now: runs.tell(own, session, event))  # noqa: B023
    told = [notice.payload async for notice in connection.notifies(timeout=1, stop_after=3)]
    assert told == [str(session.run_id)] * 3
    stored = [event["type"] for event in await runs.events(connection, session.run_id)]
    assert stored == ["run-started", "page", "page", "page", "entity-finished", "page", "run-finished"]
    await session.release()
