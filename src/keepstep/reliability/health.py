"""How well a connection is: 100 less what counts against it, each deduction with its reason.

==================  ======  =====================================================================================
what                at most  how much
==================  ======  =====================================================================================
freshness               30  from twice the interval since the oldest entity's last success, all of it at ten times;
                            without a schedule from the alert's hours on, all of it at five times them
runs                    25  the share of failed ones among the last 20 that ended
requests                15  the share of failed ones in the last hour, all of it at one half
breaker                 15  open 15, half-open 10
held                    10  5 for each entity whose deletions wait for a person
dead letters            10  2 from the first, 5 from the tenth, 10 from the hundredth
credentials             40  when upstream refused them last
==================  ======  =====================================================================================
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

FULL = 100
_FRESHNESS, _RUNS, _REQUESTS, _HELD, _CREDENTIALS, _FAILING = 30, 25, 15, 10, 40, 60
_BREAKER = {"open": (15, "The breaker is open: nothing is asked of upstream."),
            "half-open": (10, "The breaker is half-open: one probe decides whether it closes.")}  # fmt: skip
_LETTERS = ((100, 10), (10, 5), (1, 2))


@dataclass(frozen=True, slots=True)
class Facts:
    """What the score is made of.

    ``interval``: None where no schedule is on. ``last_success``: of the entity that waits longest for one, None where
    one never had any. ``runs``: those that ended last, at most 20. ``requests`` and their failures: of the last hour.
    """

    now: datetime
    interval: timedelta | None
    stale_after: timedelta
    last_success: datetime | None
    runs: int = 0
    failed_runs: int = 0
    requests: int = 0
    failed_requests: int = 0
    breaker: str = "closed"
    held: int = 0
    open_letters: int = 0
    credentials_failing: bool = False


@dataclass(frozen=True, slots=True)
class Deduction:
    """Points taken off, and why."""

    points: int
    reason: str


@dataclass(frozen=True, slots=True)
class Health:
    """0 to 100, and what is missing from 100, the weightiest first. Deductions may come to more than 100."""

    score: int
    deductions: tuple[Deduction, ...]


def score(facts: Facts) -> Health:
    """The health of a connection."""
    found = [
        _freshness(facts),
        _share(_RUNS, facts.failed_runs, facts.runs, 1.0, "{failed} of the last {all} runs failed."),
        _share(_REQUESTS, facts.failed_requests, facts.requests, 0.5,
               "{failed} of {all} requests failed in the last hour."),
        Deduction(*_BREAKER.get(facts.breaker, (0, ""))),
        Deduction(min(5 * facts.held, _HELD), f"{_many(facts.held, 'entity has', 'entities have')} deletions that wait "
                                              "for a decision."),
        _letters(facts.open_letters),
        Deduction(_CREDENTIALS if facts.credentials_failing else 0, "Upstream refuses the credentials."),
    ]  # fmt: skip
    deductions = sorted((d for d in found if d.points > 0), key=lambda d: -d.points)
    return Health(max(FULL - sum(d.points for d in deductions), 0), tuple(deductions))


def of_owners(*, connections: int, refused: int, failing: int) -> Health:
    """The health of an integration that each owner has connected alone: the share of those who have trouble.

    ``connections``: those that were connected once; ``refused``: of them, those that upstream refuses; ``failing``:
    those whose last three runs or more failed.
    """
    found = (
        _share(_CREDENTIALS, refused, connections, 1.0, "{failed} of {all} accounts must be connected again."),
        _share(_FAILING, failing, connections, 1.0, "{failed} of {all} accounts fail again and again."),
    )
    deductions = sorted((d for d in found if d.points > 0), key=lambda d: -d.points)
    return Health(max(FULL - sum(d.points for d in deductions), 0), tuple(deductions))


def _freshness(facts: Facts) -> Deduction:
    if facts.last_success is None:
        return Deduction(_FRESHNESS, "Not every entity has been read successfully yet.")
    age = max(facts.now - facts.last_success, timedelta())
    allowed = facts.stale_after if facts.interval is None else 2 * facts.interval
    if age <= allowed:
        return Deduction(0, "")
    late = min((age / allowed - 1) / 4, 1.0)
    expected = "" if facts.interval is None else f"; every {_span(facts.interval)} is planned"
    return Deduction(max(round(_FRESHNESS * late), 1), f"The last success is {_span(age)} ago{expected}.")


def _share(most: int, failed: int, whole: int, worst: float, words: str) -> Deduction:
    if not failed or not whole:
        return Deduction(0, "")
    points = max(round(most * min(failed / whole / worst, 1.0)), 1)
    return Deduction(points, words.format(failed=f"{failed:,}", all=f"{whole:,}"))


def _letters(count: int) -> Deduction:
    points = next((points for least, points in _LETTERS if count >= least), 0)
    return Deduction(points, f"{_many(count, 'record', 'records')} could not be applied.")


def _many(count: int, one: str, more: str) -> str:
    return f"{count:,} {one if count == 1 else more}"


def _span(length: timedelta) -> str:
    """A length of time in its largest unit: ``3 h``."""
    seconds = length.total_seconds()
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
