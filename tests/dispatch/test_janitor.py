"""Housekeeping: what is old goes, what somebody still needs stays, and each piece is done by one process."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from keepstep.dispatch import janitor as rounds
from keepstep.dispatch.janitor import Janitor, Keep
from keepstep.model.errors import StoreError
from keepstep.reliability.loop import Loop
from keepstep.store import janitor, runs
from keepstep.store.db import Connection, Database
from tests.support.sync import Sync

DAY = 86400


@pytest.fixture
async def owner(connection: Connection) -> int:
    return await runs.connection_id(connection, "doorloop")


@pytest.fixture
async def pooled(database: Database) -> AsyncIterator[Database]:
    async with database.pooled(4) as pooled:
        yield pooled


async def put_run(connection: Connection, owner: int, *, days: float, counted: bool = True) -> int:
    """A run that ended so many days ago, with an entity, its first and last event and one of a page."""
    cursor = await connection.execute(
        "INSERT INTO keepstep.runs (connection_id, mode, dry_run, trigger, state, started_at, finished_at, counted)"
        " VALUES (%s, 'delta', false, 'schedule', 'succeeded', now() - make_interval(secs => %s),"
        " now() - make_interval(secs => %s), %s) RETURNING id",
        [owner, days * DAY + 60, days * DAY, counted],
    )
    [row] = await cursor.fetchall()
    await connection.execute(
        "INSERT INTO keepstep.run_entities (run_id, entity, position) VALUES (%s, 'owners', 1)", [row["id"]]
    )
    for kind in ("run-started", "page", "run-finished"):
        await connection.execute(
            "INSERT INTO keepstep.events (connection_id, run_id, ts, type, level, msg)"
            " VALUES (%s, %s, now() - make_interval(secs => %s), %s, 'info', 'x')",
            [owner, row["id"], days * DAY, kind],
        )
    return int(row["id"])


async def put_letter(connection: Connection, owner: int, run_id: int, *, closed_days: float | None) -> None:
    """A dead letter of a run, closed so many days ago or still open."""
    await connection.execute(
        "INSERT INTO keepstep.dead_letters (connection_id, entity, kind, reason, payload, payload_hash, run_id, state,"
        " closed_at) VALUES (%s, 'owners', 'x', 'x', 'x', 'x', %s, %s, now() - make_interval(secs => %s))",
        [owner, run_id, "open" if closed_days is None else "resolved",
         None if closed_days is None else closed_days * DAY],
    )  # fmt: skip


async def column(connection: Connection, query: str) -> list[Any]:
    return [next(iter(row.values())) for row in await (await connection.execute(query.encode())).fetchall()]


async def prune_runs(connection: Connection, *, limit: int = 3) -> int:
    """Walk all runs, a few at a time, keeping 180 days; gives how many went."""
    gone, after = 0, 0
    while True:
        count, last = await janitor.prune_runs(connection, older=180 * DAY, after=after, limit=limit)
        gone += count
        if last is None:
            return gone
        after = last


async def test_old_runs_go_with_all_that_is_theirs_and_young_ones_stay(connection: Connection, owner: int) -> None:
    for days in (400, 300, 200, 181, 179, 10):
        await put_run(connection, owner, days=days)
    assert await prune_runs(connection) == 4
    assert len(await column(connection, "SELECT id FROM keepstep.runs")) == 2
    assert len(await column(connection, "SELECT run_id FROM keepstep.run_entities")) == 2
    assert len(await column(connection, "SELECT id FROM keepstep.events")) == 6
    assert await prune_runs(connection) == 0


async def test_an_old_run_stays_while_something_of_it_is_open_or_is_not_counted_yet(
    connection: Connection, owner: int
) -> None:
    with_open_letter = await put_run(connection, owner, days=300)
    await put_letter(connection, owner, with_open_letter, closed_days=None)
    with_young_letter = await put_run(connection, owner, days=300)
    await put_letter(connection, owner, with_young_letter, closed_days=10)
    with_old_letter = await put_run(connection, owner, days=300)
    await put_letter(connection, owner, with_old_letter, closed_days=250)
    uncounted = await put_run(connection, owner, days=300, counted=False)
    held = await put_run(connection, owner, days=300)
    await connection.execute("UPDATE keepstep.runs SET state = 'held' WHERE id = %s", [held])
    await connection.execute(
        "INSERT INTO keepstep.held_deletions (run_id, entity, connection_id, live_rows, delete_rows, table_state)"
        " VALUES (%s, 'owners', %s, 9, 9, 'x')", [held, owner],
    )  # fmt: skip
    unfinished = await put_run(connection, owner, days=300)
    await connection.execute(
        "INSERT INTO keepstep.checkpoints (connection_id, entity, mode, progress, run_id)"
        " VALUES (%s, 'owners', 'delta', '{}', %s)", [owner, unfinished],
    )  # fmt: skip
    plain = await put_run(connection, owner, days=300)
    assert await prune_runs(connection) == 2
    left = await column(connection, "SELECT id FROM keepstep.runs ORDER BY id")
    assert left == [with_open_letter, with_young_letter, uncounted, held, unfinished]
    assert {with_old_letter, plain}.isdisjoint(left)


async def test_pages_are_forgotten_earlier_than_how_their_run_went(connection: Connection, owner: int) -> None:
    await put_run(connection, owner, days=31)
    await put_run(connection, owner, days=29)
    assert await janitor.prune(connection, "events", older=30 * DAY, limit=100) == 1
    assert await column(connection, "SELECT count(*) FROM keepstep.audit_events") == [4]
    assert await column(connection, "SELECT count(*) FROM keepstep.events WHERE type = 'page'") == [1]


async def test_the_rest_goes_when_it_is_of_no_use_any_more(connection: Connection, owner: int) -> None:
    await connection.execute(
        "INSERT INTO keepstep.rate_samples (connection_id, cause, ts)"
        " VALUES (%s, 'old', now() - interval '8 days'), (%s, 'young', now() - interval '6 days')", [owner, owner],
    )  # fmt: skip
    await connection.execute("INSERT INTO keepstep.users (name, password_hash, role) VALUES ('ann', 'x', 'viewer')")
    await connection.execute(
        "INSERT INTO keepstep.sessions (token_hash, user_id, expires_at) SELECT t, id, now() + e::interval"
        " FROM keepstep.users, (VALUES (bytea 'old', '-2 days'), (bytea 'young', '1 day')) v (t, e)"
    )
    await connection.execute(
        "INSERT INTO keepstep.login_failures (what, at)"
        " VALUES ('old', now() - interval '2 days'), ('young', now() - interval '1 minute')"
    )
    await connection.execute(
        "INSERT INTO keepstep.ticks (name, at) VALUES ('dispatcher', now() - interval '30 days'),"
        " ('a process long gone', now() - interval '30 days'), ('young', now())"
    )
    await connection.execute(
        "INSERT INTO keepstep.request_minutes (connection_id, minute, sent)"
        " VALUES (%s, now() - interval '2 days', 1), (%s, now(), 2)", [owner, owner],
    )  # fmt: skip
    assert 0 < await Janitor(Database(connection.info.dsn), Keep()).round() <= rounds.COUNT_EVERY
    assert await column(connection, "SELECT sent FROM keepstep.request_minutes") == [2]
    assert await column(connection, "SELECT cause FROM keepstep.rate_samples") == ["young"]
    assert await column(connection, "SELECT token_hash FROM keepstep.sessions") == [b"young"]
    assert await column(connection, "SELECT what FROM keepstep.login_failures") == ["young"]
    ticks = await column(connection, "SELECT name FROM keepstep.ticks ORDER BY name")
    assert ticks == ["dispatcher", "janitor: count", "janitor: prune", "young"]


async def test_each_piece_of_work_is_done_by_one_process_until_it_is_due_again(database: Database) -> None:
    async def take() -> bool:
        async with database.connection() as connection:
            return await janitor.take_turn(connection, "work", every=60)

    assert sorted(await asyncio.gather(*(take() for _ in range(6)))) == [False] * 5 + [True]
    async with database.connection() as connection:
        await connection.execute("UPDATE keepstep.ticks SET at = at - interval '61 s'")
    assert await take()
    async with database.connection() as connection:
        await connection.execute("UPDATE keepstep.ticks SET at = at + interval '1 day'")
    assert await take()  # its clock was set back: a turn in the future is nobody's


async def test_a_round_that_leaves_something_comes_back_soon_whatever_others_did(
    pooled: Database, connection: Connection, owner: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "_BATCH", 2)
    monkeypatch.setattr(rounds, "_BATCHES", 2)
    for _ in range(11):
        await put_run(connection, owner, days=200)
    housekeeping = Janitor(pooled)
    pauses = [await housekeeping.round() for _ in range(4)]
    assert pauses[:2] == [1.0, 1.0]
    assert pauses[-1] == rounds.COUNT_EVERY
    assert await column(connection, "SELECT count(*) FROM keepstep.runs") == [0]


async def test_runs_that_stay_do_not_keep_later_ones_from_going(
    pooled: Database, connection: Connection, owner: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rounds, "_BATCH", 2)
    monkeypatch.setattr(rounds, "_BATCHES", 2)
    for _ in range(9):
        await put_letter(connection, owner, await put_run(connection, owner, days=200), closed_days=None)
        await connection.execute("UPDATE keepstep.dead_letters SET record_key = id::text")
    await put_run(connection, owner, days=200)
    housekeeping = Janitor(pooled)
    while await housekeeping.round() < rounds.COUNT_EVERY:
        pass
    assert await column(connection, "SELECT count(*) FROM keepstep.runs") == [9]


async def test_runs_of_the_engine_are_counted_and_pruned_by_a_loop(sync: Sync, connection: Connection) -> None:
    await sync.run("owners")
    async with Loop("janitor", Janitor(sync.database, Keep(runs=timedelta(0))).round).running():
        deadline = asyncio.get_running_loop().time() + 30
        while await column(connection, "SELECT id FROM keepstep.runs"):
            assert asyncio.get_running_loop().time() < deadline, "the run stays"
            await asyncio.sleep(0.01)
    assert await column(connection, "SELECT value FROM keepstep.totals WHERE name = 'runs'") == [1.0]
    assert len(await sync.rows("owners")) == len(sync.upstream.ids("owners"))


async def test_a_database_that_is_away_is_an_error_for_the_loop_to_sit_out() -> None:
    with pytest.raises(StoreError):
        await Janitor(Database("postgresql://nobody@127.0.0.1:1/none")).round()


PLANS = {
    "prune_events": "events_to_prune",
    "prune_rate_samples": "rate_samples_newest",
    "prune_request_minutes": "request_minutes_old",
    "old_runs": "runs_pkey",
}


@pytest.mark.parametrize("name", PLANS)
async def test_housekeeping_finds_what_is_old_by_an_index(connection: Connection, name: str) -> None:
    from keepstep.store.queries import queries

    await connection.execute("SET enable_seqscan = off")
    query = b"EXPLAIN " + queries("janitor")[name]
    cursor = await connection.execute(query, {"older": 1.0, "limit": 10, "after": 0})
    plan = "\n".join([row["QUERY PLAN"] for row in await cursor.fetchall()])
    assert PLANS[name] in plan, plan
