"""Is everything as it should be? Facts go in, findings with what to do come out; only the last part asks anybody."""

import platform
import shutil
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from keepstep.model.errors import KeepstepError
from keepstep.model.integration import Ping
from keepstep.service.core import Service
from keepstep.service.setup import Advice
from keepstep.service.shapes import Shape
from keepstep.store import vitals
from keepstep.store.db import Database, NoSession
from keepstep.store.migrate import pending

OLDEST_PYTHON = (3, 11)
LITTLE_SPACE = 1 << 30
NO_SPACE = 100 << 20
MOST_SKEW = timedelta(seconds=30)
Verdict = Literal["ok", "warning", "failed"]


class Finding(Shape):
    """One thing that was looked at."""

    name: str
    state: Verdict
    message: str
    fix: str = ""


class Diagnosis(Shape):
    """Everything that was looked at; ``ok`` when nothing failed."""

    ok: bool
    checks: list[Finding]


def diagnosis(findings: Sequence[Finding]) -> Diagnosis:
    """The findings and what they come to."""
    return Diagnosis(ok=all(finding.state != "failed" for finding in findings), checks=list(findings))


def program(version: tuple[int, int, int], system: str) -> Finding:
    """What Keepstep runs on."""
    words = f"Python {'.'.join(map(str, version))} on {system}."
    if version[:2] < OLDEST_PYTHON:
        return Finding(name="program", state="failed", message=words, fix="Use Python 3.11 or newer.")
    if system != "Linux":
        return Finding(
            name="program", state="warning", message=f"{words} Keepstep is tested on Linux only.",
            fix="If the embedded database does not start here, set DATABASE_URL.",
        )  # fmt: skip
    return Finding(name="program", state="ok", message=words)


def settings(warnings: Sequence[Advice]) -> list[Finding]:
    """What is wrong with the settings; never fatal by itself, because a usable value is in effect."""
    if not warnings:
        return [Finding(name="settings", state="ok", message="Nothing is wrong with the settings.")]
    return [Finding(name="settings", state="warning", message=w.message, fix=w.fix) for w in warnings]


def space(home: Path, free: int) -> Finding:
    """Room for the embedded database and the logs."""
    words = f"{_gigabytes(free)} free for {home}."
    if free < NO_SPACE:
        return Finding(name="disk", state="failed", message=words, fix="Free some space, or move KEEPSTEP_HOME.")
    if free < LITTLE_SPACE:
        return Finding(name="disk", state="warning", message=words, fix="Free some space soon.")
    return Finding(name="disk", state="ok", message=words)


def database(facts: dict[str, Any], *, embedded: bool, now: datetime) -> list[Finding]:
    """The server, its clock, and whether Keepstep may write in it."""
    kind = "embedded" if embedded else "yours"
    words = f"PostgreSQL {facts['version'].split()[0]} ({kind}), {_gigabytes(facts['bytes'])} of data."
    found = [Finding(name="database", state="ok", message=words)]
    if facts["read_only"]:
        found.append(
            Finding(name="database", state="failed", message="The database is read-only.",
                    fix="Point DATABASE_URL at the primary server.")
        )  # fmt: skip
    if not facts["may_create"]:
        found.append(
            Finding(name="database", state="failed", message="The database user may not create schemas.",
                    fix="Grant it CREATE on the database, or make it the owner.")
        )  # fmt: skip
    skew = abs(facts["now"] - now)
    if skew > MOST_SKEW:
        found.append(
            Finding(name="clock", state="warning",
                    message=f"This machine's clock and the database's differ by {skew.total_seconds():,.0f} s.",
                    fix="Let both machines keep time with NTP.")
        )  # fmt: skip
    return found


async def ways(database: Database) -> list[Finding]:
    """Whether a transaction pooler stands where a session is needed. Raises ``StoreError``."""
    try:
        await database.require_sessions()
    except NoSession as error:
        return [Finding(name="pooler", state="warning", message=error.message, fix=error.fix)]
    return []


def migrations(missing: int) -> Finding:
    """Whether the control tables are up to date."""
    if missing:
        return Finding(
            name="migrations", state="warning", message=f"{missing} migrations have not been applied yet.",
            fix="Apply them with: keepstep migrate (every command that uses the tables does so too).",
        )  # fmt: skip
    return Finding(name="migrations", state="ok", message="The control tables are up to date.")


def upstream(title: str, ping: Ping) -> Finding:
    """Whether an integration's upstream answers and takes the key."""
    state: Verdict = "ok" if ping.state == "ok" else "warning" if ping.ok else "failed"
    return Finding(name=title, state=state, message=ping.reason, fix=ping.fix)


def runs(*, stuck: Sequence[int], letters: int, held: int) -> list[Finding]:
    """What earlier runs have left to do."""
    found = []
    if stuck:
        which = ", ".join(map(str, stuck))
        found.append(
            Finding(name="runs", state="warning", message=f"The process of run {which} is gone.",
                    fix="Nothing is lost: the next run takes over and goes on.")
        )  # fmt: skip
    if letters:
        found.append(
            Finding(name="dead letters", state="warning", message=f"{letters:,} records could not be applied.",
                    fix="See them with: keepstep dlq list")
        )  # fmt: skip
    if held:
        found.append(
            Finding(name="held", state="warning", message=f"{held:,} entities have deletions that wait for a decision.",
                    fix="See them with: keepstep held list")
        )  # fmt: skip
    return found or [Finding(name="runs", state="ok", message="Nothing waits for a person.")]


def failure(name: str, error: KeepstepError) -> Finding:
    """An error as a finding."""
    return Finding(name=name, state="failed", message=error.message, fix=error.fix)


def look_around(home: Path, warnings: Sequence[Advice]) -> list[Finding]:
    """What can be seen without the database and upstream."""
    existing = next(place for place in (home, *home.parents) if place.exists())
    return [
        program(sys.version_info[:3], platform.system()),
        *settings(warnings),
        space(home, shutil.disk_usage(existing).free),
    ]


async def look_at_database(service: Service) -> list[Finding]:
    """The database, its tables, and what waits in them. Changes nothing."""
    async with service.database.connection() as connection:
        found = database(await vitals.server(connection), embedded=service.embedded, now=datetime.now(UTC))
        found += await ways(service.database)
        missing = await pending(connection)
        found.append(migrations(len(missing)))
        if missing:
            return found
        stuck = await vitals.stuck_runs(connection)
    letters = (await service.views.dead_letters(limit=1)).count
    return [*found, *runs(stuck=stuck, letters=letters, held=len(await service.views.held()))]


def _gigabytes(size: int) -> str:
    return f"{size / (1 << 30):,.1f} GB" if size >= 1 << 30 else f"{size / (1 << 20):,.0f} MB"
