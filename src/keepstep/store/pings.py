"""Pings: how upstream answered when it was asked whether it is there."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from keepstep.model.integration import Ping
from keepstep.store import janitor
from keepstep.store.db import Connection
from keepstep.store.queries import queries
from keepstep.store.runs import connection_id

KEPT = 500
"""So many pings of a connection are kept."""
_SQL = queries("pings")


@dataclass(frozen=True, slots=True)
class PingStanding:
    """The newest ping. ``since``: since when all pings have been well, or not; ``in_a_row``: how many those are."""

    id: int
    at: datetime
    state: str
    code: str | None
    reason: str
    fix: str
    elapsed_ms: int
    since: datetime
    in_a_row: int


async def take_turn(connection: Connection, integration: str, *, every: timedelta) -> bool:
    """Whether a ping of an integration is due: of all processes that ask, one is told so."""
    return await janitor.take_turn(connection, f"ping: {integration}", every=every.total_seconds())


async def put(connection: Connection, integration: str, ping: Ping, *, keep: int = KEPT) -> int:
    """Keep a ping of a shared connection; gives its id."""
    owner = await connection_id(connection, integration)
    code = None if ping.state == "ok" else ping.code or "permanent"
    cursor = await connection.execute(
        _SQL["put"],
        {"connection": owner, "state": ping.state, "code": code, "reason": ping.reason, "fix": ping.fix,
         "elapsed_ms": ping.elapsed_ms, "keep": keep},
    )  # fmt: skip
    row = await cursor.fetchone()
    assert row is not None  # noqa: S101 - one row by construction
    return int(row["id"])


async def newest(
    connection: Connection, integration: str, *, owner: str | None = None, limit: int = KEPT
) -> list[dict[str, Any]]:
    """The last pings of a connection, newest first."""
    cursor = await connection.execute(_SQL["newest"], {"integration": integration, "owner": owner, "limit": limit})
    return await cursor.fetchall()


async def standing(connection: Connection, connection_id: int | None) -> PingStanding | None:
    """How a connection's pings stand; None when there never was one."""
    row = await (await connection.execute(_SQL["standing"], {"connection": connection_id})).fetchone()
    return None if row is None else PingStanding(**row)
