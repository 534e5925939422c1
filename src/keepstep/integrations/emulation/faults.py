"""Faults that wait for their requests, and the headers that go with them; which kinds there are, an emulator says."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime
from email.utils import format_datetime
from functools import lru_cache
from typing import Any, ClassVar, Generic, Self, TypeVar

from keepstep.integrations.emulation.answers import Answer

RETRY_STYLES = ("seconds", "date", "absent")
HEADER_STYLES = ("none", "x-ratelimit", "ratelimit", "ratelimit-draft")


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault and the requests it waits for; an emulator's own says what narrows it.

    ``count``: how many requests it hits (None: all, for ever); ``after``: how many fitting ones it lets pass first.
    ``seconds``: how long latency lasts. ``keep``: the share of a truncated body that arrives. ``retry_after`` is in
    seconds.
    """

    KINDS: ClassVar[Mapping[str, tuple[str, ...]]] = {}
    """Kind -> its variants, the first being the default. A kind may also be a status: ``429``, ``503``."""

    kind: str
    variant: str = ""
    count: int | None = 1
    after: int = 0
    status: int = 500
    retry_after: float | None = None
    seconds: float = 1.0
    keep: float = 0.6

    @classmethod
    def parsed(cls, given: Mapping[str, Any]) -> Self:
        """A fault from JSON. Raises ``ValueError`` saying which value is not possible."""
        values = dict(given)
        if values.pop("forever", False):
            values["count"] = None
        kind = str(values.pop("kind", ""))
        if kind.isdigit():
            values["status"], kind = int(kind), "status"
        known = [f.name for f in fields(cls)]
        if unknown := sorted(set(values) - set(known)):
            raise ValueError(f"a fault has no {unknown[0]!r}; it has {', '.join(known)}, forever")
        if kind not in cls.KINDS:
            raise ValueError(f"no fault is called {kind!r}; there are {', '.join(cls.KINDS)} and statuses such as 429")
        fault = cls(kind, **values)
        fault._check_numbers()
        fault.check()
        variants = cls.KINDS[kind]
        if fault.variant and fault.variant not in variants:
            raise ValueError(f"{kind} comes as {', '.join(variants) or 'one variant only'}, not {fault.variant!r}")
        return fault if fault.variant or not variants else replace(fault, variant=variants[0])

    def check(self) -> None:
        """Raise ``ValueError`` for what is not possible besides numbers below 0."""

    def _check_numbers(self) -> None:
        for field in fields(self):
            name, value = field.name, getattr(self, field.name)
            if value is None and field.type in (int | None, float | None):
                continue
            is_number = isinstance(value, int | float) and not isinstance(value, bool) and value >= 0
            if field.type in (int, int | None) and not (is_number and isinstance(value, int)):
                raise ValueError(f"{name} is a whole number of 0 or more, not {value!r}")
            if field.type in (float, float | None) and not is_number:
                raise ValueError(f"{name} is a number of 0 or more, not {value!r}")
        if not 200 <= self.status <= 599:
            raise ValueError("status lies between 200 and 599")


@dataclass(frozen=True, slots=True)
class ApiFault(Fault):
    """A fault of an API. ``path`` is a part of a request's."""

    path: str | None = None
    retry_after_as: str = "seconds"

    def check(self) -> None:
        """Raise ``ValueError`` for what is not possible besides numbers below 0."""
        if self.keep >= 1:
            raise ValueError("keep lies below 1")
        if self.retry_after_as not in RETRY_STYLES:
            raise ValueError(f"retry_after_as is one of {', '.join(RETRY_STYLES)}")

    def truncated(self, answer: Answer) -> Answer:
        """An answer of which only a share arrives: a connection that breaks off, or a body that ends early."""
        kept = max(1, int(len(answer.body) * self.keep))
        return replace(answer, cut=kept) if self.variant == "connection" else replace(answer, body=answer.body[:kept])


F = TypeVar("F", bound=Fault)


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
                left.append(replace(fault, after=fault.after - 1))
            else:
                hit.append(fault)
                struck = struck or fault.kind != "latency"
                if fault.count is None:
                    left.append(fault)
                elif fault.count > 1:
                    left.append(replace(fault, count=fault.count - 1))
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
    return _written(int(now))


@lru_cache(maxsize=8)
def _written(second: int) -> str:
    return format_datetime(datetime.fromtimestamp(second, UTC), usegmt=True)
