"""How everything stands, in one answer: what the page shows at a glance and ``keepstep status`` prints."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any

from keepstep.model.diagnosis import fault_of
from keepstep.model.errors import NotFound
from keepstep.model.integration import Entity
from keepstep.reliability import health
from keepstep.service.limits import BreakerView, Limits, RateLimitView
from keepstep.service.schedules import Schedules, ScheduleView
from keepstep.service.settings import Preferences
from keepstep.service.shapes import Absent, Diagnosed, ModeName, RunState, Shape, diagnosed, one_of
from keepstep.service.standing import Problem, Troubles
from keepstep.store import status as store
from keepstep.store import tables
from keepstep.store.db import Database
from keepstep.store.pings import PingStanding

_COUNTING_SHARE = 0.05
"""How much of the time may be spent on counting rows."""


class SchedulerView(Shape):
    """The shared schedule. ``envLocked`` names the members that the environment gives; ``lastTickAt`` is when somebody
    last looked for due schedules: while Keepstep works it is never older than some seconds.
    """

    enabled: bool
    interval_minutes: int
    full_at_hour_utc: int | None
    entities: list[str]
    env_locked: list[str]
    last_tick_at: datetime | None


class LockView(Shape):
    """Who holds the connection. ``held`` is false when the lease is over and nobody has taken it yet."""

    held: bool
    run_id: int
    started_at: datetime
    expires_at: datetime


class ActiveRun(Shape):
    """The live run and how far it is. ``dueAt``: until when it waits."""

    run_id: int
    state: RunState
    mode: ModeName
    dry_run: bool
    due_at: datetime | None
    entity: str | None
    page: int | None
    rows: int
    total: int | None
    rps: float
    eta_seconds: float | None


class LastPing(Shape, Diagnosed):
    """The newest periodic ping. ``since``: since when all of them have been well, or not."""

    at: datetime
    state: Annotated[str, one_of("ok", "degraded", "failing")]
    reason: str
    fix: str
    elapsed_ms: int
    since: datetime


class EntityStatus(Shape, Diagnosed):
    """One entity. ``rows``: how many its table has that are not deleted; of a large table counted now and then.

    ``code``, ``severity``, ``impact``, ``docs`` and ``fix`` belong to ``lastError``.
    """

    entity: str
    last_success: datetime | None
    last_failure: datetime | None
    last_error: str | None
    fix: Annotated[str | None, Absent] = None
    rows: int


class OpenCount(Shape):
    """How many are open."""

    open: int


class DeductionView(Shape):
    """Points off the health score, and why."""

    points: int
    reason: str


class HealthView(Shape):
    """0 to 100, and what is missing from 100."""

    score: int
    deductions: list[DeductionView]


class Status(Shape):
    """How one integration stands. ``heldDeletions`` counts the entities whose deletions wait for a person.

    ``problems``: what is wrong, worst first. ``ping``: null while none was sent by itself.
    """

    integration: str
    configured: bool
    scheduler: SchedulerView
    next_run: datetime | None
    lock: LockView | None
    active_run: ActiveRun | None
    entities: list[EntityStatus]
    breaker: BreakerView
    rate_limit: Annotated[RateLimitView | None, Absent] = None
    dlq: OpenCount
    held_deletions: OpenCount
    health: HealthView
    ping: LastPing | None
    problems: list[Problem]


class Overview:
    """Answers how integrations stand. ``entities`` holds all known ones by integration."""

    def __init__(
        self, database: Database, entities: Mapping[str, Sequence[Entity]], schedules: Schedules, limits: Limits,
        preferences: Preferences, troubles: Troubles,
    ) -> None:  # fmt: skip
        self._troubles = troubles
        self._database = database
        self._entities = entities
        self._schedules = schedules
        self._limits = limits
        self._preferences = preferences
        self._counted = RowCounts(database)

    async def status(self, key: str, *, configured: bool) -> Status:
        """How one integration stands. Raises ``NotFound``."""
        if key not in self._entities:
            raise NotFound(f"There is no integration {key}.", fix=f"Known are: {', '.join(self._entities)}.")
        entities = self._entities[key]
        async with self._database.connection() as connection:
            standing = await store.standing(connection, key, [entity.name for entity in entities])
        rows = await self._counted.of(key, entities)
        schedule = await self._schedules.get(key)
        breaker, rate_limit = await self._limits.current(key)
        found = await self._health(standing, schedule, breaker)
        problems, marks = await self._troubles.of(key, standing, breaker)
        return Status(
            integration=key,
            configured=configured,
            scheduler=SchedulerView(
                enabled=schedule.enabled,
                interval_minutes=schedule.interval_minutes,
                full_at_hour_utc=schedule.full_at_hour_utc,
                entities=schedule.entities,
                env_locked=schedule.env_locked,
                last_tick_at=await self._schedules.last_tick(),
            ),
            next_run=schedule.next_run,
            lock=None if standing.lock is None else LockView(**standing.lock),
            active_run=_active(standing.active),
            entities=[_entity(row, rows[row["entity"]]) for row in standing.entities],
            breaker=breaker,
            rate_limit=rate_limit,
            dlq=OpenCount(open=standing.counts["letters"]),
            held_deletions=OpenCount(open=standing.counts["held"]),
            health=found,
            ping=_ping(marks.ping),
            problems=problems,
        )

    async def health(self, key: str) -> HealthView:
        """How well an integration is."""
        async with self._database.connection() as connection:
            standing = await store.standing(connection, key, [entity.name for entity in self._entities[key]])
        breaker, _ = await self._limits.current(key)
        return await self._health(standing, await self._schedules.get(key), breaker)

    async def _health(self, standing: store.Standing, schedule: ScheduleView, breaker: BreakerView) -> HealthView:
        stale_after = (await self._preferences.effective()).stale_after
        return health_view(health.score(facts(standing, schedule, breaker.state, stale_after)))


def health_view(found: health.Health) -> HealthView:
    """A score as it is shown."""
    deductions = [DeductionView(points=one.points, reason=one.reason) for one in found.deductions]
    return HealthView(score=found.score, deductions=deductions)


def facts(standing: store.Standing, schedule: ScheduleView, breaker: str, stale_after: timedelta) -> health.Facts:
    """What the health score is made of. Only entities that the schedule names count for freshness."""
    successes = [row["last_success"] for row in standing.entities if row["entity"] in schedule.entities]
    return health.Facts(
        now=standing.now,
        interval=timedelta(minutes=schedule.interval_minutes) if schedule.enabled else None,
        stale_after=stale_after,
        last_success=None if None in successes else min(successes, default=None),
        runs=len(standing.ended),
        failed_runs=sum(run["state"] in ("failed", "crashed") for run in standing.ended),
        requests=standing.counts["requests"],
        failed_requests=standing.counts["failed_requests"],
        breaker=breaker,
        held=standing.counts["held"],
        open_letters=standing.counts["letters"],
        credentials_failing=bool(standing.ended) and standing.ended[0]["code"] in ("auth-failed", "needs-reconnect"),
    )


class RowCounts:
    """How many rows the tables have. Counting a large table takes its time, so it is done the less often."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[tuple[str, str], tuple[int, float]] = {}
        self._counting = asyncio.Lock()

    async def of(self, integration: str, entities: Sequence[Entity]) -> dict[str, int]:
        """The count of each entity's table by name."""
        async with self._counting:
            due = [entity for entity in entities if self._is_due((integration, entity.name))]
            if due:
                async with self._database.connection() as connection:
                    for entity in due:
                        started = time.monotonic()
                        count = await tables.live_rows(connection, integration, entity)
                        ended = time.monotonic()
                        until = ended + (ended - started) / _COUNTING_SHARE if ended - started > 0.02 else ended
                        self._known[integration, entity.name] = (count, until)
        return {entity.name: self._known[integration, entity.name][0] for entity in entities}

    def _is_due(self, key: tuple[str, str]) -> bool:
        return key not in self._known or time.monotonic() >= self._known[key][1]


