"""A DoorLoop of one's own: the emulated API and its control routes on one port.

For a test: ``async with DoorLoopEmulator(EmulatorOptions(leases=10)).serve() as base_url``. For people:
``await serve_forever(EmulatorOptions(), port=9090)``. What is known of the real API and what is guessed is in
docs/emulator.md.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from aiohttp import web

from keepstep.integrations.doorloop.emulator.api import API, Api, page_of, target_of
from keepstep.integrations.doorloop.emulator.commands import EmulatorCommands
from keepstep.integrations.doorloop.emulator.control import PREFIX, Control
from keepstep.integrations.doorloop.emulator.faults import Fault, answered
from keepstep.integrations.doorloop.emulator.options import EmulatorOptions
from keepstep.integrations.emulation.faults import http_date
from keepstep.integrations.emulation.requests import Request
from keepstep.integrations.emulation.serving import broken, sent, serving


class DoorLoopEmulator(EmulatorCommands):
    """An emulated DoorLoop account, its commands as methods, and a server for it."""

    def __init__(self, options: EmulatorOptions | None = None) -> None:
        super().__init__(options)
        self._api = Api(self)
        self._control = Control(self)
        self._date: tuple[int, str] = (0, "")

    @contextlib.asynccontextmanager
    async def serve(self, port: int = 0, host: str = "127.0.0.1") -> AsyncIterator[str]:
        """Serve while the block lasts; gives the base URL of the API. Port 0 takes a free one. Raises ``OSError``
        where the port is taken.
        """
        async with serving(self._handle, host, port) as origin:
            try:
                yield origin + API
            finally:
                self.release()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request and put it on record."""
        if request.path.startswith(PREFIX):
            return await self._control.answer(request)
        target = target_of(request.path, self.options)
        page = page_of(target, request.query)
        known = Request(
            self.log.total + 1,
            self.account.now(),
            request.method,
            request.path,
            self._without_key(request.query_string),
            target.entity,
            page,
        )
        self.log.begin(known)
        try:
            if self.options.latency_ms:
                await asyncio.sleep(self.options.latency_ms / 1000)
            fault = await self._struck(known)
            if fault and fault.kind == "reset":
                return broken(request, hard=fault.variant == "rst")
            answer = answered(fault, self.account.now()) if fault else None
            if answer is None:
                key = request.headers.get("Authorization", "")
                answer = self._api.answer(request.method, target, request.query, key, fault)
            known.status, known.sent_bytes = answer.status, len(answer.body) if answer.cut is None else answer.cut
            return await sent(request, answer, date=self._now_as_date())
        finally:
            self.log.end(known)

    async def _struck(self, known: Request) -> Fault | None:
        """Live through the faults that cost time; gives the one that spoils the answer."""
        spoiling = None
        for fault in self.faults.take(lambda fault: fault.fits(known.entity, known.path, known.page)):
            known.fault = f"{known.fault} {fault.kind}".strip()
            if fault.kind == "latency":
                await asyncio.sleep(fault.seconds)
            elif fault.kind == "hang":
                await self.until_released()
            else:
                spoiling = fault
        return spoiling

    def _now_as_date(self) -> str:
        now = int(self.account.now())
        if self._date[0] != now:
            self._date = (now, http_date(now))
        return self._date[1]

    def _without_key(self, query: str) -> str:
        key = self.options.api_key
        return query.replace(key, "***") if key and key in query else query


async def serve_forever(
    options: EmulatorOptions | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    started: Callable[[str], None] | None = None,
    until: asyncio.Event | None = None,
) -> None:
    """Serve an emulated account until cancelled (or until an event is set). ``started`` is told the base URL once
    requests are answered. Raises ``OSError`` where the port is taken.
    """
    emulator = DoorLoopEmulator(options)
    async with emulator.serve(port, host) as base_url:
        if started is not None:
            started(base_url)
        await (until or asyncio.Event()).wait()
