"""The port to the queue engine: six verbs, and nothing beyond ``lane.py`` and ``store/queue.sql`` knows the engine.

The engine only carries the news that a run is queued to a worker that is free, and the news of a stop to the one that
has it. What is so stands in ``keepstep.runs`` and ``keepstep.locks``; docs/queue.md has the rules and their reasons.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from keepstep.model.run import RunRequest
from keepstep.store import queue, schedules
from keepstep.store.db import Database
from keepstep.store.queue import QueueStats, Suspect
from keepstep.store.schedules import Dispatched

if TYPE_CHECKING:
    from keepstep.dispatch.places import Places

INTERACTIVE, STRUGGLING = "interactive", "struggling"
QUEUES = (INTERACTIVE, "scheduled", "full", STRUGGLING)
Perform = Callable[[int], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Timing:
    """Seconds. A worker gives a sign of life every ``heartbeat``; without one for ``stale`` its rows count for nothing,
    after ``dead`` it is forgotten. ``poll``: how often is looked for what no notification has told.
    """

    heartbeat: float = 10.0
    stale: float = 30.0
    dead: float = 120.0
    poll: float = 5.0


@dataclass(frozen=True, slots=True)
class Swept:
    """What a sweep met and did: rows of dead workers removed, runs queued again or ended, runs that nobody drives."""

    rows: int
    requeued: Sequence[int]
    crashed: Sequence[int]
    suspects: Sequence[Suspect]


class Queue:
    """The queue of runs on one database."""

    def __init__(self, database: Database, timing: Timing | None = None) -> None:
        self._database = database
        self.timing = timing or Timing()

    async def enqueue_due(self, *, batch: int = schedules.BATCH) -> Dispatched:
        """Queue the runs of up to ``batch`` schedules that are due, in one transaction."""
        async with self._database.connection() as connection:
            return await schedules.dispatch_due(connection, batch=batch)

    async def enqueue_one(self, integration: str, request: RunRequest, *, owner: str | None = None) -> int:
        """Queue a run ahead of scheduled ones; gives its id. Raises ``LockHeld`` with the id of the live run."""
        async with self._database.connection() as connection:
            return await queue.enqueue_one(connection, integration, request, owner=owner)

    async def cancel(self, integration: str, *, owner: str | None = None) -> int | None:
        """End the live run of a connection, whatever state it is in; gives its id, None when there is none."""
        async with self._database.connection() as connection:
            return await queue.stop(connection, integration, owner=owner)

    async def run_worker(
        self, perform: Perform, *, concurrency: int, queues: Sequence[str] = QUEUES, places: "Places | None" = None
    ) -> None:
        """Call ``perform`` with the id of every queued run, up to ``concurrency`` at a time, and one more manual one.

        Besides them are runs that stand still, and those that struggle; ``places`` is told of the signs of each run.
        Until it is cancelled: then it cancels what it performs and waits for that to end. It sits out a database that
        is away. ``perform`` must not raise; one that is cancelled has given its run back.
        """
        from keepstep.dispatch.lane import Lane  # the engine takes a while to load, and only workers need it
        from keepstep.dispatch.places import Places

        await Lane(self._database.apart(), perform, self.timing).run(places or Places(concurrency), queues)

    async def sweep(self, confirmed: Sequence[Suspect] = ()) -> Swept:
        """Set right what dead workers have left behind.

        Runs that nobody seems to drive are only reported; those in ``confirmed``, which were seen before and have not
        changed since, are given to the next worker, or ended when too many died of them.
        """
        async with self._database.connection() as connection:
            rows = await queue.sweep_rows(connection, stale=self.timing.stale, dead=self.timing.dead)
            states = {s.run_id: await queue.recover(connection, s) for s in confirmed}
            requeued = [run for run, state in states.items() if state == "queued"]
            crashed = [run for run, state in states.items() if state == "crashed"]
            crashed += await queue.end_lost_waits(connection)
            requeued += await queue.requeue_missing(connection)
            return Swept(rows, requeued, crashed, await queue.suspects(connection))

    async def stats(self) -> QueueStats:
        """How long the queue is, and who works on it."""
        async with self._database.connection() as connection:
            return await queue.stats(connection, stale=self.timing.stale)
