"""What is wrong with reports: failures told once for all whom they hit, refused documents, and deletions that wait."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from keepstep.model.diagnosis import explained
from keepstep.reliability.freshness import Freshness

_NAMED = 8
"""So many reports are named of a trouble; the others are counted."""


class Failing(Protocol):
    """A report as its cell shows it."""

    @property
    def state(self) -> Freshness: ...
    @property
    def failures(self) -> int: ...
    @property
    def error(self) -> dict[str, Any] | None: ...
    @property
    def last_finished(self) -> datetime | None: ...


@dataclass(frozen=True, slots=True)
class Trouble:
    """One fault and the reports that it hits. ``must_act``: it has come too often to go away by itself.

    ``cells``: some of them, those with the most failures first, of ``count``. ``example`` is the newest message.
    """

    code: str
    title: str
    example: str
    fix: str
    impact: str
    must_act: bool
    count: int
    newest: datetime | None
    cells: Sequence[Any]


@dataclass(frozen=True, slots=True)
class Refused:
    """The newest refused document of a report and an agent. ``kept``: how many refused ones there are.

    ``proven_at``: when a good one came after it.
    """

    id: int
    report: str
    agent: str
    title: str
    message: str
    page: int | None
    row: int | None
    first_seen: datetime
    last_seen: datetime
    times: int
    kept: int
    size: int
    proven_at: datetime | None


@dataclass(frozen=True, slots=True)
class Held:
    """Deletions of a report that wait for a decision."""

    run_id: int
    type: str
    agent: str
    live_rows: int
    delete_rows: int
    created_at: datetime

    @property
    def percent(self) -> int:
        """Of the live rows."""
        return round(100 * self.delete_rows / self.live_rows)


def troubles_of(cells: Iterable[Failing]) -> list[Trouble]:
    """Failures by their fault, the worst first: one word of an ERP that is away, and not one for each agent."""
    by_code: dict[str, list[Failing]] = {}
    for cell in cells:
        if cell.state in (Freshness.FAILING, Freshness.RETRYING):
            by_code.setdefault(str((cell.error or {}).get("code") or "unknown"), []).append(cell)
    troubles = [_trouble(code, hit) for code, hit in by_code.items()]
    return sorted(troubles, key=lambda one: (not one.must_act, -one.count, one.code))


def _trouble(code: str, hit: Sequence[Failing]) -> Trouble:
    newest = max(hit, key=lambda cell: cell.last_finished.timestamp() if cell.last_finished else 0.0)
    error = newest.error or {}
    return Trouble(
        code=code,
        title=error.get("title") or "The run did not end well",
        example=error.get("message") or "It does not say why.",
        fix=error.get("fix") or "",
        impact=error.get("impact") or "",
        must_act=any(cell.state is Freshness.FAILING for cell in hit),
        count=len(hit),
        newest=newest.last_finished,
        cells=sorted(hit, key=lambda cell: -cell.failures)[:_NAMED],
    )


def refused_of(rows: Sequence[Mapping[str, Any]]) -> list[Refused]:
    """Refused documents as they are told."""
    same = ("id", "report", "agent", "page", "row", "first_seen", "last_seen", "times", "kept", "size", "proven_at")
    told = [(row, explained(row["error"])) for row in rows]
    return [
        Refused(
            **{name: row[name] for name in same},
            title=error.get("title") or "The report is refused",
            message=error.get("message") or "",
        )
        for row, error in told
    ]


def held_of(rows: Sequence[Mapping[str, Any]]) -> list[Held]:
    """Held deletions as they are told."""
    same = ("run_id", "type", "live_rows", "delete_rows", "created_at")
    return [Held(**{name: row[name] for name in same}, agent=row["agent"] or "") for row in rows]
