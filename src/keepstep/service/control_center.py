"""What the control center shows: one dataclass for each part of the page, for the page and for its live update."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from keepstep.integrations.registry import Registered
from keepstep.service.alerts import AlertList
from keepstep.service.core import Service
from keepstep.service.errors_view import ErrorGroup
from keepstep.service.limits import BreakerView, Outlook, RateLimitView
from keepstep.service.readiness import Lookout, Readiness
from keepstep.service.schedules import ScheduleView
from keepstep.service.setup import Advice, SettingLine, Setup
from keepstep.service.shapes import DeadLetterSummary, HeldDeletions, RunSummary
from keepstep.service.status import ActiveRun, HealthView, LockView, SchedulerView, Status
from keepstep.service.troubles import Facts, Severity, Trouble, failing, last_success, troubles, utc_now

LISTED = 20
TOP_LETTERS = 10
MOST_ALERTS = 5
_MOST_ERRORS = 12
_FRESH = 5.0
_WORST_FIRST = ("failing", "degraded", "retrying", "partial", "new", "ok", "idle")
_WEBHOOK = "INTEGRATIONS_TEAMS_WEBHOOK"


@dataclass(frozen=True, slots=True)
class Acts:
    """What can be done from the header."""

    configured: bool
    active: ActiveRun | None


@dataclass(frozen=True, slots=True)
class Glance:
    """The row that says it all. ``scheduler_silent``: nothing starts by itself any more."""

    health: HealthView
    active: ActiveRun | None
    held: int
    letters: int
    breaker: BreakerView
    last_success: datetime | None
    scheduler: SchedulerView
    next_run: datetime | None
    scheduler_silent: bool


@dataclass(frozen=True, slots=True)
class Troubles:
    """What is wrong, the worst first."""

    found: Sequence[Trouble]

    @property
    def problems(self) -> int:
        """How many somebody must act on, now or when there is time: the number in the tab's title."""
        return sum(trouble.severity is not Severity.RETRYING for trouble in self.found)

    @property
    def worst(self) -> str:
        """The severity of the worst; empty when there is none."""
        return self.found[0].severity if self.found else ""


@dataclass(frozen=True, slots=True)
class Card:
    """One integration. ``state``: ok, retrying, degraded, failing, partial, new or idle; ``auth`` in words."""

    key: str
    title: str
    colour: str
    state: str
    base_url: str
    auth: str
    limits: str
    health: HealthView
    breaker: BreakerView
    rate_limit: RateLimitView | None
    last_success: datetime | None
    last_failure: datetime | None
    last_error: str


@dataclass(frozen=True, slots=True)
class Cards:
    """Every integration: the one that the page shows, and the others, the worst first."""

    shown: Card
    others: Sequence[Card]


@dataclass(frozen=True, slots=True)
class RunPanel:
    """Starting a run, and the one that is going on. ``report``: the last run, where that was a dry one."""

    entities: Sequence[str]
    chosen: Sequence[str]
    rows: Mapping[str, int]
    configured: bool
    allow_backfill: bool
    active: ActiveRun | None
    lock: LockView | None
    report: RunSummary | None


@dataclass(frozen=True, slots=True)
class LastRuns:
    """The newest runs."""

    runs: Sequence[RunSummary]


@dataclass(frozen=True, slots=True)
class ErrorGroups:
    """Errors, each kind once; ``hidden``: how many more kinds there are."""

    groups: Sequence[ErrorGroup]
    hidden: int


@dataclass(frozen=True, slots=True)
class SchedulePanel:
    """When it runs by itself."""

    schedule: ScheduleView
    known: Sequence[str]
    lock: LockView | None
    last_tick: datetime | None
    silent: bool


@dataclass(frozen=True, slots=True)
class LimitsPanel:
    """How politely upstream is asked, and how far that goes."""

    breaker: BreakerView
    rate_limit: RateLimitView | None
    outlook: Outlook


@dataclass(frozen=True, slots=True)
class ConfigPanel:
    """How it is set up."""

    settings: Sequence[SettingLine]
    warnings: Sequence[Advice]


@dataclass(frozen=True, slots=True)
class AlertsPanel:
    """Where alerts go, and the last ones. ``webhook``: masked; ``locked``: the environment says it."""

    found: AlertList
    webhook: str
    locked: bool


