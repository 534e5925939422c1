"""The emulator's own record of requests: what a test or a benchmark asks it afterwards."""

from collections import Counter, deque
from dataclasses import dataclass
from typing import Any


@dataclass(slots=True)
class Request:
    """One request. ``ts`` is an epoch second of the emulator's clock; ``status`` is 0 while it is under way and
    where the connection was broken instead of answered. No header is kept, so no key is.
    """

    number: int
    ts: float
    method: str
    path: str
    query: str
    entity: str | None
    page: int | None
    status: int = 0
    sent_bytes: int = 0
    fault: str = ""

    def shown(self) -> dict[str, Any]:
        """The request as JSON."""
        return {name: getattr(self, name) for name in self.__slots__}


class RequestLog:
    """Counts everything, keeps the last ``keep`` requests."""

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self.in_flight = 0
        self.reset()

    def reset(self) -> None:
        """Start counting again; requests under way stay in flight."""
        self.total = 0
        self.max_in_flight = self.in_flight
        self.sent_bytes = 0
        self.by_status: Counter[int] = Counter()
        self.by_entity: Counter[str] = Counter()
        self._last: deque[Request] = deque(maxlen=self._keep)

    def begin(self, request: Request) -> None:
        """A request arrived."""
        self.total += 1
        self.in_flight += 1
        self.max_in_flight = max(self.max_in_flight, self.in_flight)
        self.by_entity[request.entity or "-"] += 1
        self._last.append(request)

    def end(self, request: Request) -> None:
        """A request got its answer, or its connection broke."""
        self.in_flight -= 1
        self.by_status[request.status] += 1
        self.sent_bytes += request.sent_bytes

    def last(self) -> list[Request]:
        """The kept requests, oldest first."""
        return list(self._last)

    def counts(self) -> dict[str, Any]:
        """The counts since the last reset."""
        return {
            "total": self.total,
            "in_flight": self.in_flight,
            "max_in_flight": self.max_in_flight,
            "sent_bytes": self.sent_bytes,
            "by_status": {str(status): count for status, count in sorted(self.by_status.items())},
            "by_entity": dict(sorted(self.by_entity.items())),
        }
