"""A worker process to be killed, frozen or told to end: one worker, its sweeper, its dispatcher's tick.

Its one argument is JSON: dsn, connectors ({key: {url, key}}), policy, timing, concurrency, page_size, every, patience.
Lines out, each after its commit: ``event RUN TYPE``; ``up`` once it works; ``end`` and how.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from typing import Any

from keepstep.dispatch.queue import Queue, Timing
from keepstep.dispatch.sweeper import Sweeper
from keepstep.dispatch.worker import Worker
from keepstep.integrations.doorloop.connector import DoorLoop
from keepstep.model.errors import KeepstepError
from keepstep.model.integration import Integration
from keepstep.model.run import Event, Policy
from keepstep.reliability.loop import Loop
from keepstep.store import schedules
from keepstep.store.db import Database


def say(*words: object) -> None:
    """One line, whole."""
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


class Equipment:
    """Connectors by key; each run gets its own."""

    def __init__(self, order: dict[str, Any]) -> None:
        self._order = order
        self._policy = Policy(**order["policy"])

    @contextlib.asynccontextmanager
    async def __call__(self, key: str) -> AsyncIterator[tuple[Integration, Policy]]:
        """What a run works with."""
        upstream = self._order["connectors"][key]
        doorloop = DoorLoop(
            base_url=upstream["url"], api_key=upstream["key"], page_size=self._order["page_size"], max_concurrency=2,
            rate_limit_rps=0,
        )  # fmt: skip
        doorloop.key = key  # one upstream may stand for several integrations, each with tables of its own
        try:
            yield doorloop, self._policy
        finally:
            await doorloop.aclose()


async def work(order: dict[str, Any]) -> None:
    """Until SIGTERM."""
    database = Database(order["dsn"])
    queue = Queue(database, Timing(**order["timing"]))
    sweeper = Sweeper(queue, every=order["every"], patience=order["patience"])

    def hear(event: Event) -> None:
        say("event", event.data.get("runId", ""), event.type)

    async def tick() -> float:
        async with database.connection() as connection:
            await schedules.dispatch_due(connection)
            await schedules.wake_waiting(connection)
        return 0.2

    worker = Worker(database, queue, Equipment(order), concurrency=order["concurrency"], listener=hear)
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    async with Loop("sweeper", sweeper.once).running(), Loop("tick", tick).running():
        say("up")
        await worker.run()


def main() -> None:
    """Work, and say how it ended."""
    try:
        asyncio.run(work(json.loads(sys.argv[1])))
    except asyncio.CancelledError:
        say("end", "cancelled")
    except KeepstepError as error:
        say("end", type(error).__name__, error.message)
        sys.exit(1)


if __name__ == "__main__":
    main()
