"""What is worth an alert. Pure: facts and a clock in, findings out; an alert is open for as long as its finding stands.

===============  ========  =============================================================================================
rule             severity  when
===============  ========  =============================================================================================
connectivity     critical  the last three pings failed, or the last run ended because the credentials were refused
stale            critical  a connection that is to be synced had no successful run for ``stale_after``
breaker          warning   the circuit breaker is open
nightly          warning   the nightly full run failed, or was not begun an hour after its time
held             warning   deletions wait for a person
dead-letters     warning   more dead letters are open than the threshold
scheduler        critical  nobody has looked for due schedules for five minutes
===============  ========  =============================================================================================
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

NIGHTLY_PATIENCE = timedelta(hours=1)
SILENCE = timedelta(minutes=5)
PINGS = 3
_NOTHING_WRONG = "What was read stays as it is; it only grows older."


@dataclass(frozen=True, slots=True)
class Thresholds:
    """What people may set. ``stale_after``: see KEEPSTEP_STALE_AFTER_HOURS; ``dead_letters``: more than so many."""

    stale_after: timedelta = timedelta(hours=12)
    dead_letters: int = 100


@dataclass(frozen=True, slots=True)
class Facts:
    """One connection as it is. ``pings``: the last states, newest first. A member is None where there is no such thing.

    ``last_*``: of the last run that ended and was not stopped. ``nightly_*``: of the last nightly run after which no
    full run succeeded. ``nightly_missed_at``: when the full run that nobody has begun was due.
    """

    connection_id: int
    name: str
    integration: str
    created_at: datetime
    scheduled: bool
    last_state: str | None = None
    last_code: str | None = None
    last_message: str | None = None
    last_fix: str | None = None
    last_finished_at: datetime | None = None
    last_success: datetime | None = None
    nightly_state: str | None = None
    nightly_at: datetime | None = None
    nightly_message: str | None = None
    nightly_missed_at: datetime | None = None
    held: Sequence[str] = ()
    held_rows: int = 0
    held_since: datetime | None = None
    open_letters: int = 0
    letters_since: datetime | None = None
    breaker_opened_at: datetime | None = None
    breaker_failures: int = 0
    pings: Sequence[str] = ()
    ping_reason: str = ""
    pings_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that somebody must look at. ``connection_id`` is None where it concerns the whole service.

    ``title`` begins with the connection's name; ``detail`` says what happened, ``impact`` what it means for the data,
    ``fix`` what to do. All are plain sentences without secrets.
    """

    rule: str
    connection_id: int | None
    severity: str
    title: str
    detail: str
    impact: str
    fix: str
    since: datetime


def findings(known: Iterable[Facts], thresholds: Thresholds, now: datetime) -> list[Finding]:
    """What stands against each connection now."""
    return [
        finding
        for facts in known
        for finding in (
            _connectivity(facts), _stale(facts, thresholds, now), _breaker(facts), _nightly(facts), _held(facts),
            _dead_letters(facts, thresholds),
        )
        if finding is not None
    ]  # fmt: skip


def scheduler(tick: datetime | None, now: datetime, *, scheduled: bool) -> Finding | None:
    """The dead-man's switch."""
    if not scheduled or tick is None or now - tick <= SILENCE:
        return None
    return Finding(
        "scheduler", None, "critical", "The scheduler is silent",
        f"Nobody has looked for due schedules since {_moment(tick)}.",
        "No scheduled run begins; the tables grow older.",
        "See whether keepstep up or keepstep worker runs, and what its log says; keepstep doctor names what is wrong.",
        tick,
    )  # fmt: skip


def _connectivity(facts: Facts) -> Finding | None:
    if facts.last_state == "failed" and facts.last_code in ("auth-failed", "needs-reconnect"):
        return _finding(
            facts, "connectivity", "critical", "the credentials are refused", facts.last_message or "Upstream refused.",
            _NOTHING_WRONG, facts.last_fix or "Give Keepstep new credentials.", facts.last_finished_at,
        )  # fmt: skip
    if len(facts.pings) >= PINGS and set(facts.pings[:PINGS]) == {"failing"}:
        return _finding(
            facts, "connectivity", "critical", "does not answer", f"The last {PINGS} pings failed. {facts.ping_reason}",
            _NOTHING_WRONG, f"Run keepstep ping {facts.integration}: it says what is wrong and what to do.",
            facts.pings_since,
        )  # fmt: skip
    return None


