"""Auto-sync of owners: each one's own connection with its own schedule."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from keepstep.store.db import Connection
from keepstep.store.queries import queries

_SQL = queries("auto_sync")
_INSTANTS = ("anchor_at", "due_at", "last_sync_at", "now")


@dataclass(frozen=True, slots=True)
class OwnerSync:
    """An owner's connection and, once they have set it up, its schedule (``schedule_id``; None before).

    ``due_at`` is None while nothing is to come. ``reason``: why it is paused or refused.
    """

    connection_id: int
    schedule_id: int | None
    enabled: bool
    interval_seconds: int | None
    entities: tuple[str, ...]
    anchor_at: datetime | None
    due_at: datetime | None
    workspace: str | None
    state: str
    reason: str | None
    paused_by: str | None
    last_sync_at: datetime | None
    now: datetime


async def select(connection: Connection, integration: str, owner: str) -> OwnerSync | None:
    """What an owner has set up; None when they have no connection and no schedule."""
    row = await _one(connection, "select", integration=integration, owner=owner)
    if row is None:
        return None
    instants = {name: row[name] and row[name].astimezone(UTC) for name in _INSTANTS}
    return OwnerSync(
        connection_id=row["connection_id"], schedule_id=row["id"], enabled=row["enabled"],
        interval_seconds=row["interval_seconds"], entities=tuple(row["entities"] or ()),
        workspace=row["workspace"], state=row["state"], reason=row["reason"], paused_by=row["paused_by"], **instants,
    )  # fmt: skip


async def hold(connection: Connection, integration: str, owner: str, workspace: str | None) -> int:
    """The id of an owner's connection, made where there is none; others wait until the caller's transaction ends."""
    row = await _one(connection, "connection", integration=integration, owner=owner, workspace=workspace)
    assert row is not None  # noqa: S101 - an upsert returns a row
    return int(row["id"])


async def put(
    connection: Connection, connection_id: int, schedule_id: int | None, *, enabled: bool, seconds: int,
    entities: Sequence[str], by: str,
) -> None:  # fmt: skip
    """Make the schedule so. The database moves its times, and leaves them where nothing changes."""
    values = {"enabled": enabled, "seconds": seconds, "entities": list(entities), "by": by}
    if schedule_id is None:
        await connection.execute(_SQL["add"], {"connection": connection_id, **values})
    else:
        await connection.execute(_SQL["change"], {"schedule": schedule_id, **values})


async def go_on(connection: Connection, schedule_id: int) -> None:
    """What was turned on again waits for its next slot, where its last sync is no older than one interval."""
    await connection.execute(_SQL["go_on"], {"schedule": schedule_id})


async def rest(connection: Connection, schedule_id: int) -> None:
    """Let nothing of a schedule be due, although it is enabled."""
    await connection.execute(_SQL["rest"], {"schedule": schedule_id})


async def settle(connection: Connection, integration: str, entities: Sequence[str] | None) -> None:
    """Let the schedules of an integration read these entities; None: it is not there, and nothing of it is due."""
    if entities is None:
        await connection.execute(_SQL["rest_all"], {"integration": integration})
        return
    await connection.execute(_SQL["settle"], {"integration": integration, "entities": list(entities)})
    await connection.execute(_SQL["awaken_all"], {"integration": integration})


async def owners_in(connection: Connection, integration: str, workspace: str) -> list[str]:
    """Up to three owners that a workspace stands for."""
    cursor = await connection.execute(_SQL["owners_in"], {"integration": integration, "workspace": workspace})
    return [str(row["owner_id"]) for row in await cursor.fetchall()]


async def is_owner(connection: Connection, owner: str) -> bool:
    """Whether this is somebody: a user, or who has a connection."""
    row = await _one(connection, "is_owner", owner=owner)
    return row is not None and bool(row["found"])


async def _one(connection: Connection, query: str, **parameters: Any) -> dict[str, Any] | None:
    return await (await connection.execute(_SQL[query], parameters)).fetchone()
