"""When integrations are synced by themselves: what people and the environment say about it.

For the shared schedule of an integration the environment wins over what people chose, and that over the default. What
people chose is kept in any case (``keepstep.settings``, as one would write it in the environment) and holds again when
the environment falls silent. ``keepstep.schedules`` has what is in effect.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from math import ceil
from types import MappingProxyType
from typing import Any

from keepstep.dispatch.schedule import upcoming
from keepstep.model.errors import BadRequest, Conflict, NotFound
from keepstep.model.integration import Mode
from keepstep.model.schedule import Schedule
from keepstep.service.audit import Audit
from keepstep.service.shapes import ModeName, Shape
from keepstep.store import schedules
from keepstep.store import settings as preferences
from keepstep.store.db import Connection, Database
from keepstep.store.schedules import Kept, Plan

VARIABLES: Mapping[str, str] = MappingProxyType(
    {
        "enabled": "AUTO_SYNC_ENABLED",
        "interval_minutes": "AUTO_SYNC_INTERVAL_MINUTES",
        "full_at_hour_utc": "AUTO_SYNC_FULL_AT_HOUR_UTC",
        "entities": "SYNC_ENTITIES",
    }
)
"""What can be set of a schedule, and the variable that does it."""
CAMEL = {
    "enabled": "enabled", "interval_minutes": "intervalMinutes", "full_at_hour_utc": "fullAtHourUtc",
    "entities": "entities",
}  # fmt: skip
LEAST_MINUTES, MOST_MINUTES = 2, 43200
_ACCEPTED = {
    "enabled": "Give true or false.",
    "interval_minutes": f"Give a whole number of minutes from {LEAST_MINUTES} to {MOST_MINUTES}.",
    "full_at_hour_utc": "Give an hour from 0 to 23 (UTC), or null for no nightly full run.",
    "entities": "Give a list of at least one name.",
}
_FORESEEN = 5
_ENVIRONMENT = "environment"
_CREDENTIALS = "credentials"
"""Stands among what the environment sets where it gives the credentials too."""
Values = Mapping[str, Any]
"""Of a schedule, by the names in ``VARIABLES``."""


@dataclass(frozen=True, slots=True)
class Given:
    """What the settings say about the shared schedule of an integration.

    ``values``: what the environment says, else the default. ``locked``: the names that the environment says.
    ``missing``: the variable without which the integration stays idle, empty when it is there.
    """

    values: Values
    locked: frozenset[str] = frozenset()
    missing: str = ""


class UpcomingRun(Shape):
    """A run to come."""

    at: datetime
    mode: ModeName


class ScheduleView(Shape):
    """A schedule. ``envLocked`` names what the environment sets; ``nextRun`` is null while nothing is to come.

    ``idle``: it is enabled, and nothing is to come all the same, because the integration has no credentials.
    """

    id: int
    integration: str
    owner: str | None
    name: str
    enabled: bool
    idle: bool
    interval_minutes: int
    full_at_hour_utc: int | None
    entities: list[str]
    env_locked: list[str]
    next_run: datetime | None
    upcoming: list[UpcomingRun]
    updated_at: datetime
    updated_by: str


class Schedules:
    """Shows and changes schedules. ``entities`` has those of each integration, ``given`` each that has a schedule.

    ``typed``: integrations whose intervals are those of sync types instead, with the entities that all share.
    """

    def __init__(
        self, database: Database, audit: Audit, entities: Mapping[str, Sequence[str]], given: Mapping[str, Given],
        typed: Mapping[str, Sequence[str]] = MappingProxyType({}),
    ) -> None:  # fmt: skip
        self._database = database
        self._audit = audit
        self._entities = entities
        self._given = given
        self._typed = typed

    async def all(self) -> list[ScheduleView]:
        """Every schedule, up to 1000."""
        async with self._database.connection() as connection:
            for key in self._given:
                await self._shared(connection, key)
            return [self._view(kept) for kept in await schedules.select(connection)]

    async def get(self, key: str) -> ScheduleView:
        """The shared schedule of an integration. Raises ``NotFound``.

        Where sync types say the intervals it is what their schedules come to.
        """
        async with self._database.connection() as connection:
            if key in self._typed:
                return self._together(key, await schedules.of_types(connection, key))
            return self._view(await self._shared(connection, key))

    async def last_tick(self) -> datetime | None:
        """When somebody last looked for due schedules, to a second or so; None before the first time."""
        async with self._database.connection() as connection:
            return await schedules.last_tick(connection)

    async def set(self, key: str, changes: Mapping[str, object], *, by: str) -> ScheduleView:
        """Change what ``changes`` names (as in ``VARIABLES``), at once and of this schedule only.

        Raises ``BadRequest`` for a value that cannot be, ``Conflict`` for one that the environment sets otherwise.
        """
        wanted = {name: self._checked(key, name, value) for name, value in changes.items()}
        async with self._database.connection() as connection, connection.transaction():
            kept = await self._shared(connection, key, locked=True)
            values = _values_of(kept.schedule)
            changed = {name: value for name, value in wanted.items() if values[name] != value}
            self._refuse_locked(kept, wanted, changed)
            for name, value in changed.items():
                await preferences.put(connection, VARIABLES[name], _text(value), by=by)
            if changed:
                await schedules.change(connection, kept.schedule.id, _plan(values | changed), by=by)
                if not await self._has_credentials(connection, kept):
                    await schedules.idle(connection, kept.schedule.id)
            payload = {"integration": key, **{CAMEL[name]: value for name, value in wanted.items()}}
            await self._audit.record(by, "schedule.set", payload, _difference(values, changed), within=connection)
            return self._view(await self._shared(connection, key))

    async def pause(self, key: str, *, by: str) -> ScheduleView:
        """Let nothing more start by itself. Raises ``Conflict`` where the environment says otherwise."""
        return await self.set(key, {"enabled": False}, by=by)

    async def resume(self, key: str, *, by: str) -> ScheduleView:
        """Start by itself again, at once. Raises ``Conflict`` where the environment says otherwise."""
        return await self.set(key, {"enabled": True}, by=by)

    async def awaken(self, key: str) -> None:
        """An idle schedule is due: its integration has got credentials. Those of types are by themselves."""
        if key in self._typed:
            return
        async with self._database.connection() as connection, connection.transaction():
            await schedules.awaken(connection, (await self._shared(connection, key)).schedule.id)

    async def rest(self, key: str) -> None:
        """Let a schedule be idle: its integration has lost its credentials, unless the environment gives some."""
        if key in self._typed:
            return
        async with self._database.connection() as connection, connection.transaction():
            kept = await self._shared(connection, key)
            if not await self._has_credentials(connection, kept):
                await schedules.idle(connection, kept.schedule.id)

    async def settle(self) -> list[str]:
        """Put into effect what the settings say, and give the line about each schedule that a start logs.

        For processes that start runs: one that lacks the credentials of an integration lets its schedule be idle. A
        schedule that is as it should be keeps its times.
        """
        async with self._database.connection() as connection:
            lines = []
            for key, given in self._given.items():
                async with connection.transaction():
                    lines.append(await self._settle(connection, key, given))
            return lines

    async def _settle(self, connection: Connection, key: str, given: Given) -> str:
        schedule = (await self._shared(connection, key, locked=True)).schedule
        chosen = self._chosen(key, await preferences.everything(connection))
        values = {**given.values, **{name: value for name, value in chosen.items() if name not in given.locked}}
        await schedules.change(connection, schedule.id, _plan(values), by=_ENVIRONMENT)
        await schedules.mark(connection, schedule.id, [*given.locked, *([] if given.missing else [_CREDENTIALS])])
        missing = "" if await schedules.has_credentials(connection, key) else given.missing
        if missing:
            await schedules.idle(connection, schedule.id)
        else:
            await schedules.awaken(connection, schedule.id)
        return start_line(values, missing=missing, paused="enabled" in chosen and "enabled" not in given.locked)

    async def _has_credentials(self, connection: Connection, kept: Kept) -> bool:
        """Whether runs have what they need: in the database, or in the environment of those that start them."""
        key = kept.schedule.integration
        if _CREDENTIALS in kept.env_locked or not self._given[key].missing:
            return True
        return await schedules.has_credentials(connection, key)

    async def _shared(self, connection: Connection, key: str, *, locked: bool = False) -> Kept:
        """The shared schedule of an integration; whoever asks for it first makes it."""
        if key not in self._given:
            raise NotFound(f"There is no schedule of {key}.", fix=f"Known are: {', '.join(self._given)}.")
        if not (found := await schedules.select(connection, integration=key)):
            await schedules.add(connection, key, _plan(self._given[key].values), by=_ENVIRONMENT)
        if locked:
            await schedules.lock(connection, key)
        if locked or not found:
            found = await schedules.select(connection, integration=key)
        return found[0]

    def _chosen(self, key: str, kept: Mapping[str, object]) -> dict[str, Any]:
        """What people chose. A choice that cannot be any more doesn't count."""
        chosen = {}
        for name, variable in VARIABLES.items():
            try:
                if isinstance(text := kept.get(variable), str):
                    chosen[name] = self._checked(key, name, _value(name, text))
            except (BadRequest, ValueError):
                continue
        return chosen

    def _refuse_locked(self, kept: Kept, wanted: Values, changed: Values) -> None:
        """What the environment sets stays: this process's, and that of the processes that start runs."""
        given = self._given[kept.schedule.integration]
        locked = [name for name in given.locked if name in wanted and wanted[name] != given.values[name]]
        locked += [name for name in kept.env_locked if name in changed and name not in given.locked]
        if locked := [name for name in VARIABLES if name in locked]:
            variables = ", ".join(VARIABLES[name] for name in locked)
            raise Conflict(
                f"{' and '.join(CAMEL[name] for name in locked)} cannot be changed here.",
                fix=f"Set by environment: change {variables} there, or unset it and restart.",
            )

    def _checked(self, key: str, name: str, value: object) -> Any:
        match name, value:
            case "enabled", bool():
                return value
            case "interval_minutes", int() if not isinstance(value, bool) and LEAST_MINUTES <= value <= MOST_MINUTES:
                return value
            case "full_at_hour_utc", None:
                return value
            case "full_at_hour_utc", int() if not isinstance(value, bool) and 0 <= value <= 23:
                return value
            case "entities", list() | tuple() if value:
                return self._known(key, value)
        if name not in VARIABLES:
            raise BadRequest(f"A schedule has no {name[:40]!r}.", fix=f"It has: {', '.join(CAMEL.values())}.")
        raise BadRequest(f"{CAMEL[name]} cannot be {str(value)[:40]!r}.", fix=_ACCEPTED[name])

    def _known(self, key: str, names: Sequence[object]) -> tuple[str, ...]:
        known = self._entities.get(key, ())
        if unknown := [str(name)[:40] for name in names if name not in known]:
            raise BadRequest(f"{key} has no entity {', '.join(unknown)}.", fix=f"Known are: {', '.join(known)}.")
        return tuple(dict.fromkeys(str(name) for name in names))

    def _together(self, key: str, found: Sequence[Kept]) -> ScheduleView:
        """Several schedules as one: the longest interval is the one that all of them keep."""
        views = [view for view in map(self._view, found) if view.enabled]
        slots = sorted((slot for view in views for slot in view.upcoming), key=lambda slot: slot.at)
        return ScheduleView(
            id=found[0].schedule.id if found else 0, integration=key, owner=None, name="", enabled=bool(views),
            idle=bool(views) and not slots,
            interval_minutes=max((view.interval_minutes for view in views), default=MOST_MINUTES),
            full_at_hour_utc=None, entities=list(self._typed[key]), env_locked=[],
            next_run=slots[0].at if slots else None, upcoming=slots[:_FORESEEN],
            updated_at=max((kept.updated_at for kept in found), default=datetime.fromtimestamp(0, UTC)),
            updated_by=max(found, key=lambda kept: kept.updated_at).updated_by if found else "keepstep",
        )  # fmt: skip

    def _view(self, kept: Kept) -> ScheduleView:
        schedule = kept.schedule
        is_shared = schedule.owner is None and not schedule.name
        given = self._given.get(schedule.integration) if is_shared else None
        locked = {*kept.env_locked, *(given.locked if given else ())}
        return ScheduleView(
            id=schedule.id, integration=schedule.integration, owner=schedule.owner, name=schedule.name,
            enabled=schedule.enabled, idle=schedule.enabled and schedule.due_at is None,
            interval_minutes=ceil(_minutes(schedule.interval_seconds)), full_at_hour_utc=schedule.full_at_hour_utc,
            entities=list(schedule.entities),
            env_locked=[CAMEL[name] for name in VARIABLES if name in locked],
            next_run=schedule.due_at,
            upcoming=[
                UpcomingRun(at=slot.at, mode=Mode.BACKFILL if kept.sync_type else slot.mode)
                for slot in islice(upcoming(schedule), _FORESEEN)
            ],
            updated_at=kept.updated_at, updated_by=kept.updated_by,
        )  # fmt: skip


