"""What the newest runs of each sync type took and came to."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from keepstep.service.report_cells import ERP, SHARED, TITLES, Cell
from keepstep.service.sync_types import SyncTypeView
from keepstep.store import report_board as store
from keepstep.store.db import Database

ROUNDS = 12
AS_OLD_AS = 5.0
"""Seconds for which they are not looked up again: they are of the last hours, and all who look share them."""


class Statistics:
    """Keeps them for a moment."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._turn = asyncio.Lock()
        self._rows: list[dict[str, Any]] = []
        self._until = float("-inf")

    async def rows(self) -> list[dict[str, Any]]:
        """As ``store.report_board.types`` gives them."""
        async with self._turn:
            now = asyncio.get_running_loop().time()
            if now >= self._until:
                async with self._database.connection() as connection:
                    self._rows = await store.types(connection, ERP, rounds=ROUNDS)
                self._until = now + AS_OLD_AS
            return self._rows


@dataclass(frozen=True, slots=True)
class Round:
    """What became of the runs of one interval, ``number`` intervals ago."""

    number: int
    good: int = 0
    failed: int = 0
    held: int = 0

    @property
    def runs(self) -> int:
        """How many there were."""
        return self.good + self.failed + self.held


@dataclass(frozen=True, slots=True)
class TypeLine:
    """One sync type: how it is set, how its reports do, what its newest runs took (seconds) and came to."""

    name: str
    setting: SyncTypeView
    cells: Sequence[Cell]
    rounds: Sequence[Round]
    good: int
    failed: int
    last_finished: datetime | None
    last_run: int | None
    took: float | None
    took_most: float | None

    @property
    def title(self) -> str:
        """Its name in words."""
        return TITLES.get(self.name, self.name)

    @property
    def shared(self) -> bool:
        """Whether all agents share one report."""
        return self.name in SHARED

    @property
    def counts(self) -> Counter[str]:
        """How many of its reports are in each state."""
        return Counter(cell.state.value for cell in self.cells)

    @property
    def running(self) -> int:
        """Runs under way."""
        return sum(cell.live_state == "running" for cell in self.cells)

    @property
    def queued(self) -> int:
        """Runs that wait for a worker, or for upstream."""
        return sum(cell.live_state in ("queued", "waiting") for cell in self.cells)

    @property
    def queued_since(self) -> datetime | None:
        """Since when the oldest waits for a worker."""
        return min(
            (cell.queued_at for cell in self.cells if cell.live_state == "queued" and cell.queued_at), default=None
        )

    @property
    def busiest(self) -> int:
        """The most runs of a round, at least one."""
        return max(1, *(one.runs for one in self.rounds))

    @property
    def last_state(self) -> str:
        """That of the run that ended last."""
        ended = [cell for cell in self.cells if cell.last_run == self.last_run and cell.last_state]
        return ended[0].last_state or "" if ended else ""


def type_line(name: str, setting: SyncTypeView, cells: Sequence[Cell], summed: Sequence[Mapping[str, Any]]) -> TypeLine:
    """One type, of all reports and of what ``Statistics`` gives."""
    of = [row for row in summed if row["type"] == name]
    whole = next((row for row in of if row["is_sum"]), {})
    rounds = {row["round"]: row for row in of if not row["is_sum"]}
    took = whole.get("took") or (None, None)
    return TypeLine(
        name=name,
        setting=setting,
        cells=[cell for cell in cells if cell.type == name],
        rounds=[_round(number, rounds.get(number)) for number in reversed(range(ROUNDS))],
        good=whole.get("good", 0) + whole.get("held", 0),
        failed=whole.get("failed", 0),
        last_finished=whole.get("last_finished"),
        last_run=whole.get("last_run"),
        took=took[0],
        took_most=took[1],
    )


def _round(number: int, row: Mapping[str, Any] | None) -> Round:
    return Round(number) if row is None else Round(number, row["good"], row["failed"], row["held"])
