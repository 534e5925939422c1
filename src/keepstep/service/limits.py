"""How politely upstream is asked: the circuit breaker, what is left of its limits, and how that went lately."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Annotated

from keepstep.reliability.forecast import forecast, strategy
from keepstep.reliability.politeness import Rules
from keepstep.reliability.standing import breaker_standing, rate_standing
from keepstep.service.audit import Audit
from keepstep.service.shapes import Absent, Shape, one_of
from keepstep.store import limits
from keepstep.store.db import Database

LONGEST_WINDOW = timedelta(days=7)
_HOUR = 3600
_WORTH_TELLING_MS = 100


class BreakerView(Shape):
    """The circuit breaker. ``failures``: hard ones in a row; ``reopensAt``: when one request is let through to try."""

    state: Annotated[str, one_of("closed", "open", "half-open")]
    opened_at: Annotated[datetime | None, Absent] = None
    reopens_at: Annotated[datetime | None, Absent] = None
    failures: int


class RateLimitView(Shape):
    """What is left of the tightest limit that upstream has shown, and when it is whole again."""

    limit: int | None
    remaining: int | None
    reset: datetime | None


class RateSample(Shape):
    """How the limits stood at a moment.

    ``waitedMs``: the longest wait of a request since the sample before; ``cause``: what it waited for (``rate``,
    ``concurrency``, ``window``, ``headers``, ``retry-after``, ``breaker``, ``probe``), or ``answer`` for none.
    """

    ts: datetime
    limit: int | None
    remaining: int | None
    reset: datetime | None
    waited_ms: int
    cause: str


class ForecastView(Shape):
    """What the next full run meets. ``needed``: requests of the last reading of each entity; ``left``: of this hour.

    Null: not known.
    """

    needed: int | None
    left: int | None
    enough: bool | None
    words: str


class Outlook(Shape):
    """How upstream is asked, in sentences, and whether its limit is enough for the next full run."""

    strategy: list[str]
    forecast: ForecastView


class Limits:
    """The limits of each integration's shared connection. ``rules`` gives what holds for an integration now."""

    def __init__(self, database: Database, rules: Callable[[str], Rules], audit: Audit) -> None:
        self._database = database
        self._rules = rules
        self._audit = audit

    async def current(self, key: str) -> tuple[BreakerView, RateLimitView | None]:
        """The breaker, and what is left of upstream's limits (None: it has shown none)."""
        async with self._database.connection() as connection:
            rows = await limits.current(connection, key)
        if not rows:
            return BreakerView(state="closed", failures=0), None
        row = rows[0]
        breaker = breaker_standing(row.state, row.now)
        left = rate_standing(row.state, self._rules(key), row.now)
        view = BreakerView(
            state=breaker.state, opened_at=breaker.opened_at, reopens_at=breaker.reopens_at, failures=breaker.failures
        )
        if left is None:
            return view, None
        return view, RateLimitView(limit=left.limit, remaining=left.remaining, reset=left.reset)

    async def samples(self, key: str, window: timedelta) -> list[RateSample]:
        """Samples of the time just past, oldest first."""
        seconds = min(window, LONGEST_WINDOW).total_seconds()
        async with self._database.connection() as connection:
            return [RateSample(**row) for row in await limits.samples(connection, key, seconds=seconds)]

    async def outlook(self, key: str) -> Outlook:
        """How politely upstream is asked, and what the next full run meets."""
        rules = self._rules(key)
        async with self._database.connection() as connection:
            needed, sent = await limits.use(connection, key)
        hourly = next((window.limit for window in rules.windows if window.seconds == _HOUR), None)
        left = None if hourly is None else max(hourly - sent, 0)
        _, shown = await self.current(key)
        if shown is not None and _of_an_hour(shown) and shown.remaining is not None:
            left = shown.remaining if left is None else min(left, shown.remaining)
        found = forecast(needed, left, hourly)
        view = ForecastView(needed=found.needed, left=found.left, enough=found.enough, words=found.words)
        return Outlook(strategy=strategy(rules), forecast=view)

    async def waits_of_run(self, run_id: int, *, most: int = 1000) -> list[RateSample]:
        """What requests waited for while a run was under way, oldest first."""
        async with self._database.connection() as connection:
            rows = await limits.waits_of_run(connection, run_id, least_ms=_WORTH_TELLING_MS, most=most)
        return [RateSample(**row) for row in rows]

    async def close_breaker(self, key: str, *, by: str) -> BreakerView:
        """Let requests leave again at once. Closing a closed breaker changes nothing, and is written down too."""
        async with self._database.connection() as connection, connection.transaction():
            was_open = await limits.close_breaker(connection, key)
            result = "closed" if was_open else "it was closed already"
            await self._audit.record(by, "breaker.close", {"integration": key}, result, within=connection)
        return (await self.current(key))[0]


def _of_an_hour(limit: RateLimitView) -> bool:
    """Whether what upstream shows is the limit of a long window: that of a minute is whole again before long."""
    return limit.reset is not None and limit.reset - datetime.now(UTC) > timedelta(minutes=2)
