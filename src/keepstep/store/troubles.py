"""What is wrong with a connection, as far as the database knows."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from keepstep.store.db import Connection
from keepstep.store.pings import PingStanding, standing
from keepstep.store.queries import queries

LATELY = timedelta(days=7)
"""So long a field without a column is news."""
_SQL = queries("troubles")


@dataclass(frozen=True, slots=True)
class Marks:
    """What speaks against a connection; each row has its ``since``."""

    held: list[dict[str, Any]]
    letters: int
    letters_since: Any
    unproven: list[dict[str, Any]]
    orphans: list[dict[str, Any]]
    drift: list[dict[str, Any]]
    groups: list[dict[str, Any]]
    stale: list[dict[str, Any]]
    undelivered: list[dict[str, Any]]
    ping: PingStanding | None


async def marks(connection: Connection, connection_id: int | None) -> Marks:
    """All of it, of one connection."""
    which = {"connection": connection_id, "lately": LATELY.total_seconds()}

    async def rows(name: str) -> list[dict[str, Any]]:
        return await (await connection.execute(_SQL[name], which)).fetchall()

    [letters] = await rows("letters")
    return Marks(
        held=await rows("held"),
        letters=letters["letters"],
        letters_since=letters["since"],
        unproven=await rows("unproven"),
        orphans=await rows("orphans"),
        drift=await rows("drift"),
        groups=await rows("since"),
        stale=await rows("stale"),
        undelivered=await undelivered(connection),
        ping=await standing(connection, connection_id),
    )


async def undelivered(connection: Connection) -> list[dict[str, Any]]:
    """Ways of alerts whose last message did not arrive: ``answer``, ``since``."""
    return await (await connection.execute(_SQL["undelivered"])).fetchall()
