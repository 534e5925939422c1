"""What the database tells of its own accord: LISTEN."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager

import psycopg
from psycopg import sql

from keepstep.store.db import Connection, Database, explain
from keepstep.store.pooler import Way

_CHECK_EVERY = 60.0
"""Seconds of silence after which the session is asked whether it is still there."""


@asynccontextmanager
async def listening(database: Database, *channels: str, name: str) -> AsyncIterator[AsyncIterator[str]]:
    """The payloads of some channels from now on, on a session of its own. Nothing that came before is in them.

    Raises ``StoreError`` when there is no way in, and from the iterator when the session breaks. Behind a transaction
    pooler nothing ever comes, and nothing is asked, because the pooler's next client would be told in our place:
    whoever listens must also look now and then.
    """
    if await database.way() is Way.TRANSACTION:
        yield _silence()
        return
    connection = await database.open(name=name)
    try:
        for channel in channels:
            await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
        yield _payloads(connection)
    except psycopg.Error as error:
        raise explain(error) from error
    finally:
        await connection.close()


async def _silence() -> AsyncGenerator[str, None]:
    await asyncio.Event().wait()
    yield ""


async def _payloads(connection: Connection) -> AsyncGenerator[str, None]:
    """Wakes up only when something comes: psycopg's own generator looks ten times a second, on each session."""
    heard: deque[str] = deque()
    connection.add_notify_handler(lambda notice: heard.append(notice.payload))
    while True:
        connection.pgconn.consume_input()
        while (notice := connection.pgconn.notifies()) is not None:
            heard.append(notice.extra.decode())
        while heard:
            yield heard.popleft()
        if not await _readable(connection.fileno()):
            await connection.execute("SELECT 1")


async def _readable(descriptor: int) -> bool:
    """Wait until something can be read, but not for ever; whether there is something."""
    loop = asyncio.get_running_loop()
    arrived = asyncio.Event()
    loop.add_reader(descriptor, arrived.set)
    try:
        async with asyncio.timeout(_CHECK_EVERY):
            await arrived.wait()
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(descriptor)
    return True
