"""One run from its lock to its end: entity after entity, a heartbeat beside them, and an end that is written down."""

import asyncio
import contextlib
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from keepstep.engine.apply import Apply
from keepstep.engine.batches import Batch
from keepstep.engine.dry_run import DryRun
from keepstep.engine.progress import Meter
from keepstep.engine.shaping import Shape
from keepstep.engine.sinks import Outcome, Progress, Sink
from keepstep.engine.sync import sync_entity
from keepstep.model.errors import (
    BadRequest,
    BreakerOpen,
    ChangesLost,
    Fenced,
    KeepstepError,
    RateLimited,
    UpstreamError,
)
from keepstep.model.integration import Entity, Integration, Mode
from keepstep.model.run import Counts, Event, Policy, RunRequest, State, error_json
from keepstep.reliability.journal import about
from keepstep.reliability.tracing import span
from keepstep.store import checkpoints, runs
from keepstep.store.db import Connection, Database, DatabaseAway
from keepstep.store.records import Destination
from keepstep.store.session import Heartbeats, RunSession

Listener = Callable[[Event], None]
_LOOK_AGAIN = 2.0
"""Seconds between two looks for a database that is away."""
_NO_HINT = 60.0
"""Seconds to wait when upstream limits us without saying for how long."""
_BREAKER_WAITS = 3
"""So often in a row a run waits for the breaker without getting a page in between; then it fails."""
_TO_GIVE_BACK = 15.0
"""Seconds for the flush under way to end, and again for the run to be given back; after that the sweeper does it."""
Interrupted = Callable[[RunSession, "asyncio.Task[Any]"], Coroutine[Any, Any, None]]


