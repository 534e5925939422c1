"""Is everything as it should be? Facts go in, findings with what to do come out; ``checkup.py`` gathers the facts."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from keepstep.integrations.http import is_loopback, split_url
from keepstep.model.diagnosis import TABLE, said
from keepstep.model.errors import KeepstepError
from keepstep.model.faults import Severity
from keepstep.model.integration import Check, Ping
from keepstep.service.readiness import SILENCE, silent_scheduler
from keepstep.service.setup import Advice
from keepstep.service.shapes import Diagnosed, HeldDeletions, Shape, diagnosed

OLDEST_PYTHON = (3, 11)
LITTLE_SPACE = 1 << 30
NO_SPACE = 100 << 20
MOST_SKEW = timedelta(seconds=30)
Verdict = Literal["ok", "warning", "failed"]
_VERDICTS: Mapping[Severity, Verdict] = {"error": "failed", "warning": "warning", "info": "ok"}


class Finding(Shape, Diagnosed):
    """One thing that was looked at."""

    name: str
    state: Verdict
    message: str
    fix: str = ""


class Diagnosis(Shape):
    """Everything that was looked at; ``ok`` when nothing failed."""

    ok: bool
    checks: list[Finding]


@dataclass(frozen=True, slots=True)
class Life:
    """What the processes say of themselves. ``wanted``: a schedule is on or a run waits, so a worker is counted on."""

    now: datetime
    tick: datetime | None
    workers: int
    wanted: bool


def diagnosis(findings: Sequence[Finding]) -> Diagnosis:
    """The findings and what they come to."""
    return Diagnosis(ok=all(finding.state != "failed" for finding in findings), checks=list(findings))


def found(name: str, code: str, **facts: object) -> Finding:
    """A fault as a finding, in the words of the table."""
    words = said(code, **facts)
    state = _VERDICTS[TABLE[code].severity]
    return Finding(name=name, state=state, message=words.message, fix=words.fix, **diagnosed(code))


def _state(code: str) -> Verdict:
    return _VERDICTS[TABLE[code].severity] if code in TABLE else "failed"


def failure(name: str, error: KeepstepError) -> Finding:
    """An error as a finding."""
    return Finding(name=name, state="failed", message=error.message, fix=error.fix, **diagnosed(error.code))


def program(version: tuple[int, int, int], system: str) -> Finding:
    """What Keepstep runs on."""
    words = f"Python {'.'.join(map(str, version))} on {system}."
    if version[:2] < OLDEST_PYTHON:
        return found("program", "program-old", detail=words)
    if system != "Linux":
        return found("program", "system-untested", detail=words)
    return Finding(name="program", state="ok", message=words)


def settings(warnings: Sequence[Advice]) -> list[Finding]:
    """What is wrong with the settings; never fatal by itself, because a usable value is in effect."""
    if not warnings:
        return [Finding(name="settings", state="ok", message="Nothing is wrong with the settings.")]
    return [found("settings", "setting-odd", detail=w.message, advice=w.fix) for w in warnings]


def space(home: Path, free: int) -> Finding:
    """Room for the embedded database and the logs."""
    if free < LITTLE_SPACE:
        return found("disk", "disk-full" if free < NO_SPACE else "disk-low", count=_gigabytes(free), path=home)
    return Finding(name="disk", state="ok", message=f"{_gigabytes(free)} free for {home}.")


def database(facts: dict[str, Any], *, embedded: bool, now: datetime) -> list[Finding]:
    """The server, its clock, and whether Keepstep may write in it."""
    kind = "embedded" if embedded else "yours"
    words = f"PostgreSQL {facts['version'].split()[0]} ({kind}), {_gigabytes(facts['bytes'])} of data."
    all_found = [Finding(name="database", state="ok", message=words)]
    if facts["read_only"]:
        all_found.append(found("database", "database-read-only"))
    if not facts["may_create"]:
        all_found.append(found("database", "database-rights", detail=" It may not create schemas."))
    return [*all_found, *clock("the database's", (facts["now"] - now).total_seconds())]


def clock(whose: str, ahead: float | None) -> list[Finding]:
    """Whether somebody's clock is far from this machine's; nothing to say where it is not."""
    if ahead is None or abs(ahead) <= MOST_SKEW.total_seconds():
        return []
    return [found("clock", "clock-skew", host=whose, count=f"{abs(ahead):,.0f}")]


def migrations(missing: int, *, newer: bool = False) -> Finding:
    """Whether the control tables are up to date. What is missing, every command that uses the tables applies."""
    if newer:
        return found("migrations", "migrations-newer")
    if missing:
        told = found("migrations", "migrations-missing", detail=f": {missing} migrations have not been applied yet")
        return told.model_copy(update={"state": "warning"})
    return Finding(name="migrations", state="ok", message="The control tables are up to date.")


def upstream(title: str, ping: Ping) -> Finding:
    """Whether an integration's upstream answers and takes the key."""
    state: Verdict = "ok" if ping.state == "ok" else "warning" if ping.ok else "failed"
    return Finding(name=title, state=state, message=ping.reason, fix=ping.fix, **diagnosed(ping.code))


