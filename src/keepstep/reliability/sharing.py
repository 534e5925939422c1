"""Who has the places: every process that asks is a holder, and none is left waiting for long."""

from collections.abc import Sequence

from msgspec import Struct
from msgspec.structs import replace

TTL = 6.0
"""Seconds after which a holder that was not heard of counts as dead."""
TURN = 0.5
"""Seconds for which a holder keeps its places while others have none."""
POLLED = 1.0
"""A holder that was not heard of for so many seconds is not waited for."""


class Holder(Struct, frozen=True, omit_defaults=True):
    """A process with requests. Times are seconds since 1970.

    ``number``: its last question. ``places``: how many requests it may have in flight until it asks again. ``wants``:
    how many it would like. ``pending``: requests let go and not yet reported. ``since``: when it joined the queue;
    ``turn``: when it got its places. ``reserved``: a start in the future that is its own.
    """

    seen: float
    number: int = 0
    places: int = 0
    wants: int = 0
    pending: int = 0
    since: float | None = None
    turn: float | None = None
    reserved: float | None = None

    def alive(self, now: float) -> bool:
        """Whether it was heard of lately."""
        return now - self.seen < TTL

    def moved(self, seconds: float) -> "Holder":
        """With all times so much later."""
        times = {"since": self.since, "turn": self.turn, "reserved": self.reserved}
        later = {name: time + seconds for name, time in times.items() if time is not None}
        return replace(self, seen=self.seen + seconds, **later)


def share(mine: Holder, others: Sequence[Holder], total: int, now: float) -> int:
    """How many places of ``total`` a holder may have now, whatever it has in flight already.

    Alone it gets what is free. With others each gets its part; where there are fewer places than holders they take
    turns, the longest waiting first.
    """
    free = max(total - sum(other.places for other in others), 0)
    hungry = [other for other in others if other.wants > other.places and now - other.seen < POLLED]
    if not hungry:
        return min(mine.wants, free)
    contenders = 1 + sum(1 for other in others if other.wants)
    part = -(-total // contenders)
    if contenders > total:
        waiting = mine.since if mine.since is not None else now
        before = sum(1 for other in hungry if not other.places and other.since is not None and other.since < waiting)
        # One that waits for a start of its own keeps its turn until then, or slow starts would never be used.
        turn_over = mine.turn is not None and now - mine.turn >= TURN and mine.reserved is None
        if turn_over or (mine.turn is None and before >= free):
            return 0
    return min(mine.wants, free, part)


def seated(mine: Holder, allowed: int, busy: int, now: float) -> Holder:
    """The holder with what it was allowed. Requests in flight keep their places until they end."""
    if allowed:
        turn = mine.turn if mine.turn is not None else now
        return replace(mine, places=max(allowed, busy), turn=turn, since=None)
    since = now if mine.turn is not None or mine.since is None else mine.since
    return replace(mine, places=busy, turn=None, since=since)
