"""Starts what is due, to the moment: due schedules, and runs whose wait is over.

Any number of processes may do this at the same time; the database shares the work out. Between two looks it sleeps
until the next due time, an edit of a schedule wakes it, and it looks every ``CAP`` seconds in any case: that look is
the sign of life that status, readiness and metrics show, and it finds what nobody told (no LISTEN behind a pooler).
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import structlog

from keepstep.model.errors import StoreError
from keepstep.reliability.loop import Loop, pause_after
from keepstep.store import schedules
from keepstep.store.db import Database
from keepstep.store.notices import listening
from keepstep.store.schedules import BATCH, Dispatched

CHANNEL = "keepstep_schedules"
FLOOR = 0.01
CAP = 10.0
"""Seconds between two looks, at least and at most. The floor gathers what comes due together into one batch."""
_MOST_NAMED = 10

_log = structlog.get_logger()


class Dispatcher:
    """Use it as ``async with dispatcher.running()``. ``once`` is one look, for who has a loop of their own."""

    def __init__(self, database: Database, *, batch: int = BATCH) -> None:
        self._database = database
        self._batch = batch
        self._loop = Loop("dispatcher", self.once)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Dispatcher"]:
        """Start what is due while the block lasts."""
        async with self._loop.running():
            listener = asyncio.create_task(self._listen(), name="dispatcher's ear")
            try:
                yield self
            finally:
                listener.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await listener

    def wake(self) -> None:
        """Look now."""
        self._loop.wake()

    async def once(self) -> float:
        """Start everything that is due; gives the seconds until something may be due again."""
        async with self._database.connection() as connection:
            while True:
                batches = [
                    await schedules.dispatch_due(connection, batch=self._batch),
                    await schedules.wake_waiting(connection, batch=self._batch),
                ]
                for done in batches:
                    _tell(done)
                if not any(done.more for done in batches):
                    break
        later = [done.seconds for done in batches if done.seconds is not None]
        return max(min([CAP, *later]), FLOOR)

    async def _listen(self) -> None:
        """Wake up when somebody edits a schedule. The loop tells of outages; this only tries again."""
        failures = 0
        while True:
            try:
                async with listening(self._database, CHANNEL, name="keepstep dispatcher") as notices:
                    self.wake()  # for what was told before we listened
                    failures = 0
                    async for _ in notices:
                        self.wake()
            except StoreError:
                failures += 1
            except Exception:
                failures += 1
                _log.exception("the dispatcher hears no edits")
            await asyncio.sleep(pause_after(max(failures, 1)))


def _tell(done: Dispatched) -> None:
    if done.skipped:
        _log.info(
            "[auto-sync] skipped - lock held", skipped=len(done.skipped), schedules=list(done.skipped[:_MOST_NAMED])
        )
    if done.started:
        _log.debug("runs queued", queued=len(done.started), runs=list(done.started[:_MOST_NAMED]))
