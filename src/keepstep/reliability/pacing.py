"""How many requests may leave, and how fast."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from keepstep.reliability.clock import Clock

TIMER_SLACK = 0.005
"""Timers wake up a little late; so much lateness is credited, or the ceiling would never be reached."""


class Pacer:
    """At most ``max_concurrency`` requests in flight and ``per_second`` started in a second, evenly spaced.

    ``per_second`` None or 0 means no rate ceiling. One pacer belongs to one connection; it holds for this process.
    """

    def __init__(self, *, max_concurrency: int, per_second: float | None, clock: Clock) -> None:
        if max_concurrency < 1:
            raise ValueError("max_concurrency must be at least 1")
        if per_second is not None and per_second < 0:
            raise ValueError("per_second must not be negative")
        self.max_concurrency = max_concurrency
        self._interval = 1.0 / per_second if per_second else 0.0
        self._clock = clock
        self._in_flight = asyncio.Semaphore(max_concurrency)
        self._turn = asyncio.Lock()
        self._next_start = clock.monotonic()

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """The right to have one request in flight; waits for it. Cancelling the wait gives everything back."""
        async with self._in_flight:
            # Only the first in the queue sleeps: one that is cancelled while waiting takes no start time with it.
            async with self._turn:
                await self._wait_for_start()
            yield

    def pause(self, seconds: float) -> None:
        """Let nothing start for so long, because upstream asked for it."""
        self._next_start = max(self._next_start, self._clock.monotonic() + seconds)

    async def _wait_for_start(self) -> None:
        while (wait := self._next_start - self._clock.monotonic()) > 0:
            await self._clock.sleep(wait)
        self._next_start = max(self._next_start, self._clock.monotonic() - TIMER_SLACK) + self._interval
