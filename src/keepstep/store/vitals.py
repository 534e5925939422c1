"""How the database is: what ``keepstep doctor`` asks it."""

from typing import Any

from keepstep.store.db import Connection
from keepstep.store.queries import queries

_QUERIES = queries("vitals")


async def server(connection: Connection) -> dict[str, Any]:
    """``version``, ``now``, ``bytes``, ``read_only``, ``may_create``."""
    row = await (await connection.execute(_QUERIES["server"])).fetchone()
    assert row is not None  # noqa: S101 - one row by construction
    return row


async def stuck_runs(connection: Connection) -> list[int]:
    """Runs whose process is gone."""
    return [int(row["id"]) for row in await (await connection.execute(_QUERIES["stuck"])).fetchall()]
