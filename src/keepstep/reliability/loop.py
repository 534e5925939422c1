"""Work that is done again and again for as long as the process lives."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import structlog

from keepstep.model.errors import KeepstepError

FIRST_PAUSE = 0.5
LONGEST_PAUSE = 10.0
PATIENCE = 5.0
"""Seconds that a round under way may take to end when its loop is stopped."""

_log = structlog.get_logger()


def pause_after(failures: int) -> float:
    """Seconds until the next try after so many failed rounds in a row (from 1): doubling, capped."""
    return min(LONGEST_PAUSE, FIRST_PAUSE * 2.0 ** min(failures - 1, 10))


class Loop:
    """Calls ``work``, one round, over and over; it gives the seconds until the next round (infinity: until woken).

    No error ends it. Failed rounds in a row are one outage, logged as it begins and as it ends, with growing pauses
    between the rounds. For one use, in one event loop: ``async with loop.running()``, or ``await loop.run()``.
    """

    def __init__(self, name: str, work: Callable[[], Awaitable[float]]) -> None:
        self.name = name
        self._work = work
        self._woken = asyncio.Event()
        self._stopping = False
        self._failures = 0
        self._failing_since = 0.0
        self._told: set[type[Exception]] = set()

    def wake(self) -> None:
        """Begin the next round at once, or as the one under way ends. The pauses of an outage stay as they are."""
        self._woken.set()

    def stop(self) -> None:
        """Begin no further round."""
        self._stopping = True
        self._woken.set()

    async def run(self) -> None:
        """Rounds until ``stop``: one that is under way is still done. Cancelling ends it in the middle of a round."""
        while not self._stopping:
            self._woken.clear()
            try:
                pause = await self._work()
            except Exception as error:
                await self._sit_out(error)
            else:
                self._recover()
                await self._sleep(pause)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Loop"]:
        """Rounds in the background while the block lasts. Its end waits for the round under way, up to ``PATIENCE``."""
        background = asyncio.create_task(self.run(), name=self.name)
        try:
            yield self
        finally:
            self.stop()
            try:
                await asyncio.wait([background], timeout=PATIENCE)
            finally:
                background.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await background

    async def _sleep(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if seconds == float("inf") else max(seconds, 0.0)):
                await self._woken.wait()

    async def _sit_out(self, error: Exception) -> None:
        self._failures += 1
        if self._failures == 1:
            self._failing_since = time.monotonic()
        self._tell(error)
        deadline = time.monotonic() + pause_after(self._failures)
        while not self._stopping and (left := deadline - time.monotonic()) > 0:
            self._woken.clear()
            await self._sleep(left)

    def _tell(self, error: Exception) -> None:
        """Say what is wrong, each kind of error once in an outage."""
        if type(error) in self._told:
            return
        self._told.add(type(error))
        if isinstance(error, KeepstepError):
            _log.warning(error.message, loop=self.name, fix=error.fix)
        else:
            _log.error(f"unexpected {type(error).__name__}: {error}", loop=self.name, exc_info=error)

    def _recover(self) -> None:
        if self._failures:
            _log.info(
                "works again", loop=self.name, failures=self._failures,
                seconds=round(time.monotonic() - self._failing_since, 1),
            )  # fmt: skip
        self._failures = 0
        self._told.clear()
