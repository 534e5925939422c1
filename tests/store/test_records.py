"""The destination table: its probe keeps order and index at any size, and its writes count exactly."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from random import Random

import pytest
from psycopg import sql

from keepstep.model.integration import Entity, Field, Kind
from keepstep.store.arrays import TextArray, bytea_array, text_array
from keepstep.store.db import Connection
from keepstep.store.records import Destination, Hits
from keepstep.store.session import prepare

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ENTITY = Entity("things", (Field("name", Kind.TEXT), Field("size", Kind.NUMERIC)))
THINGS = Destination("testing", ENTITY)


def rows(numbers: Sequence[int], *, version: int = 0) -> list[bytes]:
    """Mapped rows of some numbers; another version has another content and another hash."""
    return [b'"k%07d","name %d",%d,{},\\x%s' % (n, version, n, hash_of(n, version).hex().encode()) for n in numbers]


def hash_of(number: int, version: int = 0) -> bytes:
    """What ``_hash`` is."""
    return b"tag." + number.to_bytes(8, "big") + version.to_bytes(8, "big")


async def probe(connection: Connection, numbers: Sequence[int], version: int = 0) -> Hits:
    """Probe for some numbers."""
    return await THINGS.probe(connection, keys(numbers), bytea_array([hash_of(n, version) for n in numbers]))


def keys(numbers: Sequence[int]) -> TextArray:
    """The keys of some numbers."""
    return text_array([f"k{n:07d}" for n in numbers])


async def scans(connection: Connection) -> tuple[int, int]:
    """Sequential and index scans of the table so far, as this session has told them."""
    await connection.execute("SELECT pg_stat_force_next_flush()")
    cursor = await connection.execute(
        "SELECT seq_scan, idx_scan FROM pg_stat_user_tables WHERE relid = 'testing.things'::regclass"
    )
    row = await cursor.fetchone()
    assert row is not None
    return row["seq_scan"], row["idx_scan"]


@pytest.fixture
async def things(connection: Connection) -> Connection:
    """A connection with a run's settings on an empty table."""
    await prepare(connection)
    await THINGS.create(connection)
    return connection


async def load(connection: Connection, count: int) -> None:
    """Fill the table."""
    await THINGS.insert(connection, rows(range(count)), run_id=1)


async def test_a_session_that_first_probed_an_empty_table_keeps_to_the_index_at_100000_rows(things: Connection) -> None:
    for _ in range(8):  # psycopg prepares a statement after five times
        assert len((await probe(things, range(1000))).new) == 1000
    await load(things, 100_000)
    await THINGS.probe_plan(things, keys([1]), bytea_array([b""]))
    sequential, indexed = await scans(things)
    wanted = Random(1).sample(range(100_000), 1000)
    for _ in range(8):
        assert await probe(things, wanted) == Hits([], [])
    plan = await THINGS.probe_plan(things, keys(wanted), bytea_array([hash_of(n) for n in wanted]))
    assert "Seq Scan" not in plan
    assert "Index Scan using things_pkey" in plan
    after = await scans(things)
    assert after[0] == sequential
    assert after[1] >= indexed + 8 * 1000


@pytest.mark.parametrize("analysed", [False, True])
async def test_a_huge_batch_does_not_turn_the_plan_to_a_scan(things: Connection, analysed: bool) -> None:
    await load(things, 20_000)
    if analysed:
        await things.execute("ANALYZE testing.things")
    everything = range(30_000)
    plan = await THINGS.probe_plan(things, keys(everything), bytea_array([hash_of(n) for n in everything]))
    assert "Seq Scan on things" not in plan
    assert len((await probe(things, everything)).new) == 10_000


@pytest.mark.parametrize("joins", ["as a run wants", "hashjoin", "mergejoin", "nestloop"])
async def test_hits_come_in_the_order_of_the_flush_however_the_join_goes(connection: Connection, joins: str) -> None:
    if joins == "as a run wants":
        await prepare(connection)
    else:
        for other in {"hashjoin", "mergejoin", "nestloop"} - {joins}:
            await connection.execute(f"SET enable_{other} = off".encode())
    await THINGS.create(connection)
    await load(connection, 20_000)
    await connection.execute("ANALYZE testing.things")
    wanted = list(range(25_000))
    Random(2).shuffle(wanted)
    changed = set(Random(3).sample(wanted, 2000))
    hashes = [hash_of(n, 1 if n in changed else 0) for n in wanted]
    hits = await THINGS.probe(connection, keys(wanted), bytea_array(hashes))
    new = [place for place, n in enumerate(wanted) if n >= 20_000]
    assert hits == Hits(new, [place for place, n in enumerate(wanted) if n in changed and n < 20_000])


async def test_inserted_and_updated_rows_are_counted_exactly(things: Connection) -> None:
    assert await THINGS.insert(things, rows(range(250)), run_id=1) == 250
    async with things.transaction():
        await THINGS.create_stage(things)
        same, other, unknown = rows(range(50)), rows(range(50, 80), version=1), rows(range(900, 905))
        staged = await THINGS.fill_stage(things, [*same, *other, *unknown])
        assert staged == 85
        assert await THINGS.update_from_stage(things, staged, now=NOW, run_id=2) == 30
    cursor = await things.execute("SELECT count(*) AS n FROM testing.things WHERE _run_id = 2 AND name = 'name 1'")
    assert await cursor.fetchone() == {"n": 30}
    assert await THINGS.insert(things, [], run_id=1) == 0


async def test_the_stage_is_empty_after_every_transaction(things: Connection) -> None:
    await THINGS.create_stage(things)
    for _ in range(2):
        async with things.transaction():
            await THINGS.fill_stage(things, rows(range(10)))
            cursor = await things.execute("SELECT count(*) AS n FROM pg_temp.stage_things")
            assert await cursor.fetchone() == {"n": 10}


async def test_a_table_gets_the_columns_it_lacks_and_loses_none(things: Connection) -> None:
    await load(things, 3)
    await things.execute("ALTER TABLE testing.things ADD COLUMN mine text DEFAULT 'kept'")
    grown = Destination("testing", replace(ENTITY, fields=(*ENTITY.fields, Field("dueDate", Kind.DATE))))
    assert await grown.missing_columns(things) == ["due_date"]
    await grown.create(things)
    await grown.create(things)
    assert await grown.missing_columns(things) == []
    cursor = await things.execute("SELECT DISTINCT mine, due_date FROM testing.things")
    assert await cursor.fetchall() == [{"mine": "kept", "due_date": None}]


async def test_a_deleted_row_is_a_hit_even_if_its_content_is_the_same(things: Connection) -> None:
    await load(things, 5)
    await things.execute("UPDATE testing.things SET _deleted_at = now() WHERE id = 'k0000003'")
    assert await probe(things, range(5)) == Hits([], [3])


async def test_the_state_of_a_table_moves_with_every_kind_of_write(things: Connection) -> None:
    states = [await THINGS.state(things)]
    await load(things, 5)
    states.append(await THINGS.state(things))
    await THINGS.insert(things, rows([100]), run_id=1)
    states.append(await THINGS.state(things))
    later = NOW.replace(year=2027)
    async with things.transaction():
        await THINGS.create_stage(things)
        staged = await THINGS.fill_stage(things, rows([3], version=2))
        await THINGS.update_from_stage(things, staged, now=later, run_id=2)
    states.append(await THINGS.state(things))
    await THINGS.delete_keys(things, sql.SQL("SELECT 'k0000001' AS key"), now=later, run_id=2)
    states.append(await THINGS.state(things))
    assert len(set(states)) == len(states)
