"""Reading events as they are committed: each once, whatever the order of the commits.

An id that is missing below one that is there belongs to a transaction under way, or to one that was rolled back. Who
writes events holds a lock on their table from before it takes an id until after its rows can be seen. So:

    read  ->  an id is missing: a gap
    next  ->  who holds the lock now? they are its suspects; one that lets go is no suspect any more
    read  ->  no suspect is left and the id is still missing: it never comes, the gap is forgotten
"""

from typing import Any

import structlog

from keepstep.service.position import MOST_GAPS, Gap, Position
from keepstep.store import feed as store
from keepstep.store.db import Connection

AT_ONCE = 1000
Row = dict[str, Any]

_log = structlog.get_logger()


class Tail:
    """Where reading is. Used by one asyncio task at a time; it may go on over another connection: ``begin`` there."""

    def __init__(self) -> None:
        self.position = Position()
        self._suspects: dict[Gap, frozenset[str]] = {}
        self._connection: Connection | None = None

    async def begin(self, connection: Connection) -> bool:
        """Start at the newest event, and say so.

        Said again, it does so only over another connection to a database that has lost what was read from it.
        """
        if connection is self._connection:
            return False
        high, gaps = await store.newest(connection)
        first, self._connection = self._connection is None, connection
        if not first and high >= self.position.high:
            return False
        self.position, self._suspects = Position(high, gaps[-MOST_GAPS:]), {}
        return True

    async def read(self, connection: Connection) -> list[tuple[Row, Position]]:
        """The next events, at most ``AT_ONCE``, by id, each with the position after it."""
        if self.position.gaps:
            self._narrow(await store.writers(connection))
        rows = await store.news(connection, high=self.position.high, gaps=self.position.gaps, limit=AT_ONCE)
        read = [(row, self._step(row["id"])) for row in rows]
        self._settle()
        return read

    def _narrow(self, writers: frozenset[str]) -> None:
        self._suspects = {gap: self._of(gap, writers) & writers for gap in self.position.gaps}

    def _step(self, event_id: int) -> Position:
        if event_id > self.position.high + 1 and len(self.position.gaps) == MOST_GAPS:
            first, last = self.position.gaps[0]
            _log.warning("an event that is not committed yet is given up by the feed", first=first, last=last)
        self.position = self.position.plus(event_id)
        return self.position

    def _settle(self) -> None:
        unknown = frozenset({"unknown"})
        gaps = tuple(gap for gap in self.position.gaps if self._of(gap, unknown))
        if len(gaps) < len(self.position.gaps):
            self.position = Position(self.position.high, gaps)

    def _of(self, gap: Gap, otherwise: frozenset[str]) -> frozenset[str]:
        """Its suspects; it may be what is left of a greater gap."""
        for (first, last), suspects in self._suspects.items():
            if first <= gap[0] <= last:
                return suspects
        return otherwise
