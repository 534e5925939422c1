"""Takes queued runs up and performs them, several at a time, for as long as the process lives."""

import asyncio
import time
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

import structlog

from keepstep.dispatch.places import Places
from keepstep.dispatch.queue import Queue
from keepstep.engine.runner import Listener, Runner
from keepstep.model.errors import Fenced, KeepstepError, LockHeld, StoreError
from keepstep.model.integration import Integration
from keepstep.model.run import Event, Policy, error_json
from keepstep.reliability.journal import tell
from keepstep.store import runs
from keepstep.store.db import Database
from keepstep.store.session import Heartbeats

Equip = Callable[..., AbstractAsyncContextManager[tuple[Integration, Policy]]]
"""What a run of an integration works with while it lasts, given its key, and its owner where the connection has one.

Raises ``BadRequest`` where that is not configured.
"""
_FEW, _SOON = 3, 60.0
"""A worker that ends so often within so many seconds, with the database there, cannot go on."""
_LOOK_AGAIN = 10.0
_log = structlog.get_logger()


class CannotWork(StoreError):
    """The worker ended again and again, or the database was away for longer than its patience."""


class Worker:
    """``concurrency`` runs at a time, and one more that somebody started by hand; besides them those that wait for an
    upstream which is silent (``Places``).

    ``patience``: seconds without a database after which ``run`` gives up; None: never. ``listener`` hears what the runs
    do; it is told of pages too.
    """

    def __init__(
        self, database: Database, queue: Queue, equip: Equip, *, concurrency: int = 2,
        listener: Listener | None = None, patience: float | None = None,
    ) -> None:  # fmt: skip
        self._database = database
        self._sessions = database.apart()  # a run needs more than a pooled connection
        self._heartbeats = Heartbeats(self._sessions)
        self._queue = queue
        self._equip = equip
        self._concurrency = concurrency
        self._tell = listener or tell
        self._patience = patience
        self._places = Places(concurrency)

    async def run(self) -> None:
        """Until it is cancelled: then runs finish the flush under way and are given back. Raises ``CannotWork``."""
        async with self._sessions.keeping_sessions(self._concurrency + 1):
            watch = asyncio.create_task(self._watch_database(), name="worker's watch")
            work = asyncio.create_task(self._work(), name="worker")
            try:
                await asyncio.wait({watch, work}, return_when=asyncio.FIRST_COMPLETED)
                for done in (work, watch):
                    if done.done():
                        done.result()
            finally:
                await _end(watch)
                await _end(work)
                await self._heartbeats.aclose()

    async def _work(self) -> None:
        """The engine's worker is made to last; what ends it all the same may pass, or not."""
        ends: list[float] = []
        while True:
            self._places = Places(self._concurrency)
            try:
                await self._queue.run_worker(
                    self.perform, concurrency=self._concurrency, places=self._places
                )  # fmt: skip
                reason = "it stopped by itself"
            except Exception as error:
                reason = f"{type(error).__name__}: {error}".split("\n", 1)[0]
                _log.warning("the worker ended and is started again", reason=reason, exc_info=error)
            ends = [end for end in ends if end > time.monotonic() - _SOON] + [time.monotonic()]
            if len(ends) >= _FEW:
                raise CannotWork(f"The worker cannot work: {reason}.", fix="Look at the log; is the database migrated?")
            await asyncio.sleep(len(ends))

    async def _watch_database(self) -> None:
        if self._patience is None:
            await asyncio.Event().wait()
            return
        patience = self._patience
        last, reason = time.monotonic(), StoreError("")
        while time.monotonic() - last < patience:
            await asyncio.sleep(min(_LOOK_AGAIN, patience / 4))
            try:
                async with self._database.connection() as connection:
                    await runs.clock(connection)
                last = time.monotonic()
            except StoreError as error:
                reason = error
        raise CannotWork(f"No database for {patience:.0f} s: {reason.message}", fix=reason.fix)

    async def perform(self, run_id: int) -> None:
        """One attempt at a run, from the queue to its end, its next wait, or back into the queue. Raises nothing."""
        with structlog.contextvars.bound_contextvars(run=run_id):
            try:
                await self._perform(run_id)
            except (Fenced, LockHeld) as error:
                _log.info("left to others", reason=error.message)
            except StoreError as error:  # a run that is still queued comes back with the next sweep
                _log.warning(error.message, fix=error.fix)
            except KeepstepError as error:
                _log.warning(error.message, fix=error.fix)
                await self._fail_if_queued(run_id, error)
            except Exception as error:
                _log.error("unexpected error", exc_info=error)
                await self._fail_if_queued(run_id, error)

    async def _perform(self, run_id: int) -> None:
        async with self._database.connection() as connection:
            row = await runs.get(connection, run_id)
        if row is None:
            raise Fenced(f"There is no run {run_id} any more.")
        whose = (row["owner_id"],) if row["owner_id"] else ()
        async with self._equip(row["integration"], *whose) as (integration, policy):
            self._places.watch(run_id, lambda: integration.requests)

            def hear(event: Event) -> None:
                self._places.heard(run_id)
                self._tell(event)

            await Runner(self._sessions, integration, policy, hear, self._heartbeats).take_up(run_id)

    async def _fail_if_queued(self, run_id: int, error: Exception) -> None:
        """A run that could not even begin would be queued again for ever."""
        try:
            async with self._database.connection() as connection:
                await runs.fail_queued(connection, run_id, error_json(error))
        except KeepstepError as second:
            _log.warning(second.message, fix=second.fix)


async def _end(task: "asyncio.Task[None]") -> None:
    task.cancel()
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError:
            continue
