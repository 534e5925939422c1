"""What the database tells of its own accord: LISTEN."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg
from psycopg import sql

from keepstep.store.db import Database, explain


@asynccontextmanager
async def listening(database: Database, channel: str, *, name: str) -> AsyncIterator[AsyncIterator[str]]:
    """The payloads of a channel from now on, on a session of its own. Nothing that came before is in them.

    Raises ``StoreError`` when there is no way in, and from the iterator when the session breaks. Behind a transaction
    pooler nothing ever comes: whoever listens must also look now and then.
    """
    connection = await database.open(name=name)
    try:
        await connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(channel)))
        yield _payloads(connection)
    except psycopg.Error as error:
        raise explain(error) from error
    finally:
        await connection.close()


async def _payloads(connection: psycopg.AsyncConnection[object]) -> AsyncIterator[str]:
    async for notice in connection.notifies():
        yield notice.payload
