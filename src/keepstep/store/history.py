"""What happened in a run, looked at backwards."""

from collections.abc import Sequence
from typing import Any

from keepstep.store.db import Connection
from keepstep.store.queries import queries

_HISTORY = queries("history")


async def events_before(connection: Connection, run_id: int, *, before: int | None, limit: int) -> list[dict[str, Any]]:
    """The newest events of a run, in order. ``before``: only those with a smaller id."""
    cursor = await connection.execute(_HISTORY["events_before"], {"run": run_id, "before": before, "limit": limit})
    return (await cursor.fetchall())[::-1]


async def newest_events(
    connection: Connection, *, run: int | None, entity: str | None, levels: Sequence[str], before: int | None,
    limit: int, only: Sequence[int] | None = None,
) -> list[dict[str, Any]]:  # fmt: skip
    """Events of all runs, newest first. ``before``: only those with a smaller id; ``only``: of these connections."""
    cursor = await connection.execute(
        _HISTORY["newest_events"],
        {"run": run, "entity": entity, "levels": list(levels), "before": before, "limit": limit, "only": only},
    )
    return await cursor.fetchall()
