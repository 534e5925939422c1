"""One report of one agent, by its newest runs: how fresh it is, what failed, when it comes again."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from keepstep.model.diagnosis import explained
from keepstep.reliability.freshness import Freshness, Reading, freshness
from keepstep.service.sync_types import SyncTypeView

ERP = "erp"
PER_AGENT = ("orders", "customers", "ddt", "invoices")
SHARED = ("products", "prices")
TITLES: Mapping[str, str] = {
    "orders": "Orders", "customers": "Customers", "ddt": "DDT", "invoices": "Invoices", "products": "Products",
    "prices": "Prices",
}  # fmt: skip
STATES: Mapping[str, tuple[Freshness, ...]] = {
    "failing": (Freshness.FAILING, Freshness.RETRYING), "held": (Freshness.HELD,), "late": (Freshness.LATE,),
    "never": (Freshness.NEVER,), "fresh": (Freshness.FRESH,), "off": (Freshness.OFF,),
}  # fmt: skip
"""What the matrix is filtered by."""


@dataclass(frozen=True, slots=True)
class Cell:
    """One report of one agent (empty: the shared one). ``last_*``: of the last run that ended by itself."""

    type: str
    agent: str
    state: Freshness
    interval: timedelta
    last_success: datetime | None = None
    last_run: int | None = None
    last_state: str | None = None
    last_finished: datetime | None = None
    last_took: float | None = None
    next_at: datetime | None = None
    live_run: int | None = None
    live_state: str | None = None
    queued_at: datetime | None = None
    failures: int = 0
    error: dict[str, Any] | None = None
    held_run: int | None = None

    @property
    def title(self) -> str:
        """What it is, in words."""
        whose = f" of {self.agent}" if self.agent else ""
        return f"{TITLES.get(self.type, self.type)}{whose}"

    @property
    def since(self) -> datetime | None:
        """The moment that goes with the state: of the last failure where it fails, else of the last success."""
        fails = self.state in STATES["failing"] or self.state is Freshness.HELD
        return self.last_finished if fails else self.last_success


@dataclass(frozen=True, slots=True)
class AgentRow:
    """One agent of the list. ``state``: that of their connection, ``reason`` why it is not connected.

    ``own_credentials``: it signs in with credentials of the agent's. ``cells``: in the order of ``PER_AGENT``.
    """

    code: str
    name: str
    enabled: bool
    state: str
    reason: str | None
    own_credentials: bool
    updated_at: datetime
    updated_by: str
    cells: Sequence[Cell]

    @property
    def counts(self) -> Counter[str]:
        """How many of its reports are in each state."""
        return Counter(cell.state.value for cell in self.cells)

    @property
    def weight(self) -> tuple[object, ...]:
        """For sorting, the worst first: the worst cell, then how many are bad, then how long."""
        states = [cell.state for cell in self.cells]
        longest = min((cell.last_success.timestamp() for cell in self.cells if cell.last_success), default=0.0)
        worst = min((state.weight for state in states), default=Freshness.OFF.weight)
        bad = sum(state.is_bad for state in states)
        return (worst, -bad, longest if bad else 0.0, self.code)


def found_in(rows: Sequence[Mapping[str, Any]]) -> dict[tuple[str, str], Cell]:
    """The reports of rows as ``store.report_board.cells`` gives them, by type and agent."""
    now = datetime.now(UTC)
    return {(cell.type, cell.agent): cell for cell in (cell_of(row, now) for row in rows)}


def cell_of(row: Mapping[str, Any], now: datetime) -> Cell:
    """One of them."""
    interval = timedelta(seconds=row["interval_seconds"])
    reading = Reading(
        enabled=row["enabled"] and row["connection_state"] == "connected", interval=interval,
        last_success=row["last_success"], failures=row["failures"], held=row["held_run"] is not None,
    )  # fmt: skip
    same = ("type", "last_success", "last_run", "last_state", "last_finished", "last_took", "live_run", "live_state",
            "queued_at", "failures", "held_run")  # fmt: skip
    return Cell(
        **{name: row[name] for name in same}, agent=row["agent"] or "", state=freshness(reading, now),
        interval=interval, next_at=row["due_at"], error=None if row["error"] is None else explained(row["error"]),
    )  # fmt: skip


def blank(report: str, agent: str, settings: Mapping[str, SyncTypeView], *, enabled: bool = True) -> Cell:
    """A report that has no schedule yet."""
    setting = settings.get(report)
    on = enabled and (setting is None or setting.enabled)
    state = Freshness.NEVER if on else Freshness.OFF
    return Cell(report, agent, state, timedelta(minutes=setting.interval_minutes if setting else 0))


def agent_row(
    row: Mapping[str, Any], found: Mapping[tuple[str, str], Cell], settings: Mapping[str, SyncTypeView]
) -> AgentRow:
    """An agent with its reports, those that have no schedule yet among them."""
    code, enabled = row["code"], row["enabled"]
    cells = [found.get((name, code)) or blank(name, code, settings, enabled=enabled) for name in PER_AGENT]
    same = ("code", "name", "enabled", "state", "reason", "own_credentials", "updated_at", "updated_by")
    return AgentRow(**{name: row[name] for name in same}, cells=cells)
