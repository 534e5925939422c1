"""Google's quotas: so many requests a minute, for each account and each kind of request."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Refusal:
    """A full quota: which, and the seconds until it is open again."""

    scope: str
    seconds: float


class Quotas:
    """Windows that open with their first request and close after a minute, scaled. Refused requests do not count."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._open: dict[tuple[str, str], tuple[float, int]] = {}

    def reset(self) -> None:
        """Forget what was used."""
        self._open.clear()

    def admit(self, account: str, scope: str, limit: int, scale: float) -> Refusal | None:
        """Count one request in, or refuse it. A limit of 0 is none."""
        if not limit:
            return None
        now, length = self._monotonic(), 60.0 * scale
        opened, used = self._open.get((account, scope), (now, 0))
        if now >= opened + length:
            opened, used = now, 0
        if used >= limit:
            return Refusal(scope, opened + length - now)
        self._open[account, scope] = (opened, used + 1)
        return None

    def used(self) -> dict[str, int]:
        """Requests counted in each window, for people to look at."""
        return {f"{account}: {scope}": used for (account, scope), (_, used) in self._open.items()}