def _stale(facts: Facts, thresholds: Thresholds, now: datetime) -> Finding | None:
    since = facts.last_success or facts.created_at
    if not facts.scheduled or now - since <= thresholds.stale_after:
        return None
    hours = thresholds.stale_after / timedelta(hours=1)
    last = f"The last success was {_moment(facts.last_success)}." if facts.last_success else "There never was one."
    failing = facts.last_state in ("failed", "crashed")
    why = f" Still failing: {facts.last_message}" if failing and facts.last_message else ""
    return _finding(
        facts, "stale", "critical", f"still no successful run after {hours:g} h" if failing
        else f"no successful run for {hours:g} h", last + why,
        f"The tables show {facts.name} as it was then.",
        (facts.last_fix if failing else "") or "Look at the last runs: keepstep runs, and keepstep doctor.", since,
    )  # fmt: skip


def _breaker(facts: Facts) -> Finding | None:
    if facts.breaker_opened_at is None:
        return None
    return _finding(
        facts, "breaker", "warning", "the circuit breaker is open",
        f"{facts.breaker_failures} requests in a row failed, so none is sent for a while. {facts.last_message or ''}",
        _NOTHING_WRONG,
        "Nothing, if upstream has an outage: one probe closes it when upstream is well again. Otherwise see the error.",
        facts.breaker_opened_at,
    )  # fmt: skip


def _nightly(facts: Facts) -> Finding | None:
    impact = "Rows that were deleted upstream are still in the tables."
    if facts.nightly_missed_at is not None:
        return _finding(
            facts, "nightly", "warning", "the nightly full run was missed",
            f"It was due {_moment(facts.nightly_missed_at)} and has not begun.", impact,
            "See whether a worker runs, and whether another run of the connection goes on and on: keepstep status.",
            facts.nightly_missed_at,
        )  # fmt: skip
    if facts.nightly_state in ("failed", "crashed"):
        return _finding(
            facts, "nightly", "warning", "the nightly full run failed",
            facts.nightly_message or "Its worker died.", impact,
            f"Mend what it says, then: keepstep run {facts.integration} --mode backfill.", facts.nightly_at,
        )  # fmt: skip
    return None


def _held(facts: Facts) -> Finding | None:
    if not facts.held:
        return None
    return _finding(
        facts, "held", "warning", "deletions wait for a decision",
        f"A full run no longer saw {facts.held_rows:,} rows of {', '.join(facts.held)}: more than the drop "
        "guard allows.",
        "These rows stay as they are until somebody decides; everything else is up to date.",
        "Look at the sample, then approve or discard: on the page, or keepstep held list.", facts.held_since,
    )  # fmt: skip


def _dead_letters(facts: Facts, thresholds: Thresholds) -> Finding | None:
    if facts.open_letters <= thresholds.dead_letters:
        return None
    return _finding(
        facts, "dead-letters", "warning", "many records cannot be applied",
        f"{facts.open_letters:,} dead letters are open, more than {thresholds.dead_letters:,}.",
        "These records are missing from the tables, or stand there as they were before.",
        "keepstep dlq list names the reasons; requeue them once the cause is mended.", facts.letters_since,
    )  # fmt: skip


def _finding(
    facts: Facts, rule: str, severity: str, what: str, detail: str, impact: str, fix: str, since: datetime | None
) -> Finding:
    return Finding(
        rule, facts.connection_id, severity, f"{facts.name}: {what}", detail.strip(), impact, fix,
        since or facts.created_at,
    )  # fmt: skip


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


@dataclass(frozen=True, slots=True)
class Decision:
    """What has begun or goes on, and which open alerts have ended (their ids)."""

    standing: tuple[Finding, ...]
    ended: tuple[int, ...]


def decide(found: Sequence[Finding], open_alerts: Iterable[tuple[int, int | None, str]]) -> Decision:
    """Compare what stands with the open alerts, each of which is its id, connection and rule."""
    standing = {(finding.connection_id, finding.rule) for finding in found}
    ended = tuple(number for number, connection, rule in open_alerts if (connection, rule) not in standing)
    return Decision(tuple(found), ended)


@dataclass(frozen=True, slots=True)
class QuietHours:
    """Hours of the UTC day in which only critical alerts are told. ``start`` may lie behind ``end``: over midnight."""

    start: int
    end: int

    def holds(self, now: datetime) -> bool:
        """Whether it is quiet now."""
        if self.start == self.end:
            return False
        if self.start < self.end:
            return self.start <= now.hour < self.end
        return now.hour >= self.start or now.hour < self.end


def grouped(alerts: Iterable[dict[str, object]]) -> Iterator[tuple[str, str, list[dict[str, object]]]]:
    """Alerts that one message tells of: those of one rule that begin, end or go on."""
    groups: dict[tuple[str, str], list[dict[str, object]]] = {}
    for alert in alerts:
        groups.setdefault((str(alert["kind"]), str(alert["rule"])), []).append(alert)
    for (kind, rule), members in groups.items():
        yield kind, rule, members
