"""What each part of the control center shows: one dataclass for the page and for its live update."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from keepstep.service.alerts import AlertList
from keepstep.service.errors_view import ErrorGroup
from keepstep.service.limits import BreakerView, Outlook, RateLimitView
from keepstep.service.schedules import ScheduleView
from keepstep.service.setup import Advice, SettingLine
from keepstep.service.shapes import DeadLetterSummary, HeldDeletions, RunSummary
from keepstep.service.status import ActiveRun, HealthView, LockView, SchedulerView
from keepstep.service.troubles import Severity, Trouble


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
