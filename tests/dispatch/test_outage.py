"""What workers do while the database is away, and when nothing can be done."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable
from typing import Any

import pytest
from procrastinate import PsycopgConnector
from procrastinate.exceptions import ConnectorException

from keepstep.dispatch.lane import _configure, _PatientManager
from keepstep.dispatch.places import Places
from keepstep.dispatch.queue import Queue, Timing
from keepstep.dispatch.sweeper import Sweeper
from keepstep.dispatch.worker import CannotWork, Equip, Worker
from keepstep.engine import runner
from keepstep.integrations.doorloop.connector import DoorLoop
from keepstep.model.errors import BadRequest
from keepstep.model.integration import Integration, Mode
from keepstep.model.run import Event, Policy, RunRequest
from keepstep.reliability.loop import Loop
from keepstep.store import session
from keepstep.store.db import Database
from tests.support.outage import Bridge, bridge_to
from tests.support.sync import Sync
from tests.support.upstream import SMALL
from tests.support.workers import QUICK, Workers, until, workers

LEASES = SMALL["leases"]


@pytest.fixture
async def bridge(dsn: str) -> AsyncIterator[Bridge]:
    """The worker's way to the database."""
    async with bridge_to(dsn) as bridge:
        yield bridge


@pytest.fixture
async def processes(sync: Sync) -> AsyncIterator[Workers]:
    """Worker processes of the test's own."""
    async with workers(sync) as processes:
        yield processes


def equipped(sync: Sync) -> Equip:
    """A connector for every run."""

    @contextlib.asynccontextmanager
    async def equip(_key: str) -> AsyncIterator[tuple[Integration, Policy]]:
        doorloop: DoorLoop = sync.connector()
        try:
            yield doorloop, Policy(flush_rows=1)
        finally:
            await doorloop.aclose()

    return equip


@contextlib.asynccontextmanager
async def working(worker: Worker, queue: Queue) -> AsyncIterator["asyncio.Task[None]"]:
    """A worker and a sweeper in this process."""
    async with Loop("sweeper", Sweeper(queue, every=0.2, patience=3.0).once).running():
        task = asyncio.create_task(worker.run())
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def told(sync: Sync, run_id: int) -> list[str]:
    """What happened to a run, without its pages."""
    return [e.type for e in await sync.views.events(run_id) if e.type.startswith("run-")]


async def test_an_outage_of_the_database_interrupts_no_run_and_the_worker_works_on(
    sync: Sync, processes: Workers, bridge: Bridge
) -> None:
    sync.upstream.fault("hang", entity="leases", page=3)
    worker = await processes.start(dsn=bridge.dsn)
    run_id = await processes.enqueue("leases")
    await worker.until("page", 2)
    await bridge.close()
    sync.upstream.clear_faults()
    stale = "SELECT now() - max(last_heartbeat) > interval '4 seconds' FROM keepstep_queue.procrastinate_workers"
    await until(lambda: sync.value(stale))
    await bridge.open()
    run = await processes.ended(run_id)
    assert (run.result, run.inserted) == ("succeeded", LEASES)
    assert await told(sync, run_id) == ["run-started", "run-finished"]
    following = await processes.ended(await processes.enqueue("owners"))
    assert following.result == "succeeded"
    assert await worker.terminate() == 0
    await until(processes.is_empty)


async def test_a_run_that_outlasts_the_patience_of_its_session_is_given_back_and_counts_no_crash(
    sync: Sync, bridge: Bridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "_RECONNECTS", 2)
    monkeypatch.setattr(runner, "_LOOK_AGAIN", 0.2)
    sync.upstream.fault("hang", entity="leases", page=3)
    pages: list[Event] = []
    database = Database(bridge.dsn)
    queue = Queue(database, Timing(**QUICK))
    worker = Worker(database, queue, equipped(sync), listener=lambda e: pages.append(e) if e.type == "page" else None)
    async with working(worker, queue):
        run_id = await Queue(sync.database).enqueue_one("doorloop", RunRequest(("leases",), Mode.BACKFILL))
        await until(lambda: _more_than(pages, 1))
        await bridge.close()
        sync.upstream.clear_faults()
        gave_up = asyncio.get_running_loop().time() + 4 * session._FIRST_PAUSE
        await until(lambda: _has_come(gave_up))
        await bridge.open()
        await until(lambda: _is_over(sync, run_id))
    run = await sync.views.run(run_id)
    assert (run.result, run.inserted) == ("succeeded", LEASES)
    assert await told(sync, run_id) == ["run-started", "run-given-back", "run-resumed", "run-finished"]
    assert await sync.value("SELECT crashes FROM keepstep.runs") == 0


