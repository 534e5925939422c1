"""Schedules, and what a dispatch does with those that are due (the functions of ``migrations/0004``, ``0006``)."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any

from keepstep.model.schedule import Schedule
from keepstep.store import runs
from keepstep.store.db import Connection
from keepstep.store.queries import queries

BATCH = 1000
MOST_LISTED = 1000
_SCHEDULES = queries("schedules")
_INSTANTS = ("anchor_at", "due_at", "delta_at", "full_at")


@dataclass(frozen=True, slots=True)
class Dispatched:
    """What one batch did: the runs it queued and the schedules it skipped because their connection has a live run.

    ``more``: others may be due already. ``seconds``: until the first later one is, None when there is none.
    """

    started: Sequence[int]
    skipped: Sequence[int]
    more: bool
    seconds: float | None


async def dispatch_due(connection: Connection, *, batch: int = BATCH) -> Dispatched:
    """Queue the runs of up to ``batch`` due schedules, in one transaction. Anybody may call it at any time."""
    row = await (await connection.execute(_SCHEDULES["dispatch"], {"batch": batch})).fetchone()
    assert row is not None  # noqa: S101 - a function of one row
    return Dispatched(**row)


async def wake_waiting(connection: Connection, *, batch: int = BATCH) -> Dispatched:
    """Queue up to ``batch`` runs whose wait is over."""
    row = await (await connection.execute(_SCHEDULES["wake"], {"batch": batch})).fetchone()
    assert row is not None  # noqa: S101 - a function of one row
    return Dispatched(started=row["woken"], skipped=(), more=row["more"], seconds=row["seconds"])


@dataclass(frozen=True, slots=True)
class Kept:
    """A schedule, who changed it last, what of it the environment sets, and the type that says its interval."""

    schedule: Schedule
    updated_at: datetime
    updated_by: str
    env_locked: Sequence[str]
    sync_type: str | None = None


async def select(connection: Connection, *, integration: str | None = None, limit: int = MOST_LISTED) -> list[Kept]:
    """All schedules, or the shared one of an integration."""
    cursor = await connection.execute(_SCHEDULES["select"], {"integration": integration, "limit": limit})
    return [_kept(row) for row in await cursor.fetchall()]


async def of_types(connection: Connection, integration: str) -> list[Kept]:
    """The schedules of the types that all share, of an integration that has no other ones."""
    cursor = await connection.execute(_SCHEDULES["of_types"], {"integration": integration})
    return [_kept(row) for row in await cursor.fetchall()]


async def lock(connection: Connection, integration: str) -> None:
    """Keep others from editing the shared schedule of an integration until the caller's transaction ends."""
    await connection.execute(_SCHEDULES["lock"], {"integration": integration})


@dataclass(frozen=True, slots=True)
class Plan:
    """What can be said of a schedule."""

    enabled: bool
    interval_seconds: int
    full_at_hour_utc: int | None
    entities: tuple[str, ...]


async def add(connection: Connection, integration: str, plan: Plan, *, by: str) -> None:
    """The shared schedule of an integration, unless it is there already."""
    owner = await runs.connection_id(connection, integration)
    await connection.execute(_SCHEDULES["add"], {"connection": owner, **_values(plan), "by": by})


async def change(connection: Connection, schedule_id: int, plan: Plan, *, by: str) -> bool:
    """Make it so; whether that changed anything. The database moves its times."""
    values = {"schedule": schedule_id, **_values(plan), "by": by}
    return (await connection.execute(_SCHEDULES["change"], values)).rowcount > 0


async def mark(connection: Connection, schedule_id: int, names: Sequence[str]) -> None:
    """Write down what of it the environment sets."""
    await connection.execute(_SCHEDULES["mark"], {"schedule": schedule_id, "names": sorted(names)})


async def idle(connection: Connection, schedule_id: int) -> None:
    """Let nothing of it be due, although it is enabled."""
    await connection.execute(_SCHEDULES["idle"], {"schedule": schedule_id})


async def awaken(connection: Connection, schedule_id: int) -> None:
    """Make it due, if it was idle."""
    await connection.execute(_SCHEDULES["awaken"], {"schedule": schedule_id})


async def has_credentials(connection: Connection, integration: str) -> bool:
    """Whether the shared connection to an integration has its credentials in the database."""
    row = await (await connection.execute(_SCHEDULES["has_credentials"], {"integration": integration})).fetchone()
    return row is not None and bool(row["found"])


async def last_tick(connection: Connection) -> datetime | None:
    """When somebody last looked for due schedules, to a second or so."""
    row = await (await connection.execute(_SCHEDULES["last_tick"])).fetchone()
    return None if row is None else _utc(row["at"])


def _values(plan: Plan) -> dict[str, Any]:
    return {field.name: getattr(plan, field.name) for field in fields(plan)} | {"entities": list(plan.entities)}


def _kept(row: dict[str, Any]) -> Kept:
    values = {name: row[name] for name in (field.name for field in fields(Schedule))}
    values |= {name: _utc(row[name]) for name in _INSTANTS} | {"entities": tuple(row["entities"])}
    return Kept(Schedule(**values), row["updated_at"], row["updated_by"], row["env_locked"], row["sync_type"])


def _utc(instant: datetime | None) -> datetime | None:
    """The driver gives instants in the time zone of the session, whose arithmetic follows its clocks."""
    return None if instant is None else instant.astimezone(UTC)
