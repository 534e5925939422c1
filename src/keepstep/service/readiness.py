"""Whether Keepstep as a whole does its work: facts go in, checks with what to do come out."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated

from keepstep.model.diagnosis import said
from keepstep.model.errors import KeepstepError
from keepstep.reliability.clock import Clock, SystemClock
from keepstep.service.shapes import Absent, Diagnosed, Shape, diagnosed
from keepstep.store import runs, vitals
from keepstep.store.db import Database
from keepstep.store.migrate import migrations, pending

SILENCE = timedelta(seconds=30)
"""So long the workers may say nothing: three times as long as one takes between two signs of life."""
NO_TICK = timedelta(seconds=90)
"""The same for the scheduler, which may be pg_cron: that one comes once a minute."""
_PATIENCE = 3.0
"""Seconds that the database may take to answer."""
_FRESH = 1.0
"""Seconds that an answer is given again: anybody may ask, and asking must not cost much."""


class ReadinessCheck(Shape, Diagnosed):
    """One thing that must be so. ``fix`` is there when it is not."""

    name: str
    ok: bool
    message: str
    fix: Annotated[str | None, Absent] = None


class Readiness(Shape):
    """Everything that must be so; ``ok`` when all of it is."""

    ok: bool
    checks: list[ReadinessCheck]


@dataclass(frozen=True, slots=True)
class Signs:
    """What the database says: its time, how far its tables are, and who gave a sign of life when."""

    now: datetime
    missing: int
    newer: bool
    tick: datetime | None = None
    workers: int = 0


def judge(signs: Signs) -> Readiness:
    """The checks that these facts come to."""
    checks = [ReadinessCheck(name="database", ok=True, message="The database answers."), _migrations(signs)]
    if not signs.missing:
        checks += [_worker(signs), _scheduler(signs)]
    return readiness(checks)


def readiness(checks: Sequence[ReadinessCheck]) -> Readiness:
    """The checks and what they come to."""
    return Readiness(ok=all(check.ok for check in checks), checks=list(checks))


def _migrations(signs: Signs) -> ReadinessCheck:
    name = "migrations"
    if signs.missing:
        detail = f": {signs.missing} migrations have not been applied yet"
        return _wrong(name, "migrations-missing", detail=detail)
    if signs.newer:
        return _wrong(name, "migrations-newer")
    return ReadinessCheck(name=name, ok=True, message="The control tables are up to date.")


def _worker(signs: Signs) -> ReadinessCheck:
    name = "worker"
    if signs.workers:
        return ReadinessCheck(name=name, ok=True, message="At least one worker is alive.")
    return _wrong(name, "worker-missing", count=f"{SILENCE.total_seconds():.0f}")


def _scheduler(signs: Signs) -> ReadinessCheck:
    name = "scheduler"
    if silence := silent_scheduler(signs.now, signs.tick):
        return _wrong(name, "scheduler-silent", detail=silence)
    age = 0.0 if signs.tick is None else max((signs.now - signs.tick).total_seconds(), 0)
    return ReadinessCheck(name=name, ok=True, message=f"The scheduler's last tick was {age:,.0f} s ago.")


def silent_scheduler(now: datetime, tick: datetime | None) -> str:
    """That the scheduler is silent, and since when; empty where it is not."""
    if tick is None:
        return "No scheduler has ever run here."
    age = (now - tick).total_seconds()
    return f"The scheduler is silent: its last tick was {age:,.0f} s ago." if age > NO_TICK.total_seconds() else ""


def _wrong(name: str, code: str, **facts: object) -> ReadinessCheck:
    words = said(code, **facts)
    return ReadinessCheck(name=name, ok=False, message=words.message, fix=words.fix, **diagnosed(code))


def _unreachable(message: str) -> Readiness:
    # What exactly is wrong names hosts and users: that is for the log and for `keepstep doctor`, not for everybody.
    fix = "Check that it runs and that DATABASE_URL leads to it; keepstep doctor says more."
    check = ReadinessCheck(name="database", ok=False, message=message, fix=fix, **diagnosed("database-down"))
    return readiness([check])


class Lookout:
    """Looks whether all is well, at most once a second however many ask. Never raises for what it finds."""

    def __init__(self, database: Database, clock: Clock | None = None) -> None:
        self._database = database
        self._clock = clock or SystemClock()
        self._looking = asyncio.Lock()
        self._seen: Readiness | None = None
        self._seen_at = 0.0

    async def look(self) -> Readiness:
        """How things are."""
        async with self._looking:
            if self._seen is None or self._clock.monotonic() - self._seen_at >= _FRESH:
                self._seen = await self._look()
                self._seen_at = self._clock.monotonic()
            return self._seen

    async def _look(self) -> Readiness:
        try:
            async with asyncio.timeout(_PATIENCE):
                return judge(await self._signs())
        except TimeoutError:
            return _unreachable(f"The database did not answer within {_PATIENCE:.0f} s.")
        except KeepstepError:
            return _unreachable("The database cannot be used.")

    async def _signs(self) -> Signs:
        async with self._database.connection() as connection:
            missing = len(await pending(connection))
            if missing:
                return Signs(now=await runs.clock(connection), missing=missing, newer=False)
            newer = await vitals.migrated_to(connection) > migrations()[-1].version
            workers = await vitals.workers(connection, patience=SILENCE.total_seconds())
            return Signs(**await vitals.signs(connection), missing=0, newer=newer, workers=workers)
