"""Who may send a request, and when: what an HTTP client asks before each one, and tells after it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from keepstep.reliability.clock import Clock
from keepstep.reliability.retry import LONGEST_SLEEP, ceiling

TIMER_SLACK = 0.005
"""Timers wake up a little late; so much lateness is credited, or the ceiling would never be reached."""


class Verdict(StrEnum):
    """What an answer says of upstream's health.

    ``good``: it answered, be it with a refusal. ``limited``: too many requests. ``failed``: a fault on its side,
    silence, a broken connection. ``unclear``: nothing can be concluded (not data, or nobody waited for the end).
    """

    GOOD = "good"
    LIMITED = "limited"
    FAILED = "failed"
    UNCLEAR = "unclear"


@dataclass(frozen=True, slots=True)
class Heard:
    """What an answer's headers said of limits: ``reset_in`` is in seconds."""

    limit: int | None
    remaining: int | None
    reset_in: float | None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a request. ``code`` is the answer's status, None without one; ``retry_after`` is in seconds."""

    verdict: Verdict
    code: int | None = None
    heard: Heard | None = None
    retry_after: float | None = None


class Turn:
    """The right to send one request. Without an ``outcome`` at its end nothing is concluded from it."""

    __slots__ = ("outcome",)

    def __init__(self) -> None:
        self.outcome: Outcome | None = None

    def ended(self, outcome: Outcome) -> None:
        """Say what became of the request."""
        self.outcome = outcome


class Pacing(Protocol):
    """The limits of one connection."""

    @property
    def max_concurrency(self) -> int:
        """How many requests may be in flight at best."""
        ...

    def turn(self, *, patience: float = LONGEST_SLEEP) -> AbstractAsyncContextManager[Turn]:
        """The right to have one request in flight; waits for it. Cancelling the wait gives everything back.

        Raises ``RateLimited`` instead of waiting longer than ``patience`` seconds, ``BreakerOpen`` while the circuit
        breaker is open. No request has left then.
        """
        ...


class Pacer:
    """At most ``max_concurrency`` requests in flight and ``per_second`` started in a second, evenly spaced.

    ``per_second`` None or 0 means no rate ceiling. It knows of this process only, waits however long it takes, and has
    no breaker: for asking one question without a database.
    """

    def __init__(self, *, max_concurrency: int, per_second: float | None, clock: Clock) -> None:
        if max_concurrency < 1:
            raise ValueError("max_concurrency must be at least 1")
        if per_second is not None and per_second < 0:
            raise ValueError("per_second must not be negative")
        self._max_concurrency = max_concurrency
        self._interval = 1.0 / per_second if per_second else 0.0
        self._clock = clock
        self._in_flight = asyncio.Semaphore(max_concurrency)
        self._turn = asyncio.Lock()
        self._next_start = clock.monotonic()
        self._limited = 0

    @property
    def max_concurrency(self) -> int:
        """How many requests may be in flight."""
        return self._max_concurrency

    @asynccontextmanager
    async def turn(self, *, patience: float = LONGEST_SLEEP) -> AsyncIterator[Turn]:
        """The right to have one request in flight; waits for it. Cancelling the wait gives everything back."""
        async with self._in_flight:
            # Only the first in the queue sleeps: one that is cancelled while waiting takes no start time with it.
            async with self._turn:
                await self._wait_for_start()
            turn = Turn()
            try:
                yield turn
            finally:
                self._heard(turn.outcome)

    def pause(self, seconds: float) -> None:
        """Let nothing start for so long, because upstream asked for it."""
        self._next_start = max(self._next_start, self._clock.monotonic() + seconds)

    def _heard(self, outcome: Outcome | None) -> None:
        if outcome is None:
            return
        self._limited = self._limited + 1 if outcome.verdict is Verdict.LIMITED else 0
        if outcome.retry_after is not None and outcome.verdict is not Verdict.GOOD:
            # A longer pause than anybody sleeps is the caller's to keep: it is told of it by the answer.
            self.pause(outcome.retry_after if outcome.retry_after <= LONGEST_SLEEP else 0.0)
        elif self._limited:
            self.pause(ceiling(self._limited))

    async def _wait_for_start(self) -> None:
        while (wait := self._next_start - self._clock.monotonic()) > 0:
            await self._clock.sleep(wait)
        self._next_start = max(self._next_start, self._clock.monotonic() - TIMER_SLACK) + self._interval
