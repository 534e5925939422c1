"""Reading events as they are committed: each once, whatever the transactions that bring them do."""

import random
from typing import Any

import pytest
from tests.support.feed import new_run, put, writers

from keepstep.service.tail import AT_ONCE, Tail
from keepstep.store.db import Connection, Database
from keepstep.store.queries import queries

_MANY = b"""
INSERT INTO keepstep.events (connection_id, run_id, type, level, msg)
SELECT connection_id, id, 'page', 'info', 'one of many' FROM keepstep.runs, generate_series(1, %s) WHERE id = %s
"""


class Reader:
    """Reads with a tail of its own, and keeps what it got."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.tail = Tail()
        self.ids: list[int] = []

    async def read(self) -> list[int]:
        """What is new."""
        read = await self.tail.read(self.connection)
        for row, position in read:
            assert row["id"] in position
        new = [row["id"] for row, _ in read]
        self.ids += new
        return new

    @property
    def at(self) -> str:
        """Where it is."""
        return str(self.tail.position)


@pytest.fixture
async def reader(connection: Connection) -> Reader:
    reader = Reader(connection)
    await reader.tail.begin(connection)
    return reader


async def test_events_come_in_the_order_in_which_they_can_be_seen(database: Database, reader: Reader) -> None:
    async with writers(database, 2) as (slow, quick):
        early = await slow.begin("early")
        [late] = await quick.say("late")
        assert await reader.read() == [late]
        assert reader.at == f"{late}-{early}"
        assert await reader.read() == []
        assert reader.at == f"{late}-{early}"  # its transaction is still under way
        await slow.commit()
        assert await reader.read() == [early]
        assert reader.at == f"{late}"


async def test_an_id_that_was_rolled_back_is_forgotten(database: Database, reader: Reader) -> None:
    async with writers(database, 2) as (slow, quick):
        await slow.begin("never")
        await quick.say("late")
        await reader.read()
        await slow.roll_back()
        await reader.read()
        [next_one] = await quick.say("next")
        assert await reader.read() == [next_one]
        assert reader.at == f"{next_one}"


async def test_only_those_who_wrote_when_the_gap_was_seen_are_waited_for(database: Database, reader: Reader) -> None:
    async with writers(database, 3) as (never, later, quick):
        await never.begin("never")
        await quick.say("late")
        await reader.read()
        await reader.read()
        await later.begin("much later")
        await never.roll_back()
        [newest] = await quick.say("newest")
        await reader.read()
        assert reader.at == f"{newest}-{newest - 1}"
        await later.commit()
        assert await reader.read() == [newest - 1]


async def test_somebody_who_writes_elsewhere_for_hours_holds_up_nothing(database: Database, reader: Reader) -> None:
    async with writers(database, 2) as (slow, quick), database.connection() as idle:
        await idle.execute("BEGIN")
        await idle.execute("UPDATE keepstep.connections SET owner_id = owner_id")
        await idle.execute("SELECT count(*) FROM keepstep.events")
        await slow.begin("never", notify=False)
        [late] = await quick.say("late")
        await reader.read()
        await slow.roll_back()
        await reader.read()
        assert reader.at == f"{late}"


async def test_an_id_that_was_taken_before_its_transaction_had_a_number_is_not_lost(
    database: Database, reader: Reader
) -> None:
    """An INSERT locks the table, then takes the id, then gets a transaction id: it may be held up between any two."""
    async with writers(database, 1) as [quick], database.connection() as late:
        await quick.say("first")  # so that taking the next id writes nothing, and needs no transaction id
        await reader.read()
        await late.execute("BEGIN")
        await late.execute("LOCK TABLE keepstep.events IN ROW EXCLUSIVE MODE")
        cursor = await late.execute(
            "SELECT nextval('keepstep.events_id_seq') AS id, pg_current_xact_id_if_assigned() AS x"
        )
        row = await cursor.fetchone()
        assert row is not None and row["x"] is None
        await quick.say("second")
        for _ in range(3):
            await reader.read()
        await late.execute(
            """INSERT INTO keepstep.events (id, connection_id, run_id, type, level, msg) OVERRIDING SYSTEM VALUE
               SELECT %s, connection_id, id, 'page', 'info', 'held up' FROM keepstep.runs WHERE id = %s""",
            [row["id"], quick.run],
        )
        await late.execute("COMMIT")
        assert await reader.read() == [row["id"]]
        assert reader.ids == [row["id"] - 1, row["id"] + 1, row["id"]]


@pytest.mark.parametrize("seed", range(4))
async def test_whatever_transactions_do_every_event_is_read_once_by_everyone(database: Database, seed: int) -> None:
    chance = random.Random(seed)
    committed: set[int] = set()
    async with writers(database, 6) as several:
        readers: list[Reader] = []
        before: dict[Reader, set[int]] = {}
        open_ids: dict[Any, list[int]] = {writer: [] for writer in several}
        connections = [await database.open() for _ in range(3)]
        try:
            for step in range(200):
                if step % 60 == 10:
                    reader = Reader(connections[len(readers) % 3])
                    await reader.tail.begin(reader.connection)
                    readers.append(reader)
                    before[reader] = set(committed)
                writer = chance.choice(several)
                if not open_ids[writer]:
                    open_ids[writer] = [await writer.begin("one")]
                    while chance.random() < 0.4:
                        open_ids[writer].append(await put(writer._connection, writer.run, "more"))
                elif chance.random() < 0.7:
                    await writer.commit()
                    committed.update(open_ids[writer])
                    open_ids[writer] = []
                else:
                    await writer.roll_back()
                    open_ids[writer] = []
                if readers and chance.random() < 0.5:
                    await chance.choice(readers).read()
            for writer in several:
                if open_ids[writer]:
                    await writer.commit()
                    committed.update(open_ids[writer])
            for reader in readers:
                for _ in range(3):
                    await reader.read()
                assert len(reader.ids) == len(set(reader.ids))
                assert set(reader.ids) == committed - before[reader]
                assert reader.tail.position.gaps == ()
        finally:
            for connection in connections:
                await connection.close()


async def test_a_tail_begins_with_what_is_under_way(database: Database, connection: Connection) -> None:
    async with writers(database, 2) as (slow, quick):
        early = await slow.begin("early")
        await quick.say("late")
        reader = Reader(connection)
        assert await reader.tail.begin(connection)
        assert reader.at == f"{early + 1}-{early}"
        await slow.commit()
        assert await reader.read() == [early]


async def test_a_tail_goes_on_over_another_connection(database: Database, reader: Reader) -> None:
    async with writers(database, 2) as (slow, quick), database.connection() as other:
        early = await slow.begin("early")
        [late] = await quick.say("late")
        await reader.read()
        await slow.commit()
        reader.connection = other
        assert not await reader.tail.begin(other)
        assert await reader.read() == [early]
        assert reader.ids == [late, early]


async def test_a_tail_begins_again_where_the_database_has_lost_what_was_read(
    database: Database, reader: Reader
) -> None:
    async with writers(database, 1) as [writer], database.connection() as other:
        ids = await writer.say("kept", "lost", "lost too")
        await reader.read()
        await other.execute("DELETE FROM keepstep.events WHERE id > %s", [ids[0]])
        await other.execute("SELECT setval('keepstep.events_id_seq', %s)", [ids[0]])
        assert await reader.tail.begin(other)
        assert reader.at == str(ids[0])
        reader.connection = other
        assert await reader.read() == []
        assert await writer.say("again") == [ids[1]]
        assert await reader.read() == [ids[1]]


async def test_more_events_than_one_reading_takes_come_in_several(connection: Connection, reader: Reader) -> None:
    run = await new_run(connection)
    await connection.execute(_MANY, [AT_ONCE + 5, run])
    assert [len(await reader.read()) for _ in range(3)] == [AT_ONCE, 5, 0]
    assert reader.ids == list(range(reader.ids[0], reader.ids[0] + AT_ONCE + 5))


async def test_the_question_for_news_reads_no_more_than_it_finds(connection: Connection) -> None:
    run = await new_run(connection)
    await connection.execute(_MANY, [20_000, run])
    await connection.execute("ANALYZE keepstep.events")
    cursor = await connection.execute(
        b"EXPLAIN (ANALYZE, FORMAT JSON) " + queries("feed")["news"],
        {"high": 19_990, "firsts": [19_000, 19_500], "lasts": [19_000, 19_501], "limit": 1000},
    )
    row = await cursor.fetchone()
    assert row is not None
    [plan] = row["QUERY PLAN"]
    scans = [node for node in nodes(plan["Plan"]) if node.get("Relation Name") == "events"]
    assert [(scan["Node Type"], scan["Index Name"]) for scan in scans] == [("Index Scan", "events_pkey")] * 2


def nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    """A plan and all that it is made of."""
    return [plan, *(one for part in plan.get("Plans", ()) for one in nodes(part))]
