"""Sync types: intervals that many schedules share (``migrations/0011``)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from keepstep.store.db import Connection
from keepstep.store.queries import queries

_SQL = queries("sync_types")


@dataclass(frozen=True, slots=True)
class SyncType:
    """A type as it is set. ``per_agent``: each agent has a schedule of it, else there is one that all share.

    ``next_run``: of the first of its schedules; None while nothing is to come.
    """

    name: str
    interval_minutes: int
    enabled: bool
    updated_at: datetime
    updated_by: str
    saved: bool
    per_agent: bool
    next_run: datetime | None


async def select(connection: Connection) -> list[SyncType]:
    """All types, those with the shortest default first."""
    rows = await (await connection.execute(_SQL["all"])).fetchall()
    return [
        SyncType(
            row["sync_type"], row["interval_minutes"], row["enabled"], row["updated_at"].astimezone(UTC),
            row["updated_by"], row["saved"], row["per_agent"],
            row["next_run"] and row["next_run"].astimezone(UTC),
        )
        for row in rows
    ]  # fmt: skip


async def lock(connection: Connection, name: str) -> dict[str, Any] | None:
    """The interval and whether it is enabled, held until the caller's transaction ends; None for an unknown type."""
    return await (await connection.execute(_SQL["lock"], {"type": name})).fetchone()


async def change(connection: Connection, name: str, *, minutes: int | None, enabled: bool | None, by: str) -> None:
    """Set what is given. The database moves the times of this type's schedules only."""
    await connection.execute(_SQL["change"], {"type": name, "minutes": minutes, "enabled": enabled, "by": by})


async def set_default(connection: Connection, name: str, minutes: int, *, by: str) -> None:
    """The interval where nobody chose one."""
    await connection.execute(_SQL["default"], {"type": name, "minutes": minutes, "by": by})


async def plan(connection: Connection, name: str, connection_id: int, entities: Sequence[str]) -> None:
    """A schedule of this type for a connection, unless it has one."""
    await connection.execute(_SQL["plan"], {"type": name, "connection": connection_id, "entities": list(entities)})