class Runner:
    """Runs of one integration. ``listener`` hears every event after it is committed.

    ``heartbeats`` are those of the process, where it has several runs at a time.
    """

    def __init__(
        self,
        database: Database,
        integration: Integration,
        policy: Policy,
        listener: Listener,
        heartbeats: Heartbeats | None = None,
    ) -> None:
        self._database = database
        self._heartbeats = heartbeats or Heartbeats(database)
        self._own_heartbeats = heartbeats is None
        self._integration = integration
        self._policy = policy
        self._tell = listener

    async def start(self, request: RunRequest, owner: str | None = None) -> int:
        """A new run, from its lock to its end or its first long wait; gives its id. Raises ``LockHeld``."""
        key, lease = self._integration.key, self._policy.lease
        session = await runs.begin(self._database, key, request, lease=lease, owner=owner)
        self._tell(Event("run-started", f"Run {session.run_id} started.", data={"runId": session.run_id}))
        return await self._drive(session, request, request.entities)

    async def go_on(self, run_id: int, request: RunRequest, entities: Sequence[str]) -> int:
        """The rest of a run that has waited: the entities that have not ended. Raises ``LockHeld``, ``Fenced``."""
        session = await runs.resume(self._database, run_id, lease=self._policy.lease)
        self._tell(Event("run-resumed", f"Run {run_id} goes on.", data={"runId": run_id}))
        return await self._drive(session, request, entities)

    async def take_up(self, run_id: int) -> None:
        """A queued run, from its lock to its end or its first long wait. When it is cancelled, it is queued again.

        Raises ``Fenced`` when the run is not queued any more, ``LockHeld``.
        """
        taken = await runs.take_up(self._database, run_id, lease=self._policy.lease)
        kind, words = ("run-started", "started") if taken.first else ("run-resumed", "goes on")
        self._tell(Event(kind, f"Run {run_id} {words}.", data={"runId": run_id}))
        await self._drive(taken.session, taken.request, taken.entities, interrupted=self._give_back)

    async def _drive(
        self, session: RunSession, request: RunRequest, entities: Sequence[str], interrupted: Interrupted | None = None
    ) -> int:
        """The run, with all that is logged and traced meanwhile marked as its."""
        run, connection, key = session.run_id, session.connection_id, self._integration.key
        with (
            about(run=run, connection=connection, integration=key),
            span("run", run_id=run, integration=key, mode=request.mode, trigger=request.trigger),
        ):
            return await self._work(session, request, entities, interrupted)

    async def _work(
        self, session: RunSession, request: RunRequest, entities: Sequence[str], interrupted: Interrupted | None
    ) -> int:
        """Work and heartbeat side by side; whichever ends first ends the other, and the end is written down."""
        work = asyncio.create_task(self._entities(session, request, entities))
        heartbeat = asyncio.create_task(self._heartbeats.watch(session))
        try:
            await asyncio.wait({work, heartbeat}, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                heartbeat.result()
                raise Fenced(f"Run {session.run_id} has lost its lock.", fix="Nothing is lost: another run goes on.")
            await self._end(session, work.result())
        except Fenced as fenced:
            await self._fenced(session, fenced)
        except asyncio.CancelledError:
            await _to_its_end((interrupted or self._stop)(session, work))
            raise
        except RateLimited as limit:
            await _to_its_end(self._wait(session, limit))
        except DatabaseAway as away:
            if interrupted is None:
                await _to_its_end(self._fail(session, away))
            await self._give_back_later(session, work)
        except Exception as error:
            await _to_its_end(self._fail(session, error))
        finally:
            await _to_its_end(self._let_go(session, work, heartbeat))
        return session.run_id

    async def _let_go(self, session: RunSession, work: "asyncio.Task[Any]", heartbeat: "asyncio.Task[Any]") -> None:
        await _end_task(work)
        await _end_task(heartbeat)
        if self._own_heartbeats:
            await self._heartbeats.aclose()
        await session.release()

    async def _entities(self, session: RunSession, request: RunRequest, names: Sequence[str]) -> UpstreamError | None:
        """Every entity in turn. An answer that concerns one entity fails that one; gives the first such error."""
        first_error = None
        known = {entity.name: entity for entity in self._integration.entities}
        for name in names:
            if name not in known:
                fix = f"Known are: {', '.join(known)}. Correct the entities of the schedule."
                raise BadRequest(f"{self._integration.title} has no entity {name}.", fix=fix)
            try:
                outcome = await self._entity(session, request, known[name])
                self._tell(outcome.event)
            except UpstreamError as error:
                if isinstance(error, RateLimited):
                    raise
                await self._entity_failed(session, name, error)
                if error.stops_run:
                    raise
                first_error = first_error or error
        return first_error

    async def _entity(self, session: RunSession, request: RunRequest, entity: Entity) -> Outcome:
        """One entity; a delta of changes that upstream cannot tell any more becomes a reading of everything."""
        try:
            return await self._reading(session, request, entity)
        except ChangesLost as lost:
            if request.mode is Mode.BACKFILL:
                raise
            await self._changes_lost(session, request, entity.name, lost)
            return await self._reading(session, replace(request, mode=Mode.BACKFILL, since=None), entity)

    async def _changes_lost(self, session: RunSession, request: RunRequest, name: str, lost: ChangesLost) -> None:
        event = Event("changes-lost", f"{name}: {lost.message}", entity=name, data=error_json(lost))

        async def work(connection: Connection, _now: datetime) -> None:
            if not request.dry_run:  # where the changes were being read leads nowhere any more
                await checkpoints.drop(connection, session.connection_id, name, Mode.DELTA)
            await runs.tell(connection, session, event)

        await session.flush(work)
        self._tell(event)

    async def _reading(self, session: RunSession, request: RunRequest, entity: Entity) -> Outcome:
        writes = not request.dry_run
        key, policy = self._integration.key, self._policy.schema.of(entity.name)
        shape = await Shape.prepared(session, key, entity, policy, writes=writes)
        destination = Destination(key, shape.entity, session.owner)
        reporter = _Reporter(entity.name)
        kind = DryRun if request.dry_run else Apply
        sink: Sink = kind(session, shape.entity, shape.mapping, destination, request, self._policy, reporter.event)

        counted = self._integration.requests

        def wrote(batch: Batch, _counts: Counts, _progress: Progress) -> None:
            nonlocal counted
            counted += sum(page.requests for page in batch.pages)
            if reporter.last is not None:
                self._tell(reporter.last)
            session.moved = True

        with span("entity", entity=entity.name):
            try:
                outcome = await sync_entity(self._integration, entity, shape.mapping, sink, self._policy, wrote)
            except UpstreamError:
                await self._remember(shape, writes=writes)
                raise
            finally:
                if (more := self._integration.requests - counted) > 0:
                    session.uncounted[entity.name] = session.uncounted.get(entity.name, 0) + more
            await self._remember(shape, writes=writes)
            return outcome

    async def _remember(self, shape: Shape, *, writes: bool) -> None:
        drift = await shape.remember(writes=writes)
        if drift is not None:
            self._tell(drift)

    async def _entity_failed(self, session: RunSession, name: str, error: UpstreamError) -> None:
        event = Event(
            "entity-failed", f"{name}: {error.message}", level="error", entity=name, data=error_json(error)
        )  # fmt: skip

        async def work(connection: Connection, _now: datetime) -> None:
            await runs.finish_entity(connection, session, name, State.FAILED, error=error_json(error))
            await runs.tell(connection, session, event)

        await session.flush(work)
        self._tell(event)

    async def _end(self, session: RunSession, error: UpstreamError | None) -> None:
        async def work(connection: Connection, _now: datetime) -> Event:
            await runs.count_requests(connection, session)
            ended = await runs.entity_results(connection, session)
            state = State.FAILED if ended["failed"] else State.HELD if ended["held"] else State.SUCCEEDED
            event = _finished(session.run_id, state)
            await runs.finish(connection, session, state, event, ended["error"])
            return event

        self._tell(await session.flush(work))

    async def _fail(self, session: RunSession, error: Exception) -> None:
        """Write the failure down; what is no error of ours by name goes on upwards as well."""
        details = error_json(error)
        event = Event("run-failed", f"Run {session.run_id} failed: {details['message']}", level="error", data=details)

        async def work(connection: Connection, _now: datetime) -> None:
            await runs.count_requests(connection, session)
            await runs.finish(connection, session, State.FAILED, event, details)

        try:
            await session.flush(work)
        except KeepstepError as second:
            raise error from second
        self._tell(event)
        if not isinstance(error, UpstreamError):
            raise error

    async def _stop(self, session: RunSession, work: "asyncio.Task[Any]") -> None:
        """End inside a page if need be: its transaction is undone, everything before it stays."""
        await _end_task(work)
        words = f"Run {session.run_id} stopped (interrupted); the next run goes on from here."
        event = Event("run-stopped", words, level="warning")

        async def write(connection: Connection, _now: datetime) -> None:
            await runs.count_requests(connection, session)
            await runs.finish(connection, session, State.STOPPED, event, None)

        with contextlib.suppress(KeepstepError):
            await session.flush(write)
        self._tell(event)

    async def _give_back(self, session: RunSession, work: "asyncio.Task[Any]") -> None:
        """Our process ends: the flush under way is done, then the run is queued again for another one."""
        await session.close_after(_TO_GIVE_BACK)
        is_whole = work.done() and not work.cancelled() and work.exception() is None
        await _end_task(work)
        session.reopen()
        event = Event("run-given-back", f"Run {session.run_id} is given back; the next worker goes on from here.")

        async def write(connection: Connection, _now: datetime) -> None:
            await runs.count_requests(connection, session)
            await runs.give_back(connection, session, event)

        with contextlib.suppress(KeepstepError, TimeoutError):  # it was stopped, or the database is away
            async with asyncio.timeout(_TO_GIVE_BACK):
                if is_whole:
                    await self._end(session, work.result())
                else:
                    await session.flush(write)
                    self._tell(event)

    async def _give_back_later(self, session: RunSession, work: "asyncio.Task[Any]") -> None:
        """The database was away for too long, which is no fault of the run: it is queued again when it is back."""
        await _end_task(work)
        event = Event("run-given-back", f"Run {session.run_id} is given back: the database was away.", level="warning")
        while True:
            try:
                await session.flush(lambda connection, _now: runs.give_back(connection, session, event))
            except DatabaseAway:
                await asyncio.sleep(_LOOK_AGAIN)
            except Fenced:
                return
            else:
                self._tell(event)
                return

    async def _fenced(self, session: RunSession, fenced: Fenced) -> None:
        """The lock is gone. A run that somebody stopped has ended in order; any other one belongs to somebody else."""
        if await runs.state_of(self._database, session.run_id) is not State.STOPPED:
            raise fenced
        words = f"Run {session.run_id} stopped (asked to); the next run goes on from here."
        self._tell(Event("run-stopped", words, level="warning"))

    async def _wait(self, session: RunSession, limit: RateLimited) -> None:
        """The wait is too long to sit through: the run waits in the database and the worker is free."""
        after = limit.after if limit.after is not None else _NO_HINT
        for_breaker = isinstance(limit, BreakerOpen)
        details = error_json(limit)
        waiting = Event(
            "run-waiting", f"Run {session.run_id} waits {after:.0f} s: {limit.message}", level="warning",
            data={**details, "seconds": after},
        )  # fmt: skip
        words = f"Run {session.run_id} failed: after {_BREAKER_WAITS} waits upstream still fails. {limit.message}"
        failed = Event("run-failed", words, level="error", data=details)

        async def work(connection: Connection, _now: datetime) -> Event:
            moved = session.moved
            await runs.count_requests(connection, session)
            if for_breaker and not moved and await runs.waits(connection, session.run_id) >= _BREAKER_WAITS:
                await runs.finish(connection, session, State.FAILED, failed, details)
                return failed
            await runs.wait(connection, session, after, waiting, details, for_breaker=for_breaker, moved=moved)
            return waiting

        self._tell(await session.flush(work))


class _Reporter:
    """Makes the event that each flush of an entity commits with."""

    def __init__(self, entity: str) -> None:
        self._entity = entity
        self._meter = Meter(time.monotonic())
        self._rows = 0
        self._counts = Counts()
        self.last: Event | None = None

    def event(self, batch: Batch, counts: Counts, progress: Progress) -> Event:
        """What is so once the flush has committed. Called again, with the same batch, when a flush is repeated."""
        page = batch.pages[-1]
        tallied = sum(tally.rows for tally in progress.tallies.values())
        self._meter.mark(time.monotonic(), tallied)
        eta = self._meter.eta(progress.total)
        of_total = f" of {progress.total:,}" if progress.total is not None else ""
        notes = [note for p in batch.pages for note in p.notes]
        words = f"{self._entity}: page {page.number}, {tallied:,}{of_total} rows" + "".join(f"; {n}" for n in notes)
        limit = page.rate_limit
        data = {
            "inserted": counts.inserted, "updated": counts.updated, "unchanged": counts.unchanged,
            "deadLettered": counts.dead_lettered, "deleted": counts.deleted, "skipped": dict(counts.skipped),
            "pages": len(batch.pages), "batchRows": batch.rows, "part": page.part,
            "total": progress.total, "look": progress.look, "rps": round(self._meter.rows_per_second, 1),
            "etaSeconds": None if eta is None else round(eta, 1),
            "requests": sum(p.requests for p in batch.pages),
            "rateLimit": None if limit is None else {
                "limit": limit.limit, "remaining": limit.remaining,
                "reset": None if limit.reset is None else limit.reset.isoformat(),
            },
        }  # fmt: skip
        self.last = Event("page", words, entity=self._entity, page=page.number, rows=tallied, data=data)
        return self.last


def _finished(run_id: int, state: State) -> Event:
    words = {
        State.SUCCEEDED: "succeeded",
        State.HELD: "ended with deletions that wait for approval",
        State.FAILED: "failed",
    }
    level = {State.SUCCEEDED: "info", State.HELD: "warning", State.FAILED: "error"}
    return Event(
        "run-failed" if state is State.FAILED else "run-finished", f"Run {run_id} {words[state]}.", level=level[state]
    )


async def _end_task(task: "asyncio.Task[Any]") -> None:
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _to_its_end(work: Coroutine[Any, Any, None]) -> None:
    """Do it whole even if we are cancelled meanwhile; the cancellation goes on afterwards."""
    task = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        raise cancelled from task.exception()
    task.result()