@dataclass(frozen=True, slots=True)
class LettersPanel:
    """The newest open dead letters, and how many there are."""

    letters: Sequence[DeadLetterSummary]
    count: int


@dataclass(frozen=True, slots=True)
class HeldPanel:
    """Deletions that wait for a decision, by run."""

    runs: Mapping[int, Sequence[HeldDeletions]]


class ControlCenter:
    """Answers what the page asks. Nothing is read before somebody looks."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._lookout = Lookout(service.database)
        self._cards: dict[str, tuple[Card, float]] = {}

    def integrations(self) -> list[tuple[str, str]]:
        """The key and the title of each integration."""
        return [(key, one.title) for key, one in self.service.inspection.registered.items()]

    def look(self, key: str) -> "Look":
        """A look at one integration. Raises ``NotFound``."""
        return Look(self, self._lookout, self.service.inspection.known(key))

    async def others(self, key: str) -> list[Card]:
        """The cards of the other integrations, the worst first; each at most some seconds old."""
        found = [await self._recent(other) for other in self.service.inspection.registered if other != key]
        return sorted(found, key=lambda card: _WORST_FIRST.index(card.state))

    async def _recent(self, key: str) -> Card:
        known = self._cards.get(key)
        if known is None or time.monotonic() - known[1] > _FRESH:
            known = self._cards[key] = (await self.look(key).own_card(), time.monotonic())
        return known[0]


class Look:
    """One look at one integration: what two parts need is read once, so that they agree with each other."""

    def __init__(self, center: ControlCenter, lookout: Lookout, integration: Registered) -> None:
        self._center = center
        self._service = center.service
        self._lookout = lookout
        self._integration = integration
        self._read: dict[str, Any] = {}

    @property
    def key(self) -> str:
        """Of the integration."""
        return self._integration.key

    @property
    def title(self) -> str:
        """Of the integration."""
        return self._integration.title

    async def part(self, name: str) -> object:
        """What a part of the page shows. Raises ``KeyError`` for one that does not exist."""
        return await PARTS[name](self)

    async def _once(self, name: str, read: Callable[[], Awaitable[Any]]) -> Any:
        if name not in self._read:
            self._read[name] = await read()
        return self._read[name]

    async def status(self) -> Status:
        """How the integration stands."""

        async def read() -> Status:
            configured = await self._service.connectors.is_configured(self.key)
            return await self._service.overview.status(self.key, configured=configured)

        status: Status = await self._once("status", read)
        return status

    async def _runs(self) -> list[RunSummary]:
        runs: list[RunSummary] = await self._once("runs", lambda: self._service.views.runs(limit=LISTED))
        return [run for run in runs if run.integration == self.key]

    async def _held(self) -> list[HeldDeletions]:
        held: list[HeldDeletions] = await self._once("held", self._service.views.held)
        return [one for one in held if one.integration == self.key]

    async def _setup(self) -> Setup:
        setup: Setup = await self._once("setup", lambda: self._service.inspection.config(self.key))
        return setup

    async def _readiness(self) -> Readiness:
        return await self._lookout.look()

    async def _silent(self) -> bool:
        return any(check.name == "scheduler" and not check.ok for check in (await self._readiness()).checks)

    async def acts(self) -> Acts:
        """What can be done from the header."""
        status = await self.status()
        return Acts(status.configured, status.active_run)

    async def glance(self) -> Glance:
        """The row that says it all."""
        status = await self.status()
        return Glance(
            health=status.health, active=status.active_run, held=status.held_deletions.open, letters=status.dlq.open,
            breaker=status.breaker, last_success=last_success(status), scheduler=status.scheduler,
            next_run=status.next_run, scheduler_silent=await self._silent(),
        )  # fmt: skip

    async def troubles(self) -> Troubles:
        """What is wrong."""
        effective = await self._service.preferences.effective()
        facts = Facts(
            now=utc_now(), title=self.title, status=await self.status(), readiness=await self._readiness(),
            runs=await self._runs(), held=await self._held(), warnings=(await self._setup()).warnings,
            stale_after=effective.stale_after,
        )  # fmt: skip
        return Troubles(troubles(facts))

    async def card(self) -> Cards:
        """Every integration at a glance."""
        return Cards(await self.own_card(), await self._center.others(self.key))

    async def own_card(self) -> Card:
        """This integration at a glance."""
        status, setup = await self.status(), await self._setup()
        values = {line.variable.removeprefix(f"{self.key.upper()}_"): line for line in setup.settings}
        broken = failing(status)
        newest = max(broken, key=lambda one: str(one.last_failure), default=None)
        failures = [one.last_failure for one in status.entities if one.last_failure]
        url, secret = values.get("BASE_URL"), values.get("API_KEY")
        return Card(
            key=self.key, title=self.title, colour=self._integration.colour, state=_state(status),
            base_url=url.value if url else self._integration.default_base_url,
            auth=_auth(status, secret), limits=self._integration.limits, health=status.health,
            breaker=status.breaker, rate_limit=status.rate_limit, last_success=last_success(status),
            last_failure=max(failures, default=None), last_error=(newest.last_error or "") if newest else "",
        )  # fmt: skip

    async def run(self) -> RunPanel:
        """Starting a run, and the one that is going on."""
        status, runs = await self.status(), await self._runs()
        effective = await self._service.preferences.effective()
        last = next((run for run in runs if run.finished_at is not None), None)
        return RunPanel(
            entities=[entity.name for entity in self._integration.entities], chosen=status.scheduler.entities,
            rows={one.entity: one.rows for one in status.entities}, configured=status.configured,
            allow_backfill=effective.allow_backfill, active=status.active_run, lock=status.lock,
            report=last if last is not None and last.dry_run and status.active_run is None else None,
        )  # fmt: skip

    async def runs(self) -> LastRuns:
        """The newest runs."""
        return LastRuns(await self._runs())

    async def errors(self) -> ErrorGroups:
        """What went wrong, each kind once."""
        groups = await self._service.errors.groups(integration=self.key)
        return ErrorGroups(groups[:_MOST_ERRORS], max(len(groups) - _MOST_ERRORS, 0))

    async def schedule(self) -> SchedulePanel:
        """When it runs by itself."""
        status = await self.status()
        return SchedulePanel(
            schedule=await self._service.schedules.get(self.key),
            known=[entity.name for entity in self._integration.entities], lock=status.lock,
            last_tick=status.scheduler.last_tick_at, silent=await self._silent(),
        )  # fmt: skip

    async def limits(self) -> LimitsPanel:
        """How politely upstream is asked."""
        status = await self.status()
        return LimitsPanel(status.breaker, status.rate_limit, await self._service.limits.outlook(self.key))

    async def config(self) -> ConfigPanel:
        """How it is set up."""
        setup = await self._setup()
        return ConfigPanel(setup.settings, setup.warnings)

    async def alerts(self) -> AlertsPanel:
        """Where alerts go, and the last ones."""
        found = await self._service.alerts.list(limit=MOST_ALERTS)
        lines = (await self._service.preferences.setup()).settings
        line = next((line for line in lines if line.variable == _WEBHOOK), None)
        return AlertsPanel(found, line.value if line else "", line is not None and line.locked)

    async def letters(self) -> LettersPanel:
        """The newest open dead letters."""
        page = await self._service.views.dead_letters(limit=TOP_LETTERS)
        return LettersPanel(page.items, page.count)

    async def held(self) -> HeldPanel:
        """Deletions that wait for a decision."""
        found: dict[int, list[HeldDeletions]] = {}
        for one in await self._held():
            found.setdefault(one.run_id, []).append(one)
        return HeldPanel(found)


PARTS: Mapping[str, Callable[[Look], Awaitable[object]]] = {
    "acts": Look.acts, "glance": Look.glance, "troubles": Look.troubles, "card": Look.card, "run": Look.run,
    "runs": Look.runs, "errors": Look.errors, "schedule": Look.schedule, "limits": Look.limits, "config": Look.config,
    "alerts": Look.alerts, "letters": Look.letters, "held": Look.held,
}  # fmt: skip
"""The parts of the page, each under the name of its template and of its place on the page."""


def _state(status: Status) -> str:
    if not status.configured:
        return "idle"
    if status.breaker.state != "closed" or (status.active_run is not None and status.active_run.state == "waiting"):
        return "retrying"
    if broken := failing(status):
        return "failing" if len(broken) == len(status.entities) else "degraded"
    if last_success(status) is not None:
        return "ok"
    return "partial" if any(one.last_success for one in status.entities) else "new"


def _auth(status: Status, secret: SettingLine | None) -> str:
    if not status.configured:
        return "no API key"
    return {"environment": "API key from the environment"}.get(secret.source if secret else "", "API key stored here")
