"""Auto-sync of each user's own accounts: who turns it on, how often, and when the next one is.

An owner has one connection to an integration and one schedule of it. While the connection cannot be used (not connected
yet, refused by upstream, paused) the schedule is kept and nothing of it is due; it begins by itself when that is over.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from keepstep.dispatch.schedule import next_slot
from keepstep.model.errors import BadRequest, Conflict, NotAllowed
from keepstep.model.schedule import Identity, Role
from keepstep.service.audit import Audit
from keepstep.store import auto_sync as store
from keepstep.store.auto_sync import OwnerSync
from keepstep.store.db import Connection, Database

_HOUR, _MINUTE = 3600, 60
_STOPPED = ("needs-reconnect", "paused")


@dataclass(frozen=True, slots=True)
class Kind:
    """What users may sync by themselves. ``unit``: seconds of one step of the interval, ``steps`` what it is called."""

    integration: str
    title: str
    entities: tuple[str, ...]
    unit: int
    steps: str
    least: int
    most: int
    default: int

    @property
    def name(self) -> str:
        """What its interval is called in a request."""
        return f"interval_{self.steps}"


CONTACTS = Kind("google_contacts", "Google Contacts", ("connections", "contacts"), _HOUR, "hours", 1, 720, 24)
MAIL = Kind("mail", "Mail", ("messages",), _MINUTE, "minutes", 5, 1440, 15)
KINDS = (CONTACTS, MAIL)


@dataclass(frozen=True, slots=True)
class Config:
    """How one owner's auto-sync is set. ``next_sync_at`` is the first one after the one that is due now, if one is."""

    enabled: bool
    interval: int
    last_sync_at: datetime | None = None
    next_sync_at: datetime | None = None


class AutoSync:
    """Shows and changes the auto-sync of owners. ``entities`` has those of each integration that is there."""

    def __init__(self, database: Database, audit: Audit, entities: Mapping[str, Sequence[str]]) -> None:
        self._database = database
        self._audit = audit
        self.entities = dict(entities)

    async def get(self, kind: Kind, who: Identity, *, workspace: str | None = None) -> Config:
        """An owner's config, the default when there is none. Raises ``NotAllowed`` for another's, ``Conflict``."""
        async with self._database.connection() as connection:
            owner = await self._owner(connection, kind, who, workspace)
            return _config(kind, await store.select(connection, kind.integration, owner))

    async def put(
        self, kind: Kind, who: Identity, *, enabled: bool | None, interval: int | None, workspace: str | None = None
    ) -> Config:
        """Change an owner's config; None leaves what is there. Enabling it makes the first sync due at once, and one
        that was off for less than an interval goes on with its next slot.

        Raises ``BadRequest`` for an interval that cannot be, ``NotAllowed`` and ``Conflict`` as ``get``.
        """
        if interval is not None:
            _check(kind, interval)
        async with self._database.connection() as connection, connection.transaction():
            owner = await self._owner(connection, kind, who, workspace)
            label = workspace or None if owner == who.owner != workspace else None
            held = await store.hold(connection, kind.integration, owner, label)
            found = await store.select(connection, kind.integration, owner)
            before = _config(kind, found)
            wanted = Config(
                before.enabled if enabled is None else enabled, before.interval if interval is None else interval
            )
            await store.put(
                connection, held, None if found is None else found.schedule_id, enabled=wanted.enabled,
                seconds=wanted.interval * kind.unit, by=who.name,
                entities=self.entities.get(kind.integration, kind.entities),
            )  # fmt: skip
            if found is not None and found.schedule_id is not None and wanted.enabled and not before.enabled:
                await store.go_on(connection, found.schedule_id)
            await self._note(connection, kind, who, owner, workspace, before, wanted)
            after = await store.select(connection, kind.integration, owner)
            if after is not None and after.schedule_id is not None and kind.integration not in self.entities:
                await store.rest(connection, after.schedule_id)
            return _config(kind, after)

    async def settle(self) -> None:
        """For processes that start runs: what was planned reads what there is, and waits for what there is not."""
        async with self._database.connection() as connection, connection.transaction():
            for kind in KINDS:
                await store.settle(connection, kind.integration, self.entities.get(kind.integration))

    async def _note(
        self, connection: Connection, kind: Kind, who: Identity, owner: str, workspace: str | None,
        before: Config, wanted: Config,
    ) -> None:  # fmt: skip
        payload: dict[str, Any] = {
            "integration": kind.integration, "owner": owner, "enabled": wanted.enabled, kind.name: wanted.interval,
        }  # fmt: skip
        if workspace:
            payload["workspace"] = workspace
        was, now = _told(kind, before), _told(kind, wanted)
        result = "nothing changed" if was == now else f"{was} -> {now}"
        await self._audit.record(who.name, "auto-sync.set", payload, result, within=connection)

    async def _owner(self, connection: Connection, kind: Kind, who: Identity, workspace: str | None) -> str:
        """Whose config is meant: the caller's own, and for an administrator anybody's whose id or workspace it is.

        A front end names its workspace; there everybody has their own config.
        """
        if not workspace or workspace == who.owner:
            return who.owner
        if who.role is not Role.ADMIN:
            if await store.is_owner(connection, workspace):
                raise NotAllowed(
                    "This is somebody else's auto-sync.", fix="Leave workspace_id out for your own, or ask an admin."
                )
            return who.owner
        owners = await store.owners_in(connection, kind.integration, workspace)
        if workspace in owners or not owners or await store.is_owner(connection, workspace):
            return workspace
        if len(owners) > 1 and who.owner not in owners:
            raise Conflict(
                f"Several users have an auto-sync in the workspace {workspace[:80]}.",
                fix="Give the id of one of them as workspace_id.",
            )
        return who.owner if who.owner in owners else owners[0]


def _check(kind: Kind, interval: int) -> None:
    if not kind.least <= interval <= kind.most:
        raise BadRequest(
            f"{kind.name} cannot be {interval}.",
            fix=f"Give a whole number of {kind.steps} from {kind.least} to {kind.most}.",
        )


def _config(kind: Kind, found: OwnerSync | None) -> Config:
    last = found.last_sync_at if found else None
    if found is None or found.interval_seconds is None or found.anchor_at is None:
        return Config(enabled=False, interval=kind.default, last_sync_at=last)
    interval = max(1, round(found.interval_seconds / kind.unit))
    return Config(found.enabled, interval, last, _next_sync(found, found.anchor_at, found.interval_seconds))


def _next_sync(found: OwnerSync, anchor: datetime, seconds: int) -> datetime | None:
    """What is due now begins at once: the next sync is the one after it. None while somebody must end a wait first."""
    if not found.enabled or found.state in _STOPPED:
        return None
    if found.due_at is not None and found.due_at > found.now:
        return found.due_at
    return next_slot(found.now, anchor, timedelta(seconds=seconds))


def _told(kind: Kind, config: Config) -> str:
    return f"every {config.interval} {kind.steps}" if config.enabled else f"off ({config.interval} {kind.steps})"
