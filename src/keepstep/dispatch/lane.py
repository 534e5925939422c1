"""The queue engine's worker, made to last. The only file that imports the engine (3.10.0, pinned in pyproject.toml).

As it comes, a worker ends when a statement fails, and hears no notification any more after its listening session broke.
Here every statement waits for a database that is away, so that the runs it performs never notice; see docs/queue.md.
"""

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Any, TypeVar

import structlog
from procrastinate import App, PsycopgConnector, exceptions, jobs
from procrastinate.manager import JobManager
from procrastinate.worker import Worker

from keepstep.dispatch.places import Places
from keepstep.dispatch.queue import Perform, Timing
from keepstep.store.db import Database, DatabaseAway, is_foreign_key_violation, lost
from keepstep.store.notices import listening
from keepstep.store.queries import queries

_QUEUE = {name: text.decode() for name, text in queries("queue").items()}
LOOK_EVERY = 1.0
"""Seconds between two looks at who stands still, while many places are taken."""
_FIRST_PAUSE = 0.25
_LONGEST_PAUSE = 5.0
_POOL_PATIENCE = 5.0
"""Seconds to wait for a connection before it counts as a failure, which is tried again."""

_log = structlog.get_logger()
T = TypeVar("T")


class Lane:
    """One worker of the engine."""

    def __init__(self, database: Database, perform: Perform, timing: Timing) -> None:
        self._database = database
        self._perform = perform
        self._timing = timing
        self._attempts: dict[int, asyncio.Task[None]] = {}

    async def run(self, places: Places, queues: Sequence[str]) -> None:
        """Until it is cancelled. Raises what the engine raises for anything but a database that is away."""
        logging.getLogger("procrastinate").setLevel(logging.WARNING)
        logging.getLogger("psycopg.pool").setLevel(logging.ERROR)
        connector = PsycopgConnector(
            conninfo=self._database.direct, min_size=1, max_size=3, timeout=_POOL_PATIENCE, reconnect_timeout=10,
            configure=_configure, kwargs={"application_name": "keepstep worker", "connect_timeout": 10},
        )  # fmt: skip
        app = App(connector=connector)
        patient = _PatientManager(connector, self._database, places)
        app.job_manager = patient

        @app.task(name="keepstep.run")
        async def run(run_id: int) -> None:
            await self._attempt(run_id)

        watch = asyncio.create_task(self._watch(patient), name="lane's watch")
        try:
            await patient.patiently(connector.open_async)
            worker = _Worker(
                app=app, queues=list(queues), concurrency=places.most, fetch_job_polling_interval=self._timing.poll,
                abort_job_polling_interval=self._timing.poll, shutdown_graceful_timeout=0, delete_jobs="always",
                install_signal_handlers=False, update_heartbeat_interval=self._timing.heartbeat,
                stalled_worker_timeout=self._timing.dead,
            )  # fmt: skip
            await _until_cancelled(worker, patient)
        finally:
            watch.cancel()
            await asyncio.gather(watch, return_exceptions=True)
            await connector.close_async()

    async def _attempt(self, run_id: int) -> None:
        """Perform a run in a task of its own, which can be ended without the engine's knowing."""
        attempt = self._attempts[run_id] = asyncio.ensure_future(self._perform(run_id))
        try:
            await attempt
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():  # it is the engine that ends it
                raise
        finally:
            del self._attempts[run_id]

    async def _watch(self, patient: "_PatientManager") -> None:
        """Let others begin where a run stands still, and send away what is in the way."""
        while True:
            await patient.busy.wait()
            asleep = time.monotonic()
            await asyncio.sleep(LOOK_EVERY)
            try:
                await patient.look_if_more_may_begin()
                if time.monotonic() - asleep < 2 * LOOK_EVERY:  # else it may be us who stand still
                    await self._send_away(patient)
            except Exception:
                _log.exception("nobody could look at the places")

    async def _send_away(self, patient: "_PatientManager") -> None:
        while (run_id := patient.places.in_the_way()) is not None:
            if await patient.set_aside(run_id) and run_id in self._attempts:
                _log.info("a run that stands still goes on later", run=run_id)
                patient.places.sent_away(run_id)
                self._attempts[run_id].cancel()


async def _until_cancelled(worker: Worker, patient: "_PatientManager") -> None:
    """Run it; when we are cancelled, stop it in its own way, and see it to its end."""
    running = asyncio.create_task(worker.run(), name="queue engine")  # type: ignore[no-untyped-call]
    try:
        await asyncio.shield(running)
    except asyncio.CancelledError:
        patient.stopping = True
        worker.stop()  # type: ignore[no-untyped-call]
        while not running.done():
            try:
                await asyncio.wait({running})
            except asyncio.CancelledError:
                continue
        if not running.cancelled() and running.exception() is not None:
            _log.warning("a worker could not sign off", reason=str(running.exception()))
        raise


async def _configure(connection: Any) -> None:
    await connection.set_autocommit(True)
    await connection.execute("SET search_path = keepstep_queue")


class _Worker(Worker):
    async def _periodic_deferrer(self) -> None:
        """Never ends: its end would end the watch over the other side tasks, and there is nothing periodic here."""
        await asyncio.Event().wait()


