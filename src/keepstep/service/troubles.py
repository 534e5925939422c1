"""What is wrong, as sentences for people: facts go in, troubles come out, the worst first."""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from keepstep.model.diagnosis import TABLE, fault_of
from keepstep.service.readiness import Readiness
from keepstep.service.setup import Advice
from keepstep.service.shapes import HeldDeletions, RunSummary
from keepstep.service.status import EntityStatus, Status

_TOLD = frozenset({
    "breaker-open", "no-success", "deletions-held", "source-emptied", "poison-records", "scheduler-silent",
    "worker-missing", "key-missing", "setting-odd",
})  # fmt: skip
"""Problems of the status that are told from closer facts here."""
_PASSING = frozenset({
    "upstream-failed", "upstream-slow", "transient", "answer-timeout", "answer-cut-off", "connection-broken",
    "connection-refused", "connect-timeout", "dns-failed", "no-route", "proxy-failed", "rate-limited",
    "rate-limited-minute", "rate-limited-hour", "database-busy",
})  # fmt: skip
"""What often goes by itself, and is asked again."""
_PLACES = {"webhook-refused": "alerts", "webhook-malformed": "alerts"}
MANY_LETTERS = 10
"""So many dead letters are no single odd records any more."""


class Severity(StrEnum):
    """Who must do something: ``act`` you, ``retrying`` nobody yet, ``note`` you, when there is time."""

    ACT = "act"
    RETRYING = "retrying"
    NOTE = "note"


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that is wrong. ``until``: when Keepstep tries again; ``run_id``: the run that shows more;
    ``place``: the part of the page that does.
    """

    severity: Severity
    title: str
    detail: str = ""
    fix: str = ""
    place: str = ""
    run_id: int | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What troubles are made of. ``runs``: newest first."""

    now: datetime
    title: str
    status: Status
    readiness: Readiness
    runs: Sequence[RunSummary]
    held: Sequence[HeldDeletions]
    warnings: Sequence[Advice]
    stale_after: timedelta


def troubles(facts: Facts) -> list[Trouble]:
    """Everything that is wrong."""
    found = [*_machinery(facts), *_failures(facts), *_waits(facts), *_decisions(facts)]
    found += [
        *_others(facts, {trouble.detail for trouble in found} | {advice.message for advice in facts.warnings}),
        *_setup(facts),
    ]
    order = list(Severity)
    return sorted(found, key=lambda trouble: order.index(trouble.severity))


def failing(status: Status) -> list[EntityStatus]:
    """The entities whose last reading failed."""
    return [
        one
        for one in status.entities
        if one.last_failure is not None and (one.last_success is None or one.last_failure > one.last_success)
    ]


def last_success(status: Status) -> datetime | None:
    """Since when everything that the schedule names has been in step: None while some entity never was."""
    moments = [one.last_success for one in status.entities if one.entity in status.scheduler.entities]
    known = [moment for moment in moments if moment is not None]
    return min(known) if known and len(known) == len(moments) else None


def _machinery(facts: Facts) -> Iterator[Trouble]:
    for check in facts.readiness.checks:
        if not check.ok:
            yield Trouble(Severity.ACT, check.message.rstrip("."), fix=check.fix or "", place="schedule")


def _failures(facts: Facts) -> Iterator[Trouble]:
    """What the newest run that failed says, if it says it of something that has not gone well since."""
    broken = failing(facts.status)
    if not broken:
        return
    for run in facts.runs:
        if run.result in ("failed", "crashed") and not run.dry_run:
            names = [one.entity for one in broken if one.entity in run.entity.split(",")]
            if names:
                yield _failure(facts, run, names)
            return


def _failure(facts: Facts, run: RunSummary, names: list[str]) -> Trouble:
    error = _error(run, names)
    fault = fault_of(error) if error else TABLE["run-crashed"]
    what = fault.title if fault else "A run failed"
    return Trouble(
        Severity.ACT, f"{facts.title}, {_named(names)}: {what[:1].lower()}{what[1:]}", str(error.get("message") or ""),
        str(error.get("fix") or ""), "runs", run_id=run.run_id,
    )  # fmt: skip


