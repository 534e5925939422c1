"""Events in the order in which they can be seen, and the word that there are new ones."""

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import psycopg

from keepstep.model.schedule import EVERYTHING, Scope
from keepstep.store.db import Connection, Database, explain
from keepstep.store.notices import listening
from keepstep.store.queries import queries

_FEED = queries("feed")
_DEPTH = 20_000
"""How many ids back an event that is not committed yet is looked for when reading begins."""
Gap = tuple[int, int]


class Reading:
    """A session that reads events, made when it is first used and again after it broke."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._connection: Connection | None = None

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """The session. A database error inside the block ends it and comes out as ``StoreError``."""
        if self._connection is None:
            self._connection = await self._database.open(name="keepstep feed")
            self._connection.prepare_threshold = None  # it may come through a transaction pooler
        try:
            yield self._connection
        except psycopg.Error as error:
            await self.aclose()
            raise explain(error) from error

    async def aclose(self) -> None:
        """End the session, if there is one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()


async def told(database: Database) -> AsyncGenerator[None, None]:
    """Yields once it listens, and then whenever a transaction that announced events has committed.

    Needs a session: through a transaction pooler nothing is ever heard. Raises ``StoreError``.
    """
    async with listening(database, "keepstep", name="keepstep feed listener") as notices:
        yield
        async for _ in notices:
            yield


async def newest(connection: Connection) -> tuple[int, tuple[Gap, ...]]:
    """The highest id that can be seen (0: there is none), and which ids shortly before it cannot."""
    row = await (await connection.execute(_FEED["newest"], {"depth": _DEPTH})).fetchone()
    assert row is not None  # noqa: S101 - one row by construction
    return int(row["high"]), tuple(zip(row["firsts"], row["lasts"], strict=True))


async def writers(connection: Connection) -> frozenset[str]:
    """The transactions that may hold ids of events which are not committed."""
    cursor = await connection.execute(_FEED["writers"])
    return frozenset(row["writer"] for row in await cursor.fetchall())


async def news(connection: Connection, *, high: int, gaps: Sequence[Gap], limit: int) -> list[dict[str, Any]]:
    """Events above ``high`` and in ``gaps``, by id."""
    cursor = await connection.execute(_FEED["news"], {"high": high, **_bounds(gaps), "limit": limit})
    return await cursor.fetchall()


async def missed(
    connection: Connection, *, seen_high: int, seen_gaps: Sequence[Gap], high: int, gaps: Sequence[Gap], after: int,
    run: int | None, entity: str | None, levels: Sequence[str], limit: int, scope: Scope = EVERYTHING,
) -> list[dict[str, Any]]:  # fmt: skip
    """Events up to ``high`` that one has not seen, by id, from ``after`` on; none that lie in ``gaps``."""
    cursor = await connection.execute(
        _FEED["missed"],
        {"seen_high": seen_high, **_bounds(seen_gaps, "seen_"), "high": high, **_bounds(gaps), "after": after,
         "run": run, "entity": entity, "levels": list(levels), "limit": limit, "everything": scope.everything,
         "shared": scope.shared, "owner": scope.owner},
    )  # fmt: skip
    return await cursor.fetchall()


def _bounds(gaps: Sequence[Gap], prefix: str = "") -> dict[str, list[int]]:
    return {f"{prefix}firsts": [first for first, _ in gaps], f"{prefix}lasts": [last for _, last in gaps]}