class _PatientManager(JobManager):
    """The engine's statements. ``stopping``: a failure is final now; ``busy``: many places are taken."""

    def __init__(self, connector: PsycopgConnector, database: Database, places: Places) -> None:
        super().__init__(connector)
        self._database = database
        self.stopping = False
        self.places = places
        self.busy = asyncio.Event()
        self._wanted: list[str] = []
        self._queues: Sequence[str] = ()
        self._told = 0
        self._in_doubt = False
        self._away_since: float | None = None
        self._look: Callable[[], Awaitable[None]] | None = None

    async def patiently(self, ask: Callable[[], Awaitable[T]]) -> T:
        """Ask again and again while the database is away."""
        pause = _FIRST_PAUSE
        while True:
            try:
                answer = await ask()
            except Exception as error:
                if self.stopping or not (isinstance(error, DatabaseAway) or lost(error.__cause__ or error)):
                    raise
                self._is_away(error.__cause__ or error)
                await asyncio.sleep(pause)
                pause = min(2 * pause, _LONGEST_PAUSE)
            else:
                self._is_back()
                return answer

    def _is_away(self, error: BaseException) -> None:
        if self._away_since is None:
            self._away_since = time.monotonic()
            _log.warning("the worker's database is away", reason=str(error).split("\n", 1)[0])

    def _is_back(self) -> None:
        if self._away_since is not None:
            _log.info("the worker's database is back", seconds=round(time.monotonic() - self._away_since, 1))
            self._away_since = None

    async def register_worker(self) -> int:
        return await self.patiently(super().register_worker)

    async def unregister_worker(self, worker_id: int) -> None:
        """Once: one that cannot be told is forgotten after a while."""
        try:
            await super().unregister_worker(worker_id)
        except exceptions.ConnectorException as error:
            _log.warning("a worker could not sign off", reason=str(error.__cause__ or error))

    async def prune_stalled_workers(self, seconds_since_heartbeat: float) -> list[int]:
        return await self.patiently(lambda: JobManager.prune_stalled_workers(self, seconds_since_heartbeat))

    async def update_heartbeat(self, worker_id: int) -> None:
        """Also brings back a worker that was silent for so long that it was forgotten."""
        await self.patiently(lambda: self.connector.execute_query_async(_QUEUE["heartbeat"], worker_id=worker_id))

    async def fetch_job(self, queues: Iterable[str] | None, worker_id: int) -> jobs.Job | None:
        """Of the queues for which there is a place.

        The engine forgets what it is told during a fetch, so that a fetch which found nothing is done again then.
        """
        while True:
            told = self._told
            self._queues = list(queues or ())
            self._wanted = self.places.open_to(self._queues)
            job = await self.patiently(partial(self._fetch, self._wanted, worker_id)) if self._wanted else None
            if job is not None and job.id is not None:
                self.places.take(job.id, int(str(job.task_kwargs["run_id"])), job.queue)
            self._note()
            if job is not None or told == self._told:
                return job

    async def _fetch(self, queues: Iterable[str] | None, worker_id: int) -> jobs.Job | None:
        """One try. The answer of a try that failed may be lost: its row would be ours without our knowing."""
        if self._in_doubt:
            await self.connector.execute_query_async(
                _QUEUE["disown"], worker_id=worker_id, performed=self.places.rows
            )  # fmt: skip
            self._in_doubt = False
        try:
            return await super().fetch_job(queues, worker_id)
        except exceptions.ConnectorException as error:
            if is_foreign_key_violation(error.__cause__):
                await self.update_heartbeat(worker_id)
                return await super().fetch_job(queues, worker_id)
            self._in_doubt = True
            raise

    async def finish_job(self, job: jobs.Job, status: jobs.Status, delete_job: bool) -> None:
        """Remove the row, if it is still there. One that cannot be removed is swept away."""
        try:
            await self.patiently(lambda: self.connector.execute_query_async(_QUEUE["finish"], job_id=job.id))
        except exceptions.ConnectorException as error:
            _log.warning("a queue row is left to the sweeper", row=job.id, reason=str(error.__cause__ or error))
        finally:
            if job.id is not None:
                self.places.leave(job.id)
            self._note()
        if self._look is not None:
            await self._look()  # the engine looks for more only when it has no place left, or is told

    def _note(self) -> None:
        if self.places.are_busy:
            self.busy.set()
        else:
            self.busy.clear()

    async def look_if_more_may_begin(self) -> None:
        """The engine waits for news; that a run stands still is none."""
        if self._look is not None and not set(self.places.open_to(self._queues)) <= set(self._wanted):
            await self._look()

    async def set_aside(self, run_id: int) -> bool:
        """Whether the run's connection is an owner's and others wait: it is to go on among those that struggle."""
        try:
            row = await self.connector.execute_query_one_async(_QUEUE["set_aside"], run_id=run_id)
        except (exceptions.ConnectorException, exceptions.NoResult):
            return False
        return bool(row["is_aside"])

    async def listen_for_jobs(self, *, on_notification: Any, queues: Iterable[str] | None = None) -> None:
        """For as long as the worker lives. What was told while nobody listened is looked for."""

        async def tell(*, channel: str, notification: jobs.Notification) -> None:
            self._told += 1
            await on_notification(channel=channel, notification=notification)

        async def look() -> None:
            await tell(channel="", notification={"type": "job_inserted", "job_id": 0})

        async def listen() -> None:
            channels = [f"procrastinate_queue_v1#{queue}" for queue in queues or ()]
            async with listening(self._database, *channels, name="keepstep worker's ear") as notices:
                await look()
                async for payload in notices:
                    await tell(channel="", notification=json.loads(payload))

        self._look = look
        await self.patiently(listen)