def _error(run: RunSummary, names: Sequence[str]) -> dict[str, Any]:
    return next((one.error for one in run.entities if one.error and one.entity in names), None) or run.error or {}


def _waits(facts: Facts) -> Iterator[Trouble]:
    breaker, active = facts.status.breaker, facts.status.active_run
    if breaker.state != "closed":
        words = f"{breaker.failures} requests failed in a row, so none is sent for now."
        half = breaker.state == "half-open"
        yield Trouble(
            Severity.RETRYING, f"The breaker of {facts.title} is {breaker.state}",
            "One request is let through to try." if half else words, place="limits",
            until=None if half else breaker.reopens_at,
        )  # fmt: skip
    elif active is not None and active.state == "waiting":
        run = next((run for run in facts.runs if run.run_id == active.run_id), None)
        detail = str((run.error or {}).get("message") or "") if run else ""
        yield Trouble(
            Severity.RETRYING, f"Run {active.run_id} waits for {facts.title}", detail, place="run",
            run_id=active.run_id, until=active.due_at,
        )  # fmt: skip
    since = last_success(facts.status)
    is_late = since is not None and facts.now - since > facts.stale_after
    if is_late and facts.status.configured and not failing(facts.status):
        hours = facts.stale_after.total_seconds() / 3600
        fix = (
            "Start a run, or turn the schedule on." if not facts.status.scheduler.enabled else "Look at the last runs."
        )
        yield Trouble(Severity.ACT, f"No successful run for more than {hours:g} hours", fix=fix, place="schedule")


def _decisions(facts: Facts) -> Iterator[Trouble]:
    for one in facts.held:
        yield Trouble(
            Severity.ACT, f"{one.delete_rows:,} deletions of {one.entity} wait for your decision",
            f"That is {one.percent:g} % of its {one.live_rows:,} rows. Run {one.run_id} holds them.",
            "Approve them, or discard them and keep the rows.", "held", run_id=one.run_id,
        )  # fmt: skip
    if count := facts.status.dlq.open:
        words = "1 record could not be applied" if count == 1 else f"{count:,} records could not be applied"
        severity = Severity.ACT if count >= MANY_LETTERS else Severity.NOTE
        fix = "Mend the records upstream, requeue them, or discard them."
        yield Trouble(severity, words, "The other records are in.", fix, "letters")


def _others(facts: Facts, told: Collection[str]) -> Iterator[Trouble]:
    """What else stands against the connection: a ping that failed, alerts that reach nobody, a disk that fills up."""
    of_runs = {problem.code for problem in facts.status.problems if problem.entity}
    for problem in facts.status.problems:
        known = problem.code in _TOLD or problem.message in told or (problem.entity is None and problem.code in of_runs)
        if known or problem.severity == "info":
            continue
        title = f"{problem.title[:1].lower()}{problem.title[1:]}"
        about = facts.title if problem.entity is None else f"{facts.title}, {problem.entity}"
        severity = Severity.ACT if problem.severity == "error" else Severity.NOTE
        if problem.code in _PASSING:
            severity = Severity.RETRYING
        yield Trouble(
            severity, f"{about}: {title}" if problem.connection else problem.title, problem.message, problem.fix,
            "health" if problem.connection else _PLACES.get(problem.code, ""),
        )  # fmt: skip


def _setup(facts: Facts) -> Iterator[Trouble]:
    if not facts.status.configured:
        words = f"{facts.title} is not connected: it has no API key"
        yield Trouble(
            Severity.NOTE, words, "It stays idle.", f"Set {facts.status.integration.upper()}_API_KEY.", "config"
        )
    for advice in facts.warnings:
        yield Trouble(Severity.NOTE, advice.message.rstrip("."), fix=advice.fix, place="config")


def _named(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def utc_now() -> datetime:
    """Now."""
    return datetime.now(UTC)
