"""Quota units: what each request costs, and how many are left of a minute."""

from collections.abc import Callable, Mapping

COSTS: Mapping[str, Mapping[str, int]] = {
    "classic": {"list": 5, "get": 5, "history": 2, "profile": 1, "attachment": 5, "labels": 1},
    "2026": {"list": 5, "get": 20, "history": 2, "profile": 1, "attachment": 20, "labels": 1},
}
"""By the older page of Google's, and by that for projects made since May 2026."""


class Units:
    """A window that opens with its first request and closes after a minute, scaled. Refused requests cost nothing."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self.reset()

    def reset(self) -> None:
        """Forget what was used."""
        self._opened: float | None = None
        self.used = 0

    def admit(self, cost: int, limit: int, scale: float) -> float | None:
        """Count one request in, or give the seconds until the window closes. A limit of 0 is none."""
        if not limit:
            return None
        now, length = self._monotonic(), 60.0 * scale
        if self._opened is None or now >= self._opened + length:
            self._opened, self.used = now, 0
        if self.used + cost > limit:
            return self._opened + length - now
        self.used += cost
        return None
