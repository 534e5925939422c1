"""How upstream answered when it was pinged."""

from typing import Any

from keepstep.store.db import Connection
from keepstep.store.limits import number_of
from keepstep.store.queries import queries

_QUERIES = queries("pings")


async def put(connection: Connection, integration: str, *, state: str, code: str, reason: str, elapsed_ms: int) -> None:
    """Keep one answer."""
    await connection.execute(
        _QUERIES["put"],
        {"connection": await number_of(connection, integration), "state": state, "code": code, "reason": reason,
         "elapsed_ms": elapsed_ms},
    )  # fmt: skip


async def due(connection: Connection, integration: str, *, every: float) -> bool:
    """Whether upstream was not heard of for so many seconds, and may be asked: the breaker is closed."""
    cursor = await connection.execute(_QUERIES["due"], {"integration": integration, "every": every})
    row = await cursor.fetchone()
    return bool(row and row["due"])


async def newest(connection: Connection, integration: str, *, limit: int) -> list[dict[str, Any]]:
    """The last answers, newest first."""
    return await (await connection.execute(_QUERIES["newest"], {"integration": integration, "limit": limit})).fetchall()
