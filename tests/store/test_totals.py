"""Counters that only grow: each run is counted once, whoever counts and whoever reads meanwhile."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import pytest
from tests.support.sync import Sync

from keepstep.model.integration import Mode
from keepstep.store import runs, totals
from keepstep.store.db import Connection, Database
from keepstep.store.totals import Total

Labels = Mapping[str, str]


@pytest.fixture
async def owner(connection: Connection) -> int:
    return await runs.connection_id(connection, "doorloop")


@pytest.fixture
async def other(database: Database) -> AsyncIterator[Connection]:
    async with database.connection() as connection:
        yield connection


async def put_run(connection: Connection, owner: int, state: str, **values: Any) -> int:
    """A run that took 90 seconds and inserted 10 owners, unless said otherwise."""
    given = {"mode": "delta", "dry_run": False, "trigger": "schedule", "inserted": 10, **values}
    cursor = await connection.execute(
        "INSERT INTO keepstep.runs (connection_id, mode, dry_run, trigger, state, started_at, finished_at, error)"
        " SELECT %s, %s, %s, %s, s, now() - interval '90 s',"
        " CASE WHEN s NOT IN ('running', 'queued') THEN now() END, CASE s WHEN 'failed' THEN jsonb '{}' END"
        " FROM (VALUES (%s)) v (s) RETURNING id",
        [owner, given["mode"], given["dry_run"], given["trigger"], state],
    )
    [row] = await cursor.fetchall()
    await connection.execute(
        "INSERT INTO keepstep.run_entities (run_id, entity, position, rows, inserted) VALUES (%s, 'owners', 1, %s, %s)",
        [row["id"], given["inserted"], given["inserted"]],
    )
    return int(row["id"])


async def told(connection: Connection, name: str) -> dict[tuple[str, ...], float]:
    """The counters of a name by the values of their labels, in the order of the labels' names."""
    async with connection.transaction():
        await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        found = await totals.read(connection)
    return {tuple(t.labels[k] for k in sorted(t.labels)): t.value for t in found if t.name == name}


async def test_a_run_counts_from_its_end_on_and_not_twice_when_it_becomes_part_of_the_totals(
    connection: Connection, owner: int
) -> None:
    for state in ("succeeded", "succeeded", "failed", "running"):
        await put_run(connection, owner, state)
    before = [await told(connection, name) for name in ("runs", "rows", "run_seconds", "last_success_at")]

    assert await totals.count_ended(connection) == 3
    assert await totals.count_ended(connection) == 0
    after = [await told(connection, name) for name in ("runs", "rows", "run_seconds", "last_success_at")]

    assert before == after
    assert before[0] == {
        ("false", "doorloop", "delta", "succeeded", "schedule"): 2,
        ("false", "doorloop", "delta", "failed", "schedule"): 1,
    }
    assert before[1] == {("owners", "doorloop", "inserted"): 40}  # a live run's rows count as they are written
    assert before[2] == {("doorloop", "120", "delta"): 3}
    assert list(before[3]) == [("doorloop",)]


async def test_a_dry_run_counts_as_a_run_and_writes_no_rows(connection: Connection, owner: int) -> None:
    await put_run(connection, owner, "succeeded", dry_run=True)
    assert await told(connection, "runs") == {("true", "doorloop", "delta", "succeeded", "schedule"): 1}
    for name in ("rows", "run_seconds", "run_seconds_sum", "last_success_at"):
        assert await told(connection, name) == {}


async def test_a_run_that_lost_its_worker_keeps_its_rows_counted_while_it_is_queued_again(
    connection: Connection, owner: int
) -> None:
    run_id = await put_run(connection, owner, "running")
    await connection.execute("UPDATE keepstep.runs SET state = 'queued' WHERE id = %s", [run_id])
    assert await told(connection, "rows") == {("owners", "doorloop", "inserted"): 10}


async def test_of_many_who_count_at_the_same_time_each_run_is_counted_by_one(
    database: Database, connection: Connection, owner: int
) -> None:
    for _ in range(60):
        await put_run(connection, owner, "succeeded")

    async def count() -> int:
        async with database.connection() as own:
            found = 0
            while counted := await totals.count_ended(own, limit=7):
                found += counted
        return found

    assert sum(await asyncio.gather(*(count() for _ in range(5)))) == 60
    assert await told(connection, "runs") == {("false", "doorloop", "delta", "succeeded", "schedule"): 60}


async def test_a_reader_sees_every_run_once_while_others_count(
    database: Database, connection: Connection, other: Connection, owner: int
) -> None:
    for _ in range(40):
        await put_run(connection, owner, "succeeded")
    seen: set[float] = set()

    async def watch() -> None:
        while not counting.done():
            seen.update((await told(other, "runs")).values())

    async def count() -> None:
        while await totals.count_ended(connection, limit=3):
            pass

    counting = asyncio.create_task(count())
    await watch()
    await counting
    assert seen == {40}


async def test_moments_only_move_on_and_counters_add_up(connection: Connection) -> None:
    for value in (100.0, 50.0, 75.0):
        await totals.add(connection, [Total("last_success_at", {"integration": "x"}, value), Total("n", {}, value)])
    cursor = await connection.execute("SELECT name, value FROM keepstep.totals ORDER BY name")
    assert [tuple(row.values()) for row in await cursor.fetchall()] == [("last_success_at", 100.0), ("n", 225.0)]


async def test_a_duration_beyond_every_bound_and_one_without_a_start_are_told_apart(
    connection: Connection, owner: int
) -> None:
    long = await put_run(connection, owner, "succeeded")
    await connection.execute("UPDATE keepstep.runs SET started_at = now() - interval '40 days' WHERE id = %s", [long])
    never = await put_run(connection, owner, "stopped")  # while it was queued
    await connection.execute("UPDATE keepstep.runs SET started_at = NULL WHERE id = %s", [never])
    assert await told(connection, "run_seconds") == {("doorloop", "+Inf", "delta"): 1}
    assert sum((await told(connection, "runs")).values()) == 2


@pytest.mark.parametrize("counted_first", [True, False])
async def test_held_deletions_that_are_carried_out_later_are_counted_once(sync: Sync, counted_first: bool) -> None:
    await sync.run("leases", mode=Mode.BACKFILL)
    sync.upstream.change("leases", delete=50)
    held = await sync.run("leases", mode=Mode.BACKFILL, drop_percent=10, drop_floor=1)
    assert held.result == "held"
    async with sync.connection() as connection:
        if counted_first:
            await totals.count_ended(connection)
        results = await told(connection, "runs")
        await sync.commands.approve(held.run_id, by="test", reason="they are gone")
        assert await told(connection, "runs") == results
        assert (await told(connection, "rows"))["leases", "doorloop", "deleted"] == 50
        await totals.count_ended(connection)
        assert await told(connection, "runs") == results
        assert (await told(connection, "rows"))["leases", "doorloop", "deleted"] == 50
