"""The two rate windows of DoorLoop: so many requests a minute, so many an hour."""

import math
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(slots=True)
class _Window:
    opened: float
    used: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a request may pass; if not, the seconds to wait. The rest describes the tighter window."""

    retry_after: int | None
    limit: int
    remaining: int
    reset_s: float


class RateWindows:
    """Windows that open with their first request and close after a minute and an hour, scaled. Refused requests are
    not counted.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._open: dict[tuple[str, float], _Window] = {}

    def reset(self) -> None:
        """Forget what was used."""
        self._open.clear()

    def admit(self, scope: str, per_minute: int, per_hour: int, scale: float) -> Verdict | None:
        """Count one request of a scope in, or refuse it. None: no limit is set."""
        limits = [(limit, seconds * scale) for limit, seconds in ((per_minute, 60.0), (per_hour, 3600.0)) if limit]
        if not limits:
            return None
        now = self._monotonic()
        windows = [(limit, length, self._window(scope, length, now)) for limit, length in limits]
        full = [window.opened + length - now for limit, length, window in windows if window.used >= limit]
        if full:
            limit, _length, _window = max(windows, key=lambda entry: entry[1] if entry[2].used >= entry[0] else 0)
            return Verdict(max(1, math.ceil(max(full))), limit, 0, max(full))
        for _limit, _length, window in windows:
            window.used += 1
        limit, length, window = min(windows, key=lambda entry: entry[0] - entry[2].used)
        return Verdict(None, limit, limit - window.used, window.opened + length - now)

    def used(self) -> dict[str, int]:
        """Requests counted in each open window, for people to look at."""
        return {f"{scope} / {length:g} s": window.used for (scope, length), window in self._open.items()}

    def _window(self, scope: str, length: float, now: float) -> _Window:
        window = self._open.get((scope, length))
        if window is None or now >= window.opened + length:
            window = self._open[scope, length] = _Window(now)
        return window
