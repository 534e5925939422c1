"""A Google of one's own: the People API, the OAuth endpoints and the control routes on one port.

For a test: ``async with GoogleEmulator(EmulatorOptions(people=10)).serve() as base_url``. For people:
``await serve_forever(EmulatorOptions(), port=9091)``. What is known of the real one and what is guessed is in
docs/google_contacts.md.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping

from aiohttp import web

from keepstep.integrations.emulation.answers import Answer
from keepstep.integrations.emulation.faults import http_date
from keepstep.integrations.emulation.requests import Request
from keepstep.integrations.emulation.serving import broken, form_of, sent, serving
from keepstep.integrations.google_contacts.emulator import answers
from keepstep.integrations.google_contacts.emulator.api import PATH, Api, page_of
from keepstep.integrations.google_contacts.emulator.commands import EmulatorCommands
from keepstep.integrations.google_contacts.emulator.control import PREFIX, Control
from keepstep.integrations.google_contacts.emulator.faults import Fault, answered, spoiled
from keepstep.integrations.google_contacts.emulator.options import EmulatorOptions


class GoogleEmulator(EmulatorCommands):
    """Emulated Google accounts, their commands as methods, and a server for them."""

    def __init__(self, options: EmulatorOptions | None = None) -> None:
        super().__init__(options)
        self._api = Api(self)
        self._control = Control(self)

    @contextlib.asynccontextmanager
    async def serve(self, port: int = 0, host: str = "127.0.0.1") -> AsyncIterator[str]:
        """Serve while the block lasts; gives the base URL of the API, which is that of the OAuth endpoints too. Port 0
        takes a free one. Raises ``OSError`` where the port is taken.
        """
        async with serving(self._handle, host, port) as origin:
            try:
                yield origin
            finally:
                self.release()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request and put it on record."""
        if request.path.startswith(PREFIX):
            return await self._control.answer(request)
        authorization = request.headers.get("Authorization", "")
        grant = self.grants.of_access(authorization.partition(" ")[2].strip())
        page = page_of(request.query) if request.path == PATH else None
        query = request.query_string if request.path == PATH else ""  # others carry what nobody should keep
        known = Request(
            self.log.total + 1, self.now(), request.method, request.path, query,
            grant.account if grant else None, page,
        )  # fmt: skip
        self.log.begin(known)
        try:
            if self.options.latency_ms:
                await asyncio.sleep(self.options.latency_ms / 1000)
            fault = await self._struck(known)
            if fault and fault.kind == "reset":
                return broken(request, hard=fault.variant == "rst")
            answer = answered(fault, self.now()) if fault else None
            if answer is None:
                answer = await self._answer(request, authorization)
                if fault and answer.status == 200:
                    answer = self._spoiled(fault, answer, request.query)
            known.status, known.sent_bytes = answer.status, len(answer.body) if answer.cut is None else answer.cut
            return await sent(request, answer, date=http_date(self.now()))
        finally:
            self.log.end(known)

    async def _answer(self, request: web.BaseRequest, authorization: str) -> Answer:
        path = request.path
        if path.startswith("/v1/"):
            return self._api.answer(request.method, path, request.query, authorization)
        oauth = self.grants.answer(request.method, path, request.query, await form_of(request))
        return oauth or answers.error(404, f"Method not found: {path}")

    def _spoiled(self, fault: Fault, answer: Answer, query: Mapping[str, str]) -> Answer:
        if fault.kind == "shift":
            self.account(fault.account).shift(fault.rows)
            return answer
        return spoiled(fault, answer, query.get("pageToken", ""))

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


async def serve_forever(
    options: EmulatorOptions | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    started: Callable[[str], None] | None = None,
    until: asyncio.Event | None = None,
) -> None:
    """Serve emulated accounts until cancelled (or until an event is set). ``started`` is told the base URL once
    requests are answered. Raises ``OSError`` where the port is taken.
    """
    emulator = GoogleEmulator(options)
    async with emulator.serve(port, host) as base_url:
        if started is not None:
            started(base_url)
        await (until or asyncio.Event()).wait()
