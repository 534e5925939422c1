"""What stands between us and the database: nothing, a pooler that leaves sessions whole, or one that shares them out.

A transaction pooler gives each transaction any server session that is free. What belongs to a session is lost there, or
worse, found by somebody else: settings, LISTEN, temporary tables, prepared statements.
"""

import asyncio
from collections.abc import Awaitable, Callable
from enum import StrEnum

from psycopg import AsyncConnection
from psycopg.rows import DictRow

_ROUNDS = 3
_PATIENCE = 3.0
"""Seconds to wait for a second session: a pooler that leaves sessions whole may have none to give."""
Connect = Callable[[], Awaitable[AsyncConnection[DictRow]]]


class Way(StrEnum):
    """The way to the database, by what becomes of a session on it."""

    DIRECT = "direct"
    SESSION = "session"
    TRANSACTION = "transaction"


async def way_of(connection: AsyncConnection[DictRow], connect: Connect) -> Way:
    """Which one a connection took; ``connect`` makes another one like it.

    A server tells its process number as it greets and when it is asked. A pooler greets in its own name; and it shares
    sessions out when two connections that are both open meet the same server process, or one meets two.
    """
    mine = await _process(connection)
    if mine == connection.info.backend_pid:
        return Way.DIRECT
    try:
        for _ in range(_ROUNDS):
            if await _shares(connection, mine, connect):
                return Way.TRANSACTION
    except TimeoutError:
        pass  # at least the session of the first one, which does nothing, would have been there to share
    return Way.SESSION


async def _shares(connection: AsyncConnection[DictRow], mine: int, connect: Connect) -> bool:
    other = await connect()
    try:
        async with asyncio.timeout(_PATIENCE), other.transaction():
            return await _process(other) == mine or await _process(connection) != mine
    finally:
        await other.close()


async def _process(connection: AsyncConnection[DictRow]) -> int:
    cursor = await connection.execute("SELECT pg_backend_pid() AS pid", prepare=False)
    row = await cursor.fetchone()
    assert row is not None  # noqa: S101 - one row by construction
    return int(row["pid"])
