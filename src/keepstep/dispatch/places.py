"""Who takes a worker's places: runs that work, and apart from them those that wait for an upstream which is silent.

A run that hears nothing costs next to nothing, but in a place of its own it keeps others waiting: four dead mailboxes
would stop four places for minutes. So one that has not moved for a moment is *parked*: its place is free for another.
Only so many are parked; when more stand still, the one that has done so longest is in the way, and goes on later among
those that struggle. These have places of their own, and take no others.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from keepstep.dispatch.queue import INTERACTIVE, STRUGGLING

STILL = 1.0
"""Seconds without a sign after which a run is parked."""
LONG = 5.0
"""Seconds without a sign after which a run may be in the way."""


@dataclass(slots=True)
class _Taken:
    """One attempt. ``seen``: its last sign; ``moved``: when that was new; ``tried``: when it was last told to go."""

    run: int
    queue: str
    moved: float
    sign: Callable[[], object] = lambda: None
    seen: object = None
    tried: float = float("-inf")
    goes: bool = False


class Places:
    """The places of one worker: ``concurrency`` for runs that work and one more for what somebody started by hand.

    Besides, as many for parked runs, and twice as many for connections that struggle.
    """

    def __init__(self, concurrency: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.concurrency = concurrency
        self.parked = concurrency
        self.aside = 2 * concurrency
        self._clock = clock
        self._taken: dict[int, _Taken] = {}

    @property
    def most(self) -> int:
        """How many attempts there may be at the same time, of all kinds."""
        return self.concurrency + 1 + self.parked + self.aside

    @property
    def rows(self) -> list[int]:
        """The queue rows of the attempts under way."""
        return list(self._taken)

    @property
    def are_busy(self) -> bool:
        """Whether it is worth while to look who stands still."""
        return len(self._taken) >= self.concurrency

    def take(self, row: int, run: int, queue: str) -> None:
        """An attempt begins."""
        self._taken[row] = _Taken(run, queue, self._clock())

    def leave(self, row: int) -> None:
        """It has ended."""
        self._taken.pop(row, None)

    def watch(self, run: int, sign: Callable[[], object]) -> None:
        """``sign`` gives something else whenever the run has heard of upstream."""
        for taken in self._taken.values():
            if taken.run == run:
                taken.sign, taken.seen = sign, sign()

    def heard(self, run: int) -> None:
        """The run has told of something."""
        for taken in self._taken.values():
            if taken.run == run:
                taken.moved = self._clock()

    def open_to(self, queues: Sequence[str]) -> list[str]:
        """Those of the queues from which an attempt may begin now."""
        still, working = self._standing()
        working += max(len(still) - self.parked, 0)
        open_ = [queue for queue in queues if queue != STRUGGLING] if working < self.concurrency else []
        if working == self.concurrency and INTERACTIVE in queues:
            open_ = [INTERACTIVE]
        aside = sum(taken.queue == STRUGGLING for taken in self._taken.values())
        return [*open_, STRUGGLING] if STRUGGLING in queues and aside < self.aside else open_

    def in_the_way(self) -> int | None:
        """The run that stands still longest, where too many do; it is not named again for a while."""
        now, (still, _) = self._clock(), self._standing()
        going = sum(taken.goes or now - taken.tried < LONG for taken in still)
        staying = [taken for taken in still if not taken.goes and now - max(taken.moved, taken.tried) >= LONG]
        if len(still) - going <= self.parked or not staying:
            return None
        taken = min(staying, key=lambda one: one.moved)
        taken.tried = now
        return taken.run

    def sent_away(self, run: int) -> None:
        """It goes, which may take a moment."""
        for taken in self._taken.values():
            taken.goes = taken.goes or taken.run == run

    def _standing(self) -> tuple[list[_Taken], int]:
        """Those that stand still, and how many do not, without those aside."""
        now = self._clock()
        still, working = [], 0
        for taken in self._taken.values():
            if (seen := taken.sign()) != taken.seen:
                taken.seen, taken.moved = seen, now
            if taken.queue == STRUGGLING:
                continue
            if now - taken.moved >= STILL:
                still.append(taken)
            else:
                working += 1
        return still, working
