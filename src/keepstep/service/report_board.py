"""What the page of the ERP shows: how each sync type is set and does, and how fresh each report of each agent is."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from keepstep.model.diagnosis import explained
from keepstep.model.errors import NotFound
from keepstep.reliability.freshness import Freshness
from keepstep.service.core import Service
from keepstep.service.report_cells import (
    ERP,
    SHARED,
    STATES,
    TITLES,
    AgentRow,
    Cell,
    agent_row,
    blank,
    cell_of,
    found_in,
)
from keepstep.service.report_statistics import Statistics, TypeLine, type_line
from keepstep.service.report_troubles import Held, Refused, Trouble, held_of, refused_of, troubles_of
from keepstep.service.sync_types import SyncTypeView
from keepstep.store import agents
from keepstep.store import report_board as store

AGENTS_SHOWN = 25
NEWEST = store.NEWEST
_HISTORY_SHOWN = 30
_DOCUMENTS_SHOWN = 6


@dataclass(frozen=True, slots=True)
class Board:
    """The page. ``there``: whether the ERP can be asked, with an address and credentials.

    ``rows``: those agents that are shown, of the ``matched`` ones that fit the filter, after the ``first``.
    """

    there: bool
    types: Sequence[TypeLine]
    shared: Sequence[Cell]
    rows: Sequence[AgentRow]
    agents: int
    off: int
    matched: int
    first: int
    counts: Mapping[str, int]
    troubles: Sequence[Trouble]
    refused: Sequence[Refused]
    held: Sequence[Held]

    @property
    def next(self) -> int | None:
        """How many to leave out for the rows that follow; None at the end."""
        end = self.first + len(self.rows)
        return end if end < self.matched else None

    @property
    def cells(self) -> int:
        """How many reports there are that are on."""
        return sum(count for state, count in self.counts.items() if state != "off")

    @property
    def queued(self) -> int:
        """Runs that wait for a worker or for upstream."""
        return sum(line.queued for line in self.types)

    @property
    def running(self) -> int:
        """Runs under way."""
        return sum(line.running for line in self.types)

    @property
    def queued_since(self) -> datetime | None:
        """Since when the oldest waits for a worker."""
        return min((line.queued_since for line in self.types if line.queued_since), default=None)

    @property
    def must_act(self) -> int:
        """How many things do not go away by themselves."""
        return sum(one.must_act for one in self.troubles) + self.open_refused + len(self.held)

    @property
    def open_refused(self) -> int:
        """Refused reports that nothing good has followed."""
        return sum(one.proven_at is None for one in self.refused)


@dataclass(frozen=True, slots=True)
class AgentList:
    """The list of agents, by their codes. ``rows``: those that are shown, ``first`` of the ``matched`` before them."""

    rows: Sequence[AgentRow]
    agents: int
    off: int
    matched: int
    first: int

    @property
    def next(self) -> int | None:
        """How many to leave out for the rows that follow; None at the end."""
        end = self.first + len(self.rows)
        return end if end < self.matched else None


@dataclass(frozen=True, slots=True)
class PastRun:
    """One run in the history of a report. ``rows`` came, ``changed`` were inserted, updated or deleted."""

    id: int
    state: str
    trigger: str
    began: datetime
    finished_at: datetime | None
    took: float | None
    rows: int
    changed: int
    error: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class CellView:
    """One report of one agent with its past. ``enabled``: whether the agent is on.

    ``documents``: what came last, newest first.
    """

    cell: Cell
    name: str
    enabled: bool
    setting: SyncTypeView
    runs: Sequence[PastRun]
    documents: Sequence[Mapping[str, Any]]

    @property
    def longest(self) -> float:
        """What the longest of the runs took, in seconds."""
        return max((run.took for run in self.runs if run.took), default=1.0)


async def board(
    service: Service, statistics: Statistics, *, search: str = "", state: str = "", first: int = 0
) -> Board:
    """Everything that the page shows, its agents the worst first, from the ``first`` on."""
    settings = await service.sync_types.all()
    async with service.database.connection() as connection:
        rows = await store.cells(connection, ERP)
        known = await store.agents(connection, ERP)
        refused = refused_of(await store.refused(connection, ERP))
        held = held_of(await store.held(connection, ERP))
        there = await agents.is_ready(connection)
    summed = await statistics.rows()
    found = found_in(rows)
    listed = [agent_row(row, found, settings) for row in known]
    shared = [found.get((name, ""), blank(name, "", settings)) for name in SHARED]
    everything = [*shared, *(cell for agent in listed for cell in agent.cells)]
    matched = sorted((row for row in listed if _fits(row, search, state)), key=lambda row: row.weight)
    counts = Counter(_group(cell.state) for cell in everything)
    return Board(
        there=there,
        types=[type_line(name, settings[name], everything, summed) for name in TITLES if name in settings],
        shared=shared,
        rows=matched[first : first + AGENTS_SHOWN],
        agents=len(listed),
        off=sum(not agent.enabled for agent in listed),
        matched=len(matched),
        first=first,
        counts={name: counts[name] for name in STATES},
        troubles=troubles_of(everything),
        refused=refused,
        held=held,
    )


async def agent_list(service: Service, *, search: str = "", state: str = "", first: int = 0) -> AgentList:
    """The agents whose code or name has ``search`` in it. ``state``: ``on`` or ``off``, or all of them."""
    settings = await service.sync_types.all()
    async with service.database.connection() as connection:
        rows = await store.cells(connection, ERP)
        known = await store.agents(connection, ERP)
    found = found_in(rows)
    listed = [agent_row(row, found, settings) for row in known]
    matched = [one for one in listed if _fits(one, search, "") and state in ("", "on" if one.enabled else "off")]
    off = sum(not one.enabled for one in listed)
    return AgentList(matched[first : first + AGENTS_SHOWN], len(listed), off, len(matched), first)


async def cell_view(service: Service, report: str, agent: str) -> CellView:
    """One report of one agent. Raises ``NotFound``."""
    settings = await service.sync_types.all()
    if report not in settings or (report in SHARED) != (not agent):
        raise NotFound(f"There is no report {report[:40]} of {agent[:40] or 'all'}.", fix="Choose one on the page.")
    async with service.database.connection() as connection:
        rows = await store.cells(connection, ERP)
        known = {row["code"]: row for row in await store.agents(connection, ERP)}
        runs = await store.history(connection, ERP, report, agent, limit=_HISTORY_SHOWN)
        documents = await store.documents(connection, ERP, report, agent, limit=_DOCUMENTS_SHOWN)
    if agent and agent not in known:
        raise NotFound(f"There is no agent {agent[:40]}.", fix="Add it on the agents' page.")
    now = datetime.now(UTC)
    of = [row for row in rows if row["type"] == report and (row["agent"] or "") == agent]
    is_on = not agent or known[agent]["enabled"]
    return CellView(
        cell=cell_of(of[0], now) if of else blank(report, agent, settings, enabled=is_on),
        name=known[agent]["name"] if agent else "",
        enabled=is_on,
        setting=settings[report],
        runs=[_past(row) for row in runs],
        documents=documents,
    )


def _group(state: Freshness) -> str:
    return next(name for name, states in STATES.items() if state in states)


def _fits(row: AgentRow, search: str, state: str) -> bool:
    if search and search.casefold() not in f"{row.code} {row.name}".casefold():
        return False
    return not state or any(cell.state in STATES[state] for cell in row.cells)


def _past(row: Mapping[str, Any]) -> PastRun:
    failed = row["state"] in ("failed", "crashed", "waiting")
    return PastRun(
        id=row["id"], state=row["state"], trigger=row["trigger"], began=row["started_at"] or row["queued_at"],
        finished_at=row["finished_at"], took=row["took"], rows=row["rows"], changed=row["changed"],
        error=explained(row["error"]) if failed and row["error"] else None,
    )  # fmt: skip
