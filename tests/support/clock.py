"""A clock that nobody waits for."""

import asyncio
import time
from datetime import UTC, datetime, timedelta


class HurriedClock:
    """Sleeping moves it on at once; ``slept`` adds up."""

    def __init__(self) -> None:
        self.slept = 0.0

    def now(self) -> datetime:
        """Real time and everything that was slept."""
        return datetime.now(UTC) + timedelta(seconds=self.slept)

    def monotonic(self) -> float:
        """Real time and everything that was slept."""
        return time.monotonic() + self.slept

    async def sleep(self, seconds: float) -> None:
        """Be so much later."""
        self.slept += seconds
        await asyncio.sleep(0)