def _entity(row: dict[str, Any], rows: int) -> EntityStatus:
    error = row["error"] or {}
    fault = fault_of(error)
    return EntityStatus(
        entity=row["entity"], last_success=row["last_success"], last_failure=row["last_failure"],
        last_error=row["last_error"], fix=error.get("fix") or None, rows=rows,
        **diagnosed(fault.code if fault else error.get("code")),
    )  # fmt: skip


def _ping(found: PingStanding | None) -> LastPing | None:
    if found is None:
        return None
    return LastPing(
        at=found.at, state=found.state, reason=found.reason, fix=found.fix, elapsed_ms=found.elapsed_ms,
        since=found.since, **diagnosed(found.code),
    )  # fmt: skip


def _active(row: dict[str, Any] | None) -> ActiveRun | None:
    if row is None:
        return None
    is_of_entity = row["page_entity"] is not None and row["page_entity"] == row["entity"]
    data = row["data"] if is_of_entity else {}
    return ActiveRun(
        run_id=row["run_id"],
        state=row["state"],
        mode=row["mode"],
        dry_run=row["dry_run"],
        due_at=row["due_at"],
        entity=row["entity"],
        page=row["page"] if is_of_entity else None,
        rows=row["rows"],
        total=row["total"],
        rps=data.get("rps", 0.0),
        eta_seconds=data.get("etaSeconds"),
    )