def entities(title: str, checks: Mapping[str, Check]) -> list[Finding]:
    """Whether the key may read each entity."""
    bad = [
        Finding(
            name=f"{title} {name}",
            state=_state(check.code),
            message=check.message,
            fix=check.fix,
            **diagnosed(check.code),
        )
        for name, check in checks.items()
        if not check.ok
    ]
    if bad or not checks:
        return bad
    return [Finding(name=f"{title} entities", state="ok", message=f"The key may read {', '.join(checks)}.")]


def secret_key(unreadable: Sequence[str], stored: int) -> Finding:
    """Whether the key opens what it encrypted."""
    if unreadable:
        return found("secret key", "secret-key-changed", integration=", ".join(unreadable))
    words = f"The key opens all {stored} stored secrets." if stored else "No secret is stored."
    return Finding(name="secret key", state="ok", message=words)


def life(signs: Life) -> list[Finding]:
    """Whether runs start by themselves and are performed, where somebody counts on it."""
    silence = silent_scheduler(signs.now, signs.tick)
    if not signs.wanted and (silence or not signs.workers):
        words = "No scheduler or worker runs; the schedule is off and no run is queued."
        return [Finding(name="processes", state="ok", message=words)]
    bad = [found("scheduler", "scheduler-silent", detail=silence)] if silence else []
    if not signs.workers:
        bad.append(found("worker", "worker-missing", count=f"{SILENCE.total_seconds():.0f}"))
    return bad or [Finding(name="processes", state="ok", message="Scheduler and worker are alive.")]


def webhook(address: str, refused: Sequence[str] = ()) -> Finding:
    """Whether alerts can go anywhere; ``refused``: what was answered to those that did not arrive. Nothing is sent."""
    if refused:
        return found("alerts", "webhook-refused", detail=f": {refused[0].rstrip('.')}")
    if not address:
        words = "Alerts go nowhere: INTEGRATIONS_TEAMS_WEBHOOK is not set."
        return Finding(name="alerts", state="ok", message=words)
    if wrong := webhook_fault(address):
        return found("alerts", "webhook-malformed", detail=wrong)
    return Finding(name="alerts", state="ok", message="The address for alerts is set and well-formed.")


def webhook_fault(address: str) -> str:
    """What is wrong with an address for alerts, without repeating it; empty where nothing is."""
    parts = split_url(address.strip())
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return "is not a web address"
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        return "uses http: anybody on the way could read it"
    if parts.path.strip("/") == "" and not parts.query:
        return "names only a host"
    return ""


def runs(*, stuck: Sequence[int], letters: int, held: Sequence[HeldDeletions]) -> list[Finding]:
    """What earlier runs have left to do."""
    left = [found("runs", "lock-orphaned", count=", ".join(map(str, stuck)))] if stuck else []
    if letters:
        left.append(found("dead letters", "poison-records", count=f"{letters:,}"))
    for one in held:
        code = "source-emptied" if one.delete_rows >= one.live_rows else "deletions-held"
        left.append(found("held", code, path=one.entity, count=f"{one.delete_rows:,}"))
    return left or [Finding(name="runs", state="ok", message="Nothing waits for a person.")]


def _gigabytes(size: int) -> str:
    return f"{size / (1 << 30):,.1f} GB" if size >= 1 << 30 else f"{size / (1 << 20):,.0f} MB"
