"""Pings as the database keeps them: one at a time however many ask, the last ones, and since when things are so."""

import asyncio
from datetime import timedelta

from keepstep.model.integration import Ping
from keepstep.store import pings
from keepstep.store.db import Connection, Database
from keepstep.store.runs import connection_id

EVERY = timedelta(minutes=5)


def ping(state: str = "ok", code: str = "") -> Ping:
    return Ping(state != "failing", state, f"It is {state}.", "https://x.test/api", True, 1, 7, code=code)


async def test_of_all_who_ask_one_is_told_that_a_ping_is_due(database: Database) -> None:
    async def ask() -> bool:
        async with database.connection() as connection:
            return await pings.take_turn(connection, "doorloop", every=EVERY)

    first, again = [await asyncio.gather(*(ask() for _ in range(6))) for _ in range(2)]

    assert (sum(first), sum(again)) == (1, 0)


async def test_the_next_one_is_due_when_its_time_has_come(connection: Connection) -> None:
    assert await pings.take_turn(connection, "doorloop", every=EVERY)
    await connection.execute("UPDATE keepstep.ticks SET at = at - interval '5 minutes'")

    assert await pings.take_turn(connection, "doorloop", every=EVERY)
    assert not await pings.take_turn(connection, "doorloop", every=EVERY)


async def test_the_last_ones_are_kept_newest_first(connection: Connection) -> None:
    ids = [await pings.put(connection, "doorloop", ping(), keep=3) for _ in range(5)]

    assert [row["id"] for row in await pings.newest(connection, "doorloop")] == ids[:1:-1]
    assert await pings.newest(connection, "another") == []


async def test_since_when_it_fails_and_how_often_in_a_row(connection: Connection) -> None:
    owner = await connection_id(connection, "doorloop")
    assert await pings.standing(connection, owner) is None
    assert await pings.standing(connection, None) is None

    for one in (ping(), ping(), ping("failing", "dns-failed"), ping("degraded", "upstream-slow"), ping("failing", "")):
        await pings.put(connection, "doorloop", one)
    rows = await pings.newest(connection, "doorloop")
    bad = await pings.standing(connection, owner)
    await pings.put(connection, "doorloop", ping())
    good = await pings.standing(connection, owner)

    assert bad is not None
    assert good is not None
    assert (bad.state, bad.code, bad.in_a_row, bad.since) == ("failing", "permanent", 3, rows[2]["at"])
    assert (good.state, good.code, good.in_a_row) == ("ok", None, 1)
    assert [row["code"] for row in rows] == ["permanent", "upstream-slow", "dns-failed", None, None]
