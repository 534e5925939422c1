"""The health score, hour by hour."""

from collections.abc import Sequence
from datetime import datetime

from keepstep.service.shapes import Shape
from keepstep.service.status import DeductionView, Overview
from keepstep.store import health as store
from keepstep.store.db import Database
from keepstep.store.janitor import take_turn

MOST_HOURS = 24 * 90
_LOOK_EVERY = 60.0


class HealthAt(Shape):
    """How well an integration was in the hour that began then."""

    hour: datetime
    score: int
    deductions: list[DeductionView]


class HealthHistory:
    """Keeps the score once an hour, and gives what was kept."""

    def __init__(self, database: Database, overview: Overview, keys: Sequence[str]) -> None:
        self._database = database
        self._overview = overview
        self._keys = keys

    async def since(self, key: str, *, hours: int) -> list[HealthAt]:
        """The last hours, oldest first."""
        async with self._database.connection() as connection:
            rows = await store.since(connection, key, hours=min(max(hours, 1), MOST_HOURS))
        return [HealthAt(**row) for row in rows]

    async def round(self) -> float:
        """Keep the scores where this hour's are not kept yet; gives the seconds until the next look."""
        async with self._database.connection() as connection:
            if not await take_turn(connection, "health history", every=_LOOK_EVERY):
                return _LOOK_EVERY
        for key in self._keys:
            found = await self._overview.health(key)
            async with self._database.connection() as connection:
                await store.put(connection, key, found.score, [d.model_dump(mode="json") for d in found.deductions])
        return _LOOK_EVERY
