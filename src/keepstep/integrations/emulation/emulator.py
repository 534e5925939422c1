"""What every emulator is: faults that wait for their requests, a record of those, and answers on one port."""

import asyncio
import contextlib
import time
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Generic, Protocol, TypeVar

import msgspec
from aiohttp import web

from keepstep.integrations.emulation.answers import Answer
from keepstep.integrations.emulation.faults import Fault, FaultBook, http_date
from keepstep.integrations.emulation.requests import Request, RequestLog
from keepstep.integrations.emulation.serving import broken, sent, serving

PREFIX = "/_emulator"
"""Where the control routes are."""


class Options(Protocol):
    """The switches that every emulator has."""

    @property
    def latency_ms(self) -> float: ...

    @property
    def clock_offset_s(self) -> float: ...

    @property
    def requests_kept(self) -> int: ...

    def shown(self) -> dict[str, Any]: ...


class Recorded(Protocol):
    """A request on record."""

    status: int
    sent_bytes: int
    fault: str


F = TypeVar("F", bound=Fault)
R = TypeVar("R", bound=Recorded)
Answering = Callable[[F | None], Awaitable[Answer]]
"""Makes the answer to a request, given the fault that spoils it."""


class Emulator(ABC, Generic[F, R]):
    """An emulated upstream, its commands as methods, and a server for it. Commands raise ``ValueError`` in plain words.

    ``options`` gives its switches as they are now, ``kind`` is its faults' class.
    """

    path = ""
    """What the API's address has after the origin."""

    def __init__(self, kind: type[F], options: Callable[[], Options]) -> None:
        self.faults: FaultBook[F] = FaultBook()
        self._kind = kind
        self._switches = options
        self._held_back = asyncio.Event()

    def now(self) -> float:
        """The emulator's clock: real time and the offset."""
        return time.time() + self._switches().clock_offset_s

    @abstractmethod
    def switch(self, **values: Any) -> None:
        """Change switches; those that shape the seeded data need ``reset``."""

    @abstractmethod
    def reset(self, **values: Any) -> None:
        """Back to the seed (with other options, if given)."""

    # Faults

    def fault(self, kind: str, **given: Any) -> None:
        """Arm a fault (see the emulator's ``Fault``): ``fault("429", count=2, retry_after=2)``."""
        self.faults.arm(self._kind.parsed({"kind": kind, **given}))

    def clear_faults(self) -> None:
        """Disarm every fault and let go of hanging requests."""
        self.faults.clear()
        self.release()

    def release(self) -> None:
        """Answer the requests that hang now; later ones hang anew."""
        self._held_back.set()
        self._held_back = asyncio.Event()

    # Serving

    @contextlib.asynccontextmanager
    async def serve(self, port: int = 0, host: str = "127.0.0.1") -> AsyncIterator[str]:
        """Serve while the block lasts; gives the base URL of the API. Port 0 takes a free one. Raises ``OSError``
        where the port is taken.
        """
        async with serving(self._handle, host, port) as origin:
            try:
                yield origin + self.path
            finally:
                self.release()

    @abstractmethod
    async def _controlled(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer a control request."""

    @abstractmethod
    async def _begin(self, request: web.BaseRequest) -> tuple[R, Answering[F]]:
        """Put a request on record; gives what will answer it too."""

    @abstractmethod
    def _end(self, known: R) -> None:
        """A request got its answer, or its connection broke."""

    @abstractmethod
    def _fits(self, fault: F, known: R) -> bool:
        """Whether a request is one that a fault waits for."""

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request and put it on record."""
        if request.path.startswith(PREFIX):
            return await self._controlled(request)
        known, answering = await self._begin(request)
        try:
            if latency_ms := self._switches().latency_ms:
                await asyncio.sleep(latency_ms / 1000)
            fault = await self._struck(known)
            if fault and fault.kind == "reset":
                return broken(request, hard=fault.variant == "rst")
            answer = await answering(fault)
            known.status, known.sent_bytes = answer.status, len(answer.body) if answer.cut is None else answer.cut
            return await sent(request, answer, date=http_date(self.now()))
        finally:
            self._end(known)

    async def _struck(self, known: R) -> F | None:
        """Live through the faults that cost time; gives the one that spoils the answer."""
        spoiling = None
        for fault in self.faults.take(lambda fault: self._fits(fault, known)):
            known.fault = f"{known.fault} {fault.kind}".strip()
            if fault.kind == "latency":
                await asyncio.sleep(fault.seconds)
            elif fault.kind == "hang":
                await self._held_back.wait()
            else:
                spoiling = fault
        return spoiling


class ApiEmulator(Emulator[F, Request]):
    """An emulated API, with a log of its requests and a clock that can be moved."""

    def __init__(self, kind: type[F], options: Callable[[], Options]) -> None:
        super().__init__(kind, options)
        self.log = RequestLog(options().requests_kept)

    def set_clock(self, *, offset_s: float | None = None, at: str | None = None) -> None:
        """Move the clock by an offset from real time, or to an ISO instant, from which it goes on."""
        if at is not None:
            instant = datetime.fromisoformat(at)
            offset_s = (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp() - time.time()
        self.switch(clock_offset_s=float(offset_s or 0))

    def requests(self) -> list[Request]:
        """The requests on record, oldest first."""
        return self.log.last()

    def reset_requests(self) -> None:
        """Forget the requests and count anew."""
        self.log.reset()

    def state(self) -> dict[str, Any]:
        """Everything at a glance: clock, switches, armed faults, request counts."""
        return {
            "clock": self.now(),
            "switches": self._switches().shown(),
            "faults": [msgspec.to_builtins(fault) for fault in self.faults.armed()],
            "requests": self.log.counts(),
        }

    def _record(self, request: web.BaseRequest, query: str, entity: str | None, page: int | None) -> Request:
        """A request that arrived, on record."""
        known = Request(self.log.total + 1, self.now(), request.method, request.path, query, entity, page)
        self.log.begin(known)
        return known

    def _end(self, known: Request) -> None:
        self.log.end(known)


async def serve_forever(
    emulator: Emulator[Any, Any],
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    started: Callable[[str], None] | None = None,
    until: asyncio.Event | None = None,
) -> None:
    """Serve an emulator until cancelled (or until an event is set). ``started`` is told the base URL once requests are
    answered. Raises ``OSError`` where the port is taken.
    """
    async with emulator.serve(port, host) as base_url:
        if started is not None:
            started(base_url)
        await (until or asyncio.Event()).wait()
