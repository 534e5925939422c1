"""What is wrong with a connection, worst first: facts go in, problems in the words of the table come out."""

import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from keepstep.model.diagnosis import TABLE, docs_of, fault_of, said, weight
from keepstep.model.faults import Severity
from keepstep.service import doctor
from keepstep.service.limits import BreakerView
from keepstep.service.readiness import SILENCE, silent_scheduler
from keepstep.service.settings import Preferences
from keepstep.service.shapes import Absent, Shape
from keepstep.service.vault import Credentials
from keepstep.store import troubles as store
from keepstep.store import vitals
from keepstep.store.db import Database
from keepstep.store.pings import PingStanding
from keepstep.store.status import Standing


class Problem(Shape):
    """One thing that is wrong. ``message`` says it with its facts, ``impact`` what it means for the data.

    ``since``: null where nobody knows. Without ``entity`` it concerns the whole connection, without ``connection``
    Keepstep as a whole.
    """

    code: str
    severity: Severity
    title: str
    message: str
    since: datetime | None
    impact: str
    fix: str
    docs: str
    entity: Annotated[str | None, Absent] = None
    connection: Annotated[str | None, Absent] = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of a connection and of the processes. ``clock_ahead``: the database's clock against this one's."""

    connection: str
    standing: Standing
    breaker: BreakerView
    marks: store.Marks
    life: doctor.Life
    unreadable: tuple[str, ...] = ()
    webhook: str = ""
    clock_ahead: float = 0.0
    home: Path | None = None
    free: int | None = None


def problems(facts: Facts) -> list[Problem]:
    """Everything that is wrong, each once, the worst first and of equals the oldest."""
    found: dict[tuple[str, str | None], Problem] = {}
    for problem in (*_of_runs(facts), *_of_connection(facts), *_of_data(facts), *_of_keepstep(facts)):
        known = found.get((problem.code, problem.entity)) or found.get((problem.code, None))
        if known is None:
            found[problem.code, problem.entity] = problem
        else:
            since = min((s for s in (known.since, problem.since) if s is not None), default=None)
            found[known.code, known.entity] = known.model_copy(update={"since": since})
    latest = datetime.max.replace(tzinfo=UTC)
    return sorted(found.values(), key=lambda p: (weight(p.severity), p.since or latest, p.code, p.entity or ""))


def _problem(code: str, since: datetime | None, *, message: str = "", fix: str = "", **about: str | None) -> Problem:
    fault = TABLE[code]
    return Problem(
        code=code, severity=fault.severity, title=fault.title, message=message or said(code).message, since=since,
        impact=fault.impact, fix=fix or said(code).fix, docs=docs_of(code), **about,
    )  # fmt: skip


def _told(
    code: str, since: datetime | None, connection: str | None, entity: str | None = None, **facts: object
) -> Problem:
    words = said(code, integration=connection, **facts)
    return _problem(code, since, message=words.message, fix=words.fix, connection=connection, entity=entity)


def _of_runs(facts: Facts) -> Iterator[Problem]:
    """Entities whose last run failed, told once where all of them failed alike; and what the live run waits for."""
    failing = [
        row for row in facts.standing.entities
        if row["last_failure"] and (row["last_success"] is None or row["last_failure"] > row["last_success"])
    ]  # fmt: skip
    codes = {_code(row["error"]) for row in failing}
    alike = len(failing) > 1 and len(codes) == 1 and len({(row["error"] or {}).get("message") for row in failing}) == 1
    for row in failing[:1] if alike else failing:
        entity = None if alike else row["entity"]
        yield _error(facts, row["error"] or {}, row["last_failure"], entity)
    active = facts.standing.active
    if active is not None and active["state"] == "waiting" and active["error"]:
        yield _error(facts, active["error"], active["started_at"], None)


def _code(error: Mapping[str, Any] | None) -> str:
    fault = fault_of(error or {"code": "run-crashed"})
    return fault.code if fault else "internal"


def _error(facts: Facts, error: Mapping[str, Any], at: datetime, entity: str | None) -> Problem:
    code = _code(error)
    began = [
        group["opened_at"] for group in facts.marks.groups
        if group["code"] == error.get("code") and (not entity or not group["entities"] or entity in group["entities"])
    ]  # fmt: skip
    message = error.get("message") or "The last run ended without a word: its process died."
    return _problem(
        code, min((*began, at)), message=message, fix=error.get("fix") or "", entity=entity, connection=facts.connection
    )


def _of_connection(facts: Facts) -> Iterator[Problem]:
    ping, breaker, key = facts.marks.ping, facts.breaker, facts.connection
    if ping is not None and ping.state != "ok" and not _is_outdated(ping, facts.standing):
        code = ping.code if ping.code in TABLE else "permanent"
        yield _problem(code or "permanent", ping.since, message=ping.reason, fix=ping.fix, connection=key)
    if breaker.state != "closed":
        until = "a while" if breaker.reopens_at is None else f"time, until {breaker.reopens_at:%H:%M:%S} UTC"
        yield _told("breaker-open", breaker.opened_at, key, title=key, count=until)
    if facts.unreadable:
        yield _told("secret-key-changed", None, key)
    for row in facts.marks.stale:
        yield _told("no-success", row["since"], key, path=key, detail=f"{row['since']:%Y-%m-%d %H:%M} UTC")


def _is_outdated(ping: PingStanding, standing: Standing) -> bool:
    """Whether something has been read since a ping that failed: then that is what is known last."""
    successes = [row["last_success"] for row in standing.entities if row["last_success"]]
    return ping.state == "failing" and any(success > ping.at for success in successes)


def _of_data(facts: Facts) -> Iterator[Problem]:
    key, marks = facts.connection, facts.marks
    for row in marks.held:
        code = "source-emptied" if row["delete_rows"] >= row["live_rows"] else "deletions-held"
        yield _told(code, row["since"], key, row["entity"], path=row["entity"], count=f"{row['delete_rows']:,}")
    if marks.letters:
        yield _told("poison-records", marks.letters_since, key, count=f"{marks.letters:,}")
    for row in marks.unproven:
        detail = row["completeness"].partition(";")[0]
        yield _told("listing-shifts", row["since"], key, row["entity"], path=row["entity"], detail=detail)
    for row in marks.drift:
        detail = _some(row["fields"])
        yield _told("schema-drift", row["since"], key, row["entity"], path=row["entity"], detail=detail)


def _of_keepstep(facts: Facts) -> Iterator[Problem]:
    life = facts.life
    if facts.marks.orphans:
        numbers = ", ".join(str(row["id"]) for row in facts.marks.orphans)
        yield _told("lock-orphaned", facts.marks.orphans[0]["since"], facts.connection, count=numbers)
    if life.wanted and (silence := silent_scheduler(life.now, life.tick)):
        yield _told("scheduler-silent", life.tick, None, detail=silence)
    if life.wanted and not life.workers:
        yield _told("worker-missing", None, None, count=f"{SILENCE.total_seconds():.0f}")
    for row in facts.marks.undelivered:
        yield _told("webhook-refused", row["since"], None, detail=f": {row['answer'].rstrip('.')}")
    found = [
        *([doctor.webhook(facts.webhook)] if facts.webhook else []),
        *doctor.clock("the database's", facts.clock_ahead),
        *([doctor.space(facts.home, facts.free)] if facts.home is not None and facts.free is not None else []),
    ]
    for finding in found:
        if finding.code is not None and finding.state != "ok":
            yield _problem(finding.code, None, message=finding.message, fix=finding.fix)


def _some(names: Iterable[str], most: int = 5) -> str:
    listed = list(names)
    more = len(listed) - most
    return ", ".join(listed[:most]) + (f" and {more} more" if more > 0 else "")


class Troubles:
    """Gathers the facts. ``home`` is where the embedded database and the logs live."""

    def __init__(self, database: Database, credentials: Credentials, preferences: Preferences, home: Path) -> None:
        self._database = database
        self._credentials = credentials
        self._preferences = preferences
        self._home = home

    async def of(self, key: str, standing: Standing, breaker: BreakerView) -> tuple[list[Problem], store.Marks]:
        """What is wrong with a connection that stands so, and what the database knows of it."""
        async with self._database.connection() as connection:
            marks = await store.marks(connection, standing.connection_id)
            signs = await vitals.signs(connection)
            here = datetime.now(UTC)
            workers = await vitals.workers(connection, patience=SILENCE.total_seconds())
            wanted = await vitals.is_work_expected(connection)
        _, unreadable = await self._credentials.unreadable()
        effective = await self._preferences.effective()
        ways = {channel.name for channel in effective.arrangement.channels}  # nobody waits for one that was removed
        marks = replace(marks, undelivered=[row for row in marks.undelivered if row["channel"] in ways])
        facts = Facts(
            connection=key,
            standing=standing,
            breaker=breaker,
            marks=marks,
            life=doctor.Life(signs["now"], signs["tick"], workers, wanted),
            unreadable=tuple(name for name in unreadable if name == key),
            webhook=effective.webhook,
            clock_ahead=(signs["now"] - here).total_seconds(),
            home=self._home if self._home.exists() else None,
            free=shutil.disk_usage(self._home).free if self._home.exists() else None,
        )
        return problems(facts), marks
