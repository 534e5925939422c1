"""Pings by the clock: whether upstream still answers, where nothing else has asked it lately."""

import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Annotated

from keepstep.service.inspection import Inspection
from keepstep.service.shapes import Shape, one_of
from keepstep.service.upstream import PingAnswer
from keepstep.store import pings as store
from keepstep.store.db import Database
from keepstep.store.janitor import take_turn

_LOOK_EVERY = 15.0
_MOST_LISTED = 100


class PingRecord(Shape):
    """How upstream answered once."""

    at: datetime
    state: Annotated[str, one_of("ok", "degraded", "failing")]
    code: str
    reason: str
    elapsed_ms: int


class Pings:
    """Asks upstream, and keeps what it answered. ``every``: seconds between two pings by the clock, 0 for none."""

    def __init__(
        self, database: Database, inspection: Inspection, keys: Sequence[str], every: Callable[[], Awaitable[float]]
    ) -> None:
        self._database = database
        self._inspection = inspection
        self._keys = keys
        self._every = every
        self._began = time.monotonic()

    async def ping(self, key: str) -> PingAnswer:
        """Ask now. Raises ``NotFound``."""
        answer = await self._inspection.ping(key)
        if answer.elapsed_ms or answer.ok:  # something left
            await self._keep(key, answer)
        return answer

    async def newest(self, key: str, *, limit: int = 20) -> list[PingRecord]:
        """The last answers, newest first."""
        async with self._database.connection() as connection:
            rows = await store.newest(connection, key, limit=min(max(limit, 1), _MOST_LISTED))
        return [PingRecord(**row) for row in rows]

    async def round(self) -> float:
        """Ping every integration that is due; one process does it. Gives the seconds until the next round."""
        every = await self._every()
        if every and time.monotonic() - self._began >= min(every, 60.0):
            for key in self._keys:
                if await self._inspection.is_configured(key) and await self._is_due(key, every):
                    await self.ping(key)
        return _LOOK_EVERY

    async def _is_due(self, key: str, every: float) -> bool:
        async with self._database.connection() as connection:
            if not await store.due(connection, key, every=every):
                return False
            return await take_turn(connection, f"ping: {key}", every=every)

    async def _keep(self, key: str, answer: PingAnswer) -> None:
        code = "" if answer.ok else answer.state
        async with self._database.connection() as connection, connection.transaction():
            await store.put(
                connection, key, state=answer.state, code=code, reason=answer.reason, elapsed_ms=answer.elapsed_ms
            )
