"""How often each sync type is read: what people chose, else what the environment says, else the seed."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType

from keepstep.model.errors import BadRequest, NotFound
from keepstep.service.audit import Audit
from keepstep.service.shapes import Shape
from keepstep.store import sync_types as store
from keepstep.store.db import Database
from keepstep.store.sync_types import SyncType

SEEDS: Mapping[str, int] = MappingProxyType(
    {"orders": 10, "customers": 15, "products": 30, "prices": 60, "ddt": 20, "invoices": 20}
)
"""Minutes between two runs of each type, where nobody says otherwise. ``migrations/0011`` has them too."""
LEAST_MINUTES, MOST_MINUTES = 5, 1440


class SyncTypeView(Shape):
    """One type. ``perAgent``: each agent has a schedule of it. ``nextRun`` is null while nothing of it is to come."""

    interval_minutes: int
    enabled: bool
    per_agent: bool
    updated_at: datetime
    next_run: datetime | None


@dataclass(frozen=True, slots=True)
class SyncTypes:
    """Shows and changes intervals. ``defaults``: what the environment says of some types."""

    database: Database
    audit: Audit
    defaults: Mapping[str, int]

    async def all(self) -> dict[str, SyncTypeView]:
        """Every type by its name."""
        async with self.database.connection() as connection:
            found = {known.name: known for known in await store.select(connection)}
        return {name: _view(found[name]) for name in (*SEEDS, *sorted(found.keys() - SEEDS.keys())) if name in found}

    async def set(self, name: str, *, minutes: int | None = None, enabled: bool | None = None, by: str) -> SyncTypeView:
        """Change one type, at once; the others' next runs stay. Raises ``NotFound``, ``BadRequest``."""
        if minutes is None and enabled is None:
            raise BadRequest("Nothing is to change.", fix="Give intervalMinutes, enabled or both.")
        if minutes is not None and not LEAST_MINUTES <= minutes <= MOST_MINUTES:
            fix = f"Give a whole number of minutes from {LEAST_MINUTES} to {MOST_MINUTES}."
            raise BadRequest(f"intervalMinutes cannot be {minutes}.", fix=fix)
        async with self.database.connection() as connection, connection.transaction():
            before = await store.lock(connection, name)
            if before is None:
                known = ", ".join(known.name for known in await store.select(connection))
                raise NotFound(f"There is no sync type {name[:40]}.", fix=f"Known are: {known}.")
            await store.change(connection, name, minutes=minutes, enabled=enabled, by=by)
            [after] = [known for known in await store.select(connection) if known.name == name]
            payload: dict[str, object] = {"type": name}
            payload |= {} if minutes is None else {"intervalMinutes": minutes}
            payload |= {} if enabled is None else {"enabled": enabled}
            was = _told(before["interval_minutes"], before["enabled"])
            now = _told(after.interval_minutes, after.enabled)
            result = "nothing changed" if was == now else f"{was} -> {now}"
            await self.audit.record(by, "sync-interval.set", payload, result, within=connection)
        return _view(after)

    async def settle(self) -> None:
        """Put the environment's defaults into effect where nobody chose an interval."""
        async with self.database.connection() as connection, connection.transaction():
            for name, seed in sorted(SEEDS.items()):
                by = "environment" if name in self.defaults else "keepstep"
                await store.set_default(connection, name, self.defaults.get(name, seed), by=by)


def _view(found: SyncType) -> SyncTypeView:
    return SyncTypeView(
        interval_minutes=found.interval_minutes, enabled=found.enabled, per_agent=found.per_agent,
        updated_at=found.updated_at, next_run=found.next_run,
    )  # fmt: skip


def _told(minutes: int, enabled: bool) -> str:
    return f"every {minutes} minutes" if enabled else f"off ({minutes} minutes)"
