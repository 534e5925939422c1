"""Every run has a connection, although no foreign key says so: runs by schedule are made without a look at it."""

import asyncio

import pytest
from psycopg.errors import ForeignKeyViolation
from tests.support.schedules import Stage

from keepstep.model.errors import StoreError
from keepstep.store import schedules
from keepstep.store.db import Connection, Database


@pytest.fixture
def stage(connection: Connection) -> Stage:
    return Stage(connection)


async def until_somebody_waits(database: Database) -> None:
    """Wait until a session waits for a lock of another one."""
    waiting = b"SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with database.connection() as connection, asyncio.timeout(20):
        while not await (await connection.execute(waiting)).fetchall():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def delete_connections(database: Database) -> None:
    async with database.connection() as connection:
        await connection.execute("DELETE FROM keepstep.connections")


async def test_a_run_by_hand_without_a_connection_is_refused(stage: Stage) -> None:
    with pytest.raises(ForeignKeyViolation, match="There is no connection 1 for a run"):
        await stage.live_run(1, "queued")
    assert await stage.runs() == []


async def test_a_run_cannot_be_given_to_a_connection_that_is_not_there(stage: Stage) -> None:
    await stage.add()
    await stage.dispatch()
    with pytest.raises(ForeignKeyViolation, match="There is no connection 9 for a run"):
        await stage.call("UPDATE keepstep.runs SET connection_id = 9")


async def test_a_connection_with_runs_stays_and_one_without_goes_with_its_schedules(stage: Stage) -> None:
    await stage.add()
    await stage.dispatch()
    idle = await stage.add(owner="somebody")
    with pytest.raises(ForeignKeyViolation, match="has runs"):
        await stage.call("DELETE FROM keepstep.connections WHERE owner_id IS NULL")
    await stage.call("DELETE FROM keepstep.connections WHERE owner_id IS NOT NULL")
    assert await stage.times(idle) == {}
    assert len(await stage.all("SELECT id FROM keepstep.connections")) == 1


async def test_a_connection_whose_run_is_being_made_stays(stage: Stage, database: Database) -> None:
    await stage.add()
    async with database.connection() as dispatcher, dispatcher.transaction():
        await schedules.dispatch_due(dispatcher)
        deletion = asyncio.create_task(delete_connections(database))
        await until_somebody_waits(database)
    with pytest.raises(StoreError, match="has runs"):
        await deletion
    assert (
        len(await stage.all("SELECT r.id FROM keepstep.runs r JOIN keepstep.connections c ON c.id = r.connection_id"))
        == 1
    )


async def test_nothing_is_dispatched_for_a_connection_that_is_being_deleted(stage: Stage, database: Database) -> None:
    await stage.add()
    async with database.connection() as other, other.transaction():
        await other.execute("DELETE FROM keepstep.connections")
        assert await stage.dispatch() == ([], [])
    assert await stage.dispatch() == ([], [])
    assert await stage.runs() == []


async def test_a_schedule_that_is_added_meanwhile_does_not_save_a_connection_and_starts_nothing(
    stage: Stage, database: Database
) -> None:
    await stage.add()
    async with database.connection() as other, other.transaction():
        await other.execute("DELETE FROM keepstep.connections")
        adding = asyncio.create_task(
            stage.call(
                "INSERT INTO keepstep.schedules (connection_id, name, enabled, interval_seconds, entities)"
                " SELECT id, 'second', true, 600, '{owners}' FROM keepstep.connections"
            )
        )
        await until_somebody_waits(database)
    with pytest.raises(ForeignKeyViolation):
        await adding
    assert await stage.dispatch() == ([], [])
