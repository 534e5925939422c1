"""Asks upstream now and then whether it is there: cheaply, politely, and once however many processes run."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Annotated

import structlog

from keepstep.model.errors import BadRequest
from keepstep.model.integration import Ping
from keepstep.service.connectors import Connectors
from keepstep.service.limits import Limits
from keepstep.service.settings import Preferences
from keepstep.service.shapes import Diagnosed, Shape, diagnosed, one_of
from keepstep.store import pings
from keepstep.store.db import Database

LOOK_EVERY = 15.0
"""Seconds between two looks whether one is due."""
_log = structlog.get_logger()


class PingSample(Shape, Diagnosed):
    """A ping that was kept."""

    at: datetime
    state: Annotated[str, one_of("ok", "degraded", "failing")]
    reason: str
    fix: str
    elapsed_ms: int


class Pinger:
    """Does its ``round`` whenever a ``Loop`` calls it."""

    def __init__(
        self, database: Database, connectors: Connectors, limits: Limits, preferences: Preferences, keys: Iterable[str]
    ) -> None:
        self._database = database
        self._connectors = connectors
        self._limits = limits
        self._preferences = preferences
        self._keys = tuple(keys)

    async def round(self) -> float:
        """Ping what is due; gives the seconds until the next round."""
        every = (await self._preferences.effective()).ping_every
        if every is not None:
            for key in self._keys:
                if await self._may_ping(key, every):
                    await self.ping(key)
        return LOOK_EVERY

    async def _may_ping(self, key: str, every: timedelta) -> bool:
        """An open breaker lets no request leave, and takes no turn: the first ping comes as soon as it may."""
        if not await self._connectors.is_configured(key):
            return False
        breaker, _ = await self._limits.current(key)
        if breaker.state == "open":
            return False
        async with self._database.connection() as connection:
            return await pings.take_turn(connection, key, every=every)

    async def ping(self, key: str) -> Ping | None:
        """Ping a connection and keep the answer; None where no request could leave."""
        try:
            async with self._connectors.lent(key) as (integration, _):
                ping = await integration.ping()
        except BadRequest:  # its credentials have gone meanwhile
            return None
        if await self.keep(key, ping):
            level = "info" if ping.state == "ok" else "warning"
            words = f"{key}: ping {ping.state}. {ping.reason}"
            getattr(_log, level)(words, code=ping.code or None, fix=ping.fix or None)
        return None if ping.code == "breaker-open" else ping

    async def keep(self, key: str, ping: Ping) -> bool:
        """Keep an answer, whoever asked, so that what is said of upstream is what was heard last; gives whether that is
        another one than before.
        """
        if ping.code == "breaker-open":  # nobody was asked
            return False
        async with self._database.connection() as connection:
            before = await pings.newest(connection, key, limit=1)
            await pings.put(connection, key, ping)
        return bool(ping.state != (before[0]["state"] if before else "ok"))

    async def samples(self, key: str, *, limit: int) -> list[PingSample]:
        """The last pings that were kept, newest first."""
        async with self._database.connection() as connection:
            rows = await pings.newest(connection, key, limit=limit)
        return [
            PingSample(
                at=row["at"], state=row["state"], reason=row["reason"], fix=row["fix"], elapsed_ms=row["elapsed_ms"],
                **diagnosed(row["code"]),
            )
            for row in rows
        ]  # fmt: skip