def start_line(values: Values, *, missing: str = "", paused: bool = False) -> str:
    """What is logged of a schedule at a start. ``paused``: it was a person who disabled it, if it is disabled."""
    if missing:
        return f"[auto-sync] {missing} missing; auto-sync idle"
    if not values["enabled"]:
        return f"[auto-sync] {'paused' if paused else 'disabled via env'}"
    hour = values["full_at_hour_utc"]
    nightly = "" if hour is None else f"; nightly full at UTC hour: {hour}"
    return f"[auto-sync] enabled every {values['interval_minutes']:g}m{nightly}"


def _values_of(schedule: Schedule) -> dict[str, Any]:
    return {
        "enabled": schedule.enabled, "interval_minutes": _minutes(schedule.interval_seconds),
        "full_at_hour_utc": schedule.full_at_hour_utc, "entities": schedule.entities,
    }  # fmt: skip


def _plan(values: Values) -> Plan:
    return Plan(
        enabled=values["enabled"], interval_seconds=round(values["interval_minutes"] * 60),
        full_at_hour_utc=values["full_at_hour_utc"], entities=tuple(values["entities"]),
    )  # fmt: skip


def _minutes(seconds: int) -> float:
    return seconds // 60 if seconds % 60 == 0 else seconds / 60


def _text(value: object) -> str:
    """A value as one would write it in the environment."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case tuple():
            return ",".join(value)
    return str(value)


def _value(name: str, text: str) -> object:
    """What ``_text`` was made of. Raises ValueError for what nobody wrote with it."""
    match name:
        case "enabled":
            return {"true": True, "false": False}.get(text, text)
        case "entities":
            return text.split(",")
        case "full_at_hour_utc" if not text:
            return None
    return int(text)


def _difference(values: Values, changed: Values) -> str:
    told = (f"{CAMEL[name]}: {_text(values[name]) or '-'} -> {_text(value) or '-'}" for name, value in changed.items())
    return "; ".join(told) or "nothing changed"