async def _more_than(some: list[Any], count: int) -> bool:
    return len(some) > count


async def _has_come(moment: float) -> bool:
    return asyncio.get_running_loop().time() > moment


async def _is_over(sync: Sync, run_id: int) -> bool:
    return (await sync.views.run(run_id)).result not in ("queued", "running", "waiting")


async def test_a_worker_without_patience_left_ends_and_says_why(sync: Sync, bridge: Bridge) -> None:
    database = Database(bridge.dsn)
    queue = Queue(database, Timing(**QUICK))
    async with working(Worker(database, queue, equipped(sync), patience=1.0), queue) as task:
        await until(lambda: _works(sync))
        await bridge.close()
        with pytest.raises(CannotWork, match="No database for 1 s: The database cannot be reached"):
            await task
        await bridge.open()


async def _works(sync: Sync) -> bool:
    return (await Queue(sync.database).stats()).workers > 0


async def test_a_worker_on_a_database_that_was_not_migrated_ends_and_says_so(sync: Sync, empty_dsn: str) -> None:
    database = Database(empty_dsn)
    with pytest.raises(CannotWork, match="cannot work") as failure:
        await Worker(database, Queue(database), equipped(sync)).run()
    assert "migrated" in failure.value.fix


async def test_a_run_of_an_integration_without_credentials_fails_and_says_what_to_do(sync: Sync) -> None:
    @contextlib.asynccontextmanager
    async def equip(key: str) -> AsyncIterator[tuple[Integration, Policy]]:
        raise BadRequest(f"{key} has no API key.", fix="Set it.")
        yield

    run = await _performed(sync, equip, "leases")
    assert run.error is not None
    assert (run.error["message"], run.error["fix"]) == ("doorloop has no API key.", "Set it.")


async def test_a_run_of_an_entity_that_does_not_exist_fails_and_says_which_do(sync: Sync) -> None:
    run = await _performed(sync, equipped(sync), "castles")
    assert run.error is not None
    assert run.error["message"] == "DoorLoop has no entity castles."
    assert "leases" in run.error["fix"]


async def test_a_run_whose_equipment_breaks_fails_instead_of_coming_back_for_ever(sync: Sync) -> None:
    @contextlib.asynccontextmanager
    async def equip(_key: str) -> AsyncIterator[tuple[Integration, Policy]]:
        raise ZeroDivisionError("a fault of ours")
        yield

    run = await _performed(sync, equip, "leases")
    assert run.error is not None
    assert "a fault of ours" in run.error["message"]


async def _performed(sync: Sync, equip: Equip, entity: str) -> Any:
    queue = Queue(sync.database, Timing(**QUICK))
    async with working(Worker(sync.database, queue, equip), queue):
        run_id = await queue.enqueue_one("doorloop", RunRequest((entity,), Mode.BACKFILL))
        await until(lambda: _is_over(sync, run_id))
    run = await sync.views.run(run_id)
    assert run.result == "failed"
    assert await sync.value("SELECT count(*) FROM keepstep.locks") == 0
    return run


class Lossy(PsycopgConnector):
    """The answer of one fetch is lost on its way."""

    lose = True

    async def execute_query_one_async(self, query: Any, **arguments: Any) -> dict[str, Any]:
        answer: dict[str, Any] = await super().execute_query_one_async(query, **arguments)
        if self.lose and "fetch_job" in query:
            self.lose = False
            raise ConnectorException from OSError("lost on its way")
        return answer


async def test_a_row_whose_worker_never_heard_of_it_is_let_go(sync: Sync, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keepstep.dispatch.lane.lost", lambda error: isinstance(error, OSError))
    queue = Queue(sync.database, Timing(**QUICK))
    run_id = await queue.enqueue_one("doorloop", RunRequest(("leases",), Mode.BACKFILL))
    connector = Lossy(conninfo=sync.dsn, min_size=1, max_size=1, configure=_configure)
    await connector.open_async()
    try:
        manager = _PatientManager(connector, sync.database, Places(1))
        worker_id = await manager.register_worker()
        queues: Iterable[str] = ["interactive"]
        assert await manager.fetch_job(queues, worker_id) is None
        assert await sync.value("SELECT count(*) FROM keepstep_queue.procrastinate_jobs") == 0
        assert (await queue.sweep()).requeued == [run_id]
        job = await manager.fetch_job(queues, worker_id)
        assert job is not None
        assert job.task_kwargs == {"run_id": run_id}
    finally:
        await connector.close_async()
