"""How well connections were, hour by hour."""

from collections.abc import Sequence
from typing import Any

from psycopg.types.json import Jsonb

from keepstep.store.db import Connection
from keepstep.store.queries import queries

_QUERIES = queries("health")


async def put(connection: Connection, integration: str, score: int, deductions: Sequence[dict[str, Any]]) -> None:
    """Keep the score of this hour, if it is not kept yet."""
    await connection.execute(
        _QUERIES["put"], {"integration": integration, "score": score, "deductions": Jsonb(list(deductions))}
    )


async def since(connection: Connection, integration: str, *, hours: int) -> list[dict[str, Any]]:
    """The scores of the last hours, oldest first."""
    return await (await connection.execute(_QUERIES["since"], {"integration": integration, "hours": hours})).fetchall()
