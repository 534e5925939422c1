"""Faults that wait for their requests, and the headers that go with them; which faults there are, an emulator says."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Generic, Protocol, TypeVar

RETRY_STYLES = ("seconds", "date", "absent")
HEADER_STYLES = ("none", "x-ratelimit", "ratelimit", "ratelimit-draft")


class Waiting(Protocol):
    """A fault as the book sees it: a frozen dataclass with these fields.

    ``count``: how many requests it hits (None: all, for ever); ``after``: how many fitting ones it lets pass first.
    """

    @property
    def kind(self) -> str: ...

    @property
    def count(self) -> int | None: ...

    @property
    def after(self) -> int: ...


F = TypeVar("F", bound=Waiting)


class FaultBook(Generic[F]):
    """The faults that are armed, in the order they were given."""

    def __init__(self) -> None:
        self._armed: list[F] = []

    def arm(self, fault: F) -> None:
        """Add a fault behind the others."""
        if fault.count != 0:
            self._armed.append(fault)

    def clear(self) -> None:
        """Disarm everything."""
        self._armed.clear()

    def armed(self) -> list[F]:
        """What is armed now, with the counts that are left."""
        return list(self._armed)

    def take(self, fits: Callable[[F], bool]) -> list[F]:
        """The faults that hit a request: every fitting latency, and the first fitting one of another kind. Their
        counts drop. ``fits``: whether the request is one that a fault waits for.
        """
        hit: list[F] = []
        left: list[F] = []
        struck = False
        for fault in self._armed:
            if (struck and fault.kind != "latency") or not fits(fault):
                left.append(fault)
            elif fault.after:
                left.append(replace(fault, after=fault.after - 1))  # type: ignore[type-var]
            else:
                hit.append(fault)
                struck = struck or fault.kind != "latency"
                if fault.count is None:
                    left.append(fault)
                elif fault.count > 1:
                    left.append(replace(fault, count=fault.count - 1))  # type: ignore[type-var]
        self._armed = left
        return hit


def retry_headers(seconds: float | None, style: str, now: float) -> dict[str, str]:
    """``Retry-After`` as seconds or as an HTTP-date, or nothing."""
    if seconds is None or style == "absent":
        return {}
    if style == "date":
        return {"Retry-After": http_date(now + seconds)}
    return {"Retry-After": str(int(seconds) if seconds == int(seconds) else seconds)}


def limit_headers(style: str, limit: int, remaining: int, reset_s: float, now: float) -> dict[str, str]:
    """What is left of a rate limit, in one of the header families of section 10 of the upstream notes."""
    if style == "x-ratelimit":
        reset = str(int(now + reset_s))
        return {"X-RateLimit-Limit": str(limit), "X-RateLimit-Remaining": str(remaining), "X-RateLimit-Reset": reset}
    if style == "ratelimit":
        return {
            "RateLimit-Limit": str(limit),
            "RateLimit-Remaining": str(remaining),
            "RateLimit-Reset": f"{reset_s:.0f}",
        }
    if style == "ratelimit-draft":
        return {
            "RateLimit-Policy": f'"default";q={limit};w=60',
            "RateLimit": f'"default";r={remaining};t={reset_s:.0f}',
        }
    return {}


def http_date(now: float) -> str:
    """An epoch second as HTTP writes it."""
    return format_datetime(datetime.fromtimestamp(int(now), UTC), usegmt=True)
