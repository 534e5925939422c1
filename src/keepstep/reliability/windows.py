"""The vendor's own limits: so many requests in any so many seconds.

What is sent is always counted, but the limits hold only once upstream has shown that it enforces them: with a header,
or with a 429. A window counts a request from its grant on, and until a full length after its *answer* was reported:
wherever upstream's window begins, it never holds more than ours did.
"""

import math
from dataclasses import dataclass

from msgspec import Struct
from msgspec.structs import replace

GRAIN = 60
"""Entries of a window: requests are counted in steps of a sixtieth of its length, rounded up."""
REMEMBERED = 24 * 3600.0
"""Seconds for which upstream's word holds."""


@dataclass(frozen=True, slots=True)
class Window:
    """A limit of the vendor's."""

    limit: int
    seconds: float


class Sends(Struct, frozen=True, omit_defaults=True):
    """What was sent within one window: pairs of the end of a step and a count.

    ``told_at``: when upstream last showed that it counts.
    """

    seconds: float
    told_at: float | None = None
    log: tuple[tuple[float, int], ...] = ()

    def holds(self, now: float) -> bool:
        """Whether the limit is to be kept."""
        return self.told_at is not None and now - self.told_at < REMEMBERED

    def count(self, now: float) -> int:
        """Requests within the window that ends now."""
        return sum(n for end, n in self.log if end + self.seconds > now)

    def added(self, count: int, now: float) -> "Sends":
        """With requests whose answers have come."""
        step = self.seconds / GRAIN
        end = math.ceil(now / step) * step
        kept = tuple(entry for entry in self.log if entry[0] + self.seconds > now)
        if not count:
            return self if len(kept) == len(self.log) else replace(self, log=kept)
        if kept and kept[-1][0] >= end:
            return replace(self, log=(*kept[:-1], (kept[-1][0], kept[-1][1] + count)))
        return replace(self, log=(*kept, (end, count)))

    def told(self, window: Window, now: float) -> "Sends":
        """When upstream has shown that it counts. A limit that it let us pass twice over is not in force, though."""
        return self if self.count(now) > 2 * window.limit else replace(self, told_at=now)

    def free_at(self, window: Window, pending: int, now: float) -> float | None:
        """When the next request fits in: at most now if it does, None while only answers can tell."""
        surplus = self.count(now) + pending - window.limit + 1
        if surplus <= 0:
            return now
        for end, count in self.log:
            if end + self.seconds > now:
                surplus -= count
            if surplus <= 0:
                return end + self.seconds
        return None

    def moved(self, seconds: float) -> "Sends":
        """With all times so much later."""
        told_at = None if self.told_at is None else self.told_at + seconds
        return replace(self, told_at=told_at, log=tuple((end + seconds, count) for end, count in self.log))
