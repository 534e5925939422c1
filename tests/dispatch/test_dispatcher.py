"""The dispatcher: on time, woken by edits, and unshaken by a database that comes and goes."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from keepstep.dispatch import dispatcher as dispatching
from keepstep.dispatch.dispatcher import Dispatcher
from keepstep.model.errors import StoreError
from keepstep.reliability import loop as loops
from keepstep.store.db import Connection, Database
from tests.support.schedules import Stage
from tests.support.server import TestServer

DEADLINE = 30.0


@pytest.fixture
def stage(connection: Connection) -> Stage:
    return Stage(connection)


@pytest.fixture(autouse=True)
def only_when_it_must(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is found by looking now and then: what these tests see was due, or was told."""
    monkeypatch.setattr(dispatching, "CAP", 3600.0)
    monkeypatch.setattr(loops, "FIRST_PAUSE", 0.05)


async def until(condition: Callable[[], Awaitable[Any]]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(DEADLINE):
        while not await condition():  # noqa: ASYNC110 - the database has no event for it
            await asyncio.sleep(0.01)


async def until_runs(stage: Stage, count: int) -> None:
    """Wait for so many queue rows."""

    async def there() -> bool:
        return len(await stage.queue()) >= count

    await until(there)


@asynccontextmanager
async def listening_dispatcher(database: Database, stage: Stage) -> AsyncIterator[Dispatcher]:
    """One that has looked once and hears what is told."""
    async with Dispatcher(database).running() as dispatcher:
        await until(lambda: listeners(stage))
        await until(lambda: stage.call("SELECT at FROM keepstep.ticks WHERE name = 'dispatcher'"))
        yield dispatcher


async def listeners(stage: Stage) -> list[int]:
    """The sessions that wait for edits."""
    rows = await stage.all(
        "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND state = 'idle'"
        " AND application_name = 'keepstep dispatcher' AND query LIKE 'LISTEN%'"
    )
    return [row["pid"] for row in rows]


async def due_in(stage: Stage, schedule: int, milliseconds: int) -> None:
    """Let a schedule be due a little later, without a word to anybody."""
    await stage.plan(schedule, delta_at=await stage.now() + timedelta(milliseconds=milliseconds))


async def test_it_sleeps_until_a_schedule_is_due(stage: Stage, database: Database) -> None:
    schedule = await stage.add()
    await due_in(stage, schedule, 200)
    async with Dispatcher(database).running():
        await until_runs(stage, 1)
    [run] = await stage.runs()
    assert run["created_at"] >= run["planned_at"]


async def test_an_edit_wakes_it(stage: Stage, database: Database) -> None:
    schedule = await stage.add(enabled=False)
    async with listening_dispatcher(database, stage):
        assert await stage.queue() == []
        await stage.edit(schedule, "enabled = true")
        await until_runs(stage, 1)


async def test_a_run_whose_wait_is_over_goes_back_to_the_queue(stage: Stage, database: Database) -> None:
    await stage.add(enabled=False)
    await stage.live_run(1, "waiting", due_at=await stage.now() + timedelta(milliseconds=200))
    async with Dispatcher(database).running():
        await until_runs(stage, 1)
    assert [run["state"] for run in await stage.runs()] == ["queued"]


async def test_more_than_a_batch_is_done_in_one_go(stage: Stage, database: Database) -> None:
    await stage.many(25)
    with capture_logs() as told:
        await Dispatcher(database, batch=10).once()
    assert [line["queued"] for line in told if line["event"] == "runs queued"] == [10, 10, 5]
    assert len(await stage.queue()) == 25


async def test_a_tick_that_finds_the_lock_held_says_so(stage: Stage, database: Database) -> None:
    schedule = await stage.add()
    await stage.live_run(1, "running")
    with capture_logs() as told:
        left = await Dispatcher(database).once()
    assert told == [
        {"event": "[auto-sync] skipped - lock held", "skipped": 1, "schedules": [schedule], "log_level": "info"}
    ]
    assert dispatching.FLOOR <= left <= 600


async def test_where_nobody_can_listen_it_looks_now_and_then(
    stage: Stage, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    @asynccontextmanager
    async def refused(*_: object, **__: object) -> AsyncIterator[None]:
        raise StoreError("no LISTEN here")
        yield

    monkeypatch.setattr(dispatching, "listening", refused)
    monkeypatch.setattr(dispatching, "CAP", 0.05)
    schedule = await stage.add(enabled=False)
    async with Dispatcher(database).running():
        await until(lambda: stage.call("SELECT at FROM keepstep.ticks"))
        await stage.edit(schedule, "enabled = true")
        await until_runs(stage, 1)


async def test_a_listener_that_was_cut_off_listens_again(stage: Stage, database: Database) -> None:
    schedule = await stage.add(enabled=False)
    async with listening_dispatcher(database, stage):
        [cut_off] = await listeners(stage)
        await stage.call("SELECT pg_terminate_backend(%s, 5000)", cut_off)
        await until(lambda: listeners(stage))
        await stage.edit(schedule, "enabled = true")
        await until_runs(stage, 1)


async def test_several_processes_share_the_work(stage: Stage, dsn: str) -> None:
    await stage.many(200)
    async with AsyncExitStack() as stack:
        for _ in range(4):
            await stack.enter_async_context(Dispatcher(Database(dsn), batch=10).running())
        await until_runs(stage, 200)
    runs = await stage.runs()
    assert len(runs) == len({run["schedule_id"] for run in runs}) == 200
    assert len(await stage.queue()) == 200


async def test_it_goes_on_after_the_database_was_killed(server: TestServer, dsn: str) -> None:
    database = Database(dsn)
    async with database.connection() as connection:
        schedule = await Stage(connection).add(enabled=False)
    with capture_logs() as told:
        async with database.pooled(), Dispatcher(database).running() as dispatcher:
            async with database.connection() as connection:
                await until(lambda: listeners(Stage(connection)))
            server.kill()
            server.await_answer()
            dispatcher.wake()
            async with Database(dsn).connection() as connection:
                await Stage(connection).edit(schedule, "enabled = true")
                await until_runs(Stage(connection), 1)
    outages = [line for line in told if line["log_level"] == "warning"]
    assert len(outages) <= 1  # the pool may have got over it before anybody looked
    assert [line for line in told if line["log_level"] == "error"] == []


async def test_its_end_does_not_wait_for_what_is_to_come(stage: Stage, database: Database) -> None:
    schedule = await stage.add()
    await due_in(stage, schedule, 3_600_000)
    async with asyncio.timeout(DEADLINE), listening_dispatcher(database, stage):
        pass
    assert await stage.queue() == []
