"""Gives the runs of dead workers to the living, and clears away what they left in the queue.

A run whose session has ended, or whose lease is over, may be that of a worker which the database itself has cut off:
it renews its lock as soon as it can. So a sweep only remembers it, and a later one acts if nothing has changed by then.
"""

import time
from collections.abc import Callable

import structlog

from keepstep.dispatch.queue import Queue
from keepstep.store.queue import Suspect

EVERY = 5.0
PATIENCE = 6.0
"""Seconds that a live worker gets to renew its lock: it tries every two."""
_log = structlog.get_logger()


class Watch:
    """What was suspected, and since when."""

    def __init__(self, patience: float, clock: Callable[[], float]) -> None:
        self._patience = patience
        self._clock = clock
        self._since: dict[Suspect, float] = {}

    def see(self, suspects: list[Suspect]) -> None:
        """These are suspected now; those that are not, or look otherwise than before, begin anew."""
        now = self._clock()
        self._since = {suspect: self._since.get(suspect, now) for suspect in suspects}

    def confirmed(self) -> list[Suspect]:
        """Suspected for long enough, and unchanged."""
        now = self._clock()
        return [suspect for suspect, since in self._since.items() if now - since >= self._patience]


class Sweeper:
    """Every process has one; ``once`` is the work of a ``Loop``."""

    def __init__(self, queue: Queue, *, every: float = EVERY, patience: float = PATIENCE) -> None:
        self._queue = queue
        self._every = every
        self._patience = patience
        self._watch = Watch(patience, time.monotonic)

    async def once(self) -> float:
        """One sweep; gives the seconds until the next, which comes sooner when something is suspected."""
        swept = await self._queue.sweep(self._watch.confirmed())
        self._watch.see(list(swept.suspects))
        for run in swept.requeued:
            _log.warning("a run without a worker is queued again", run=run)
        for run in swept.crashed:
            _log.error("a run has crashed", run=run)
        if swept.rows:
            _log.info("rows of dead workers removed", rows=swept.rows)
        return min(self._every, self._patience / 2) if swept.suspects else self._every
