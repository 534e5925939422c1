"""How many requests may be in flight: one at first, more with every good answer, half when upstream is in trouble."""

from msgspec import Struct
from msgspec.structs import replace

REST = 300.0
"""Seconds without a request after which it begins again with one."""
CALM = 1.0
"""Answers to requests that were in flight together are bad together: that counts once in so many seconds."""


class Ramp(Struct, frozen=True, omit_defaults=True):
    """The level reached. Times are seconds since 1970."""

    level: float = 1.0
    cut_at: float = 0.0
    used_at: float = 0.0

    def places(self, most: int) -> int:
        """Requests in flight at most."""
        return max(1, min(most, int(self.level)))

    def raised(self, count: int, most: int) -> "Ramp":
        """After so many good answers: one more for each round of them."""
        level = self.level
        while count > 0 and level < most:
            level = min(level + 1 / int(level), most)
            count -= 1
        return replace(self, level=level) if level != self.level else self

    def cut(self, now: float) -> "Ramp":
        """After a bad answer."""
        if now - self.cut_at < CALM:
            return self
        return replace(self, level=max(1.0, self.level / 2), cut_at=now)

    def used(self, now: float) -> "Ramp":
        """When somebody asks."""
        level = 1.0 if now - self.used_at > REST else self.level
        return replace(self, level=level, used_at=now)

    def moved(self, seconds: float) -> "Ramp":
        """With all times so much later."""
        return replace(self, cut_at=self.cut_at + seconds, used_at=self.used_at + seconds)
