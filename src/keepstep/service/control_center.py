"""What the control center asks: a look at one integration gives each part of the page as its dataclass."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from keepstep.integrations.registry import Registered
from keepstep.model.schedule import EVERYTHING, SHARED, Scope
from keepstep.service.control_parts import (
    Acts,
    AlertsPanel,
    Card,
    Cards,
    ConfigPanel,
    ErrorGroups,
    Glance,
    HeldPanel,
    LastRuns,
    LettersPanel,
    LimitsPanel,
    RunPanel,
    SchedulePanel,
    Troubles,
)
from keepstep.service.core import Service
from keepstep.service.readiness import Lookout, Readiness
from keepstep.service.scope import current, within
from keepstep.service.setup import SettingLine, Setup
from keepstep.service.shapes import HeldDeletions, RunSummary
from keepstep.service.status import Status
from keepstep.service.troubles import Facts, failing, last_success, troubles, utc_now

LISTED = 20
TOP_LETTERS = 10
MOST_ALERTS = 5
_MOST_ERRORS = 12
_FRESH, _SHARED = 5.0, 0.5
_WORST_FIRST = ("failing", "degraded", "retrying", "partial", "new", "ok", "idle")
_WEBHOOK = "INTEGRATIONS_TEAMS_WEBHOOK"


class ControlCenter:
    """Answers what the page asks. Nothing is read before somebody looks."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self._lookout = Lookout(service.database)
        self._cards: dict[tuple[str, Scope], tuple[Card, float]] = {}
        self._looks: dict[tuple[str, Scope], Look] = {}

    def integrations(self) -> list[tuple[str, str]]:
        """The key and the title of each integration."""
        return [(key, one.title) for key, one in self.service.inspection.shared.items()]

    def look(self, key: str, *, seen: int | None = None) -> "Look":
        """A look at one integration. Raises ``NotFound``.

        ``seen``: the newest event that the caller has heard of. Pages that hear of the same event share a look which
        was begun after it, for a moment; without it the look is the caller's own.
        """
        scope = _scope()
        known = self._looks.get((key, scope))
        if seen is not None and known is not None and known.seen >= seen and known.age < _SHARED:
            return known
        look = Look(self, self._lookout, self.service.inspection.known(key), seen or 0, scope)
        if seen is not None:
            self._looks[key, scope] = look
        return look

    async def others(self, key: str) -> list[Card]:
        """The cards of the other integrations, the worst first; each at most some seconds old."""
        found = [await self._recent(other) for other in self.service.inspection.shared if other != key]
        return sorted(found, key=lambda card: _WORST_FIRST.index(card.state))

    async def _recent(self, key: str) -> Card:
        place = (key, _scope())
        known = self._cards.get(place)
        if known is None or time.monotonic() - known[1] > _FRESH:
            known = self._cards[place] = (await self.look(key).own_card(), time.monotonic())
        return known[0]


def _scope() -> Scope:
    """What a look shows: everything to an administrator, to everybody else what is shared."""
    return EVERYTHING if current().everything else SHARED


class Look:
    """One look at one integration: what two parts need is read once, so that they agree with each other.

    ``seen``: an event that was there before it.
    """

    def __init__(
        self, center: ControlCenter, lookout: Lookout, integration: Registered, seen: int, scope: Scope
    ) -> None:
        self.seen = seen
        self._begun = time.monotonic()
        self._center = center
        self._service = center.service
        self._lookout = lookout
        self._integration = integration
        self._read: dict[str, asyncio.Future[Any]] = {}
        self._scope = scope

    @property
    def age(self) -> float:
        """Seconds since it was begun."""
        return time.monotonic() - self._begun

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
        part = PARTS[name]
        return await self._once(f"part {name}", lambda: part(self))

    async def _once(self, name: str, read: Callable[[], Awaitable[Any]]) -> Any:
        if name not in self._read:
            with within(self._scope):  # a look is shared: it shows nobody what belongs to another one
                self._read[name] = asyncio.ensure_future(read())
        return await asyncio.shield(self._read[name])  # one who leaves does not take it from the others

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
    if status.ping is not None and any(status.ping.code == one.code for one in status.problems):
        return "degraded"
    if last_success(status) is not None:
        return "ok"
    return "partial" if any(one.last_success for one in status.entities) else "new"


def _auth(status: Status, secret: SettingLine | None) -> str:
    if not status.configured:
        return "no API key"
    return {"environment": "API key from the environment"}.get(secret.source if secret else "", "API key stored here")
