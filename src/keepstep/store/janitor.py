"""What housekeeping deletes, a batch at a time, so that nobody ever waits long for it."""

from collections.abc import Mapping
from typing import Any, Literal

from keepstep.store.db import Connection
from keepstep.store.queries import queries

_QUERIES = queries("janitor")
Kind = Literal[
    "events", "rate_samples", "request_minutes", "sessions", "login_failures", "ticks", "health_history",
    "alert_messages", "alerts", "admin_logs",
]  # fmt: skip


async def take_turn(connection: Connection, name: str, *, every: float) -> bool:
    """Whether it is this process that does a piece of work now; at most once in ``every`` seconds it is anybody."""
    cursor = await connection.execute(_QUERIES["take_turn"], {"name": name, "every": every})
    return await cursor.fetchone() is not None


async def prune(connection: Connection, kind: Kind, *, older: float, limit: int) -> int:
    """Delete up to ``limit`` rows of a kind that are older than so many seconds; gives how many."""
    cursor = await connection.execute(_QUERIES[f"prune_{kind}"], {"older": older, "limit": limit})
    return cursor.rowcount


async def prune_runs(connection: Connection, *, older: float, after: int, limit: int) -> tuple[int, int | None]:
    """Delete those of the next ``limit`` runs that ended more than ``older`` seconds ago, with all that is theirs.

    Gives how many, and the run to go on ``after``; None when no later one can be old. A run that has an open dead
    letter, held deletions or a checkpoint stays.
    """
    async with connection.transaction():
        walked = await _rows(connection, "old_runs", {"older": older, "after": after, "limit": limit})
        old = [int(row["id"]) for row in walked if row["old"]]
        if not old:
            return 0, None
        closed = {"runs": old, "older": older}
        await connection.execute(_QUERIES["prune_letters"], closed)
        await connection.execute(_QUERIES["prune_held"], closed)
        cursor = await connection.execute(_QUERIES["prune_runs"], {"runs": old})
        return cursor.rowcount, int(walked[-1]["id"]) if len(walked) == limit else None


async def _rows(connection: Connection, name: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
    return await (await connection.execute(_QUERIES[name], parameters)).fetchall()
