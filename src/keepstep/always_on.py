"""What goes on by itself while a process serves: schedules are dispatched, runs performed, dead ones recovered."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import structlog

from keepstep.alerts.alerter import Alerter
from keepstep.dispatch.dispatcher import Dispatcher
from keepstep.dispatch.janitor import Janitor, Keep
from keepstep.dispatch.queue import Queue
from keepstep.dispatch.sweeper import Sweeper
from keepstep.dispatch.worker import Worker
from keepstep.reliability.loop import Loop
from keepstep.service.core import Service

_log = structlog.get_logger()


@asynccontextmanager
async def looked_after(service: Service) -> AsyncIterator[None]:
    """Recover what dead processes left, prune, ping and alert while the block lasts, as every process that stays does.

    What other keys encrypt comes under the first one.
    """
    await service.credentials.rotate()
    await service.documents.rotate()
    queue = Queue(service.database)

    async def keep() -> Keep:
        return (await service.preferences.effective()).keep

    alerter = Alerter(service.database, service.alerts.arrangement)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(Loop("alerter", alerter.round).running())
        await stack.enter_async_context(Loop("health", service.health_history.round).running())
        await stack.enter_async_context(Loop("sweeper", Sweeper(queue).once).running())
        await stack.enter_async_context(Loop("janitor", Janitor(service.database, chosen=keep).round).running())
        await stack.enter_async_context(Loop("agents", service.agents.round).running())
        await stack.enter_async_context(Loop("pinger", service.pinger.round).running())
        yield


@asynccontextmanager
async def working(
    service: Service, *, concurrency: int, patience: float | None = None
) -> AsyncIterator[asyncio.Task[None]]:
    """Dispatch schedules and perform runs while the block lasts; at its end runs are given back.

    Gives the worker's task, which ends only with ``CannotWork``, after ``patience`` seconds without a database. Raises
    ``NoSession`` where only a transaction pooler can be reached.
    """
    await service.database.require_sessions()
    await service.sync_types.settle()
    await service.agents.settle()
    await service.auto_sync.settle()
    for line in await service.schedules.settle():
        _log.info(line)
    queue = Queue(service.database)
    worker = Worker(service.database, queue, service.connectors.lent, concurrency=concurrency, patience=patience)
    async with AsyncExitStack() as stack:
        await stack.enter_async_context(looked_after(service))
        await stack.enter_async_context(Dispatcher(service.database).running())
        work = asyncio.create_task(worker.run(), name="worker")
        try:
            yield work
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
