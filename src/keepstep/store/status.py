"""How a connection stands: what the status and the health score are made of."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from keepstep.store.db import Connection
from keepstep.store.queries import queries

LAST_RUNS = 20
_STATUS = queries("status")


@dataclass(frozen=True, slots=True)
class Standing:
    """One connection as it is now. ``connection_id`` is None while it was never used."""

    connection_id: int | None
    now: datetime
    active: dict[str, Any] | None
    lock: dict[str, Any] | None
    entities: list[dict[str, Any]]
    ended: list[dict[str, Any]]
    counts: dict[str, Any]


async def standing(connection: Connection, integration: str, entities: Sequence[str]) -> Standing:
    """The shared connection of an integration, on one snapshot."""
    async with connection.transaction():
        await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
        found = await _one(connection, "connection", {"integration": integration})
        which = {"connection": found["id"] if found else None}
        return Standing(
            connection_id=which["connection"],
            now=found["now"] if found else await _now(connection),
            active=await _one(connection, "active_run", which),
            lock=await _one(connection, "lock", which),
            entities=await _all(connection, "entities", {**which, "entities": list(entities)}),
            ended=await _all(connection, "ended_runs", {**which, "limit": LAST_RUNS}),
            counts=await _one(connection, "counts", which) or {},
        )


async def _now(connection: Connection) -> datetime:
    row = await (await connection.execute("SELECT now() AS now")).fetchone()
    assert row is not None  # noqa: S101 - one row by construction
    now: datetime = row["now"]
    return now


async def _one(connection: Connection, name: str, parameters: dict[str, Any]) -> dict[str, Any] | None:
    return await (await connection.execute(_STATUS[name], parameters)).fetchone()


async def _all(connection: Connection, name: str, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    return await (await connection.execute(_STATUS[name], parameters)).fetchall()
