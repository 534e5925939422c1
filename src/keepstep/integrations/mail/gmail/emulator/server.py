"""A Gmail of one's own: the API with its batches, the OAuth endpoints and the control routes on one port.

For a test: ``async with GmailEmulator(EmulatorOptions(messages=10)).serve() as base_url``. For people:
``await serve_forever(EmulatorOptions(), port=9092)``. What is known of the real one and what is guessed is in
docs/mail.md.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

from aiohttp import web

from keepstep.integrations.emulation.answers import Answer
from keepstep.integrations.emulation.faults import http_date
from keepstep.integrations.emulation.requests import Request
from keepstep.integrations.emulation.serving import broken, form_of, sent, serving
from keepstep.integrations.mail.gmail.emulator import answers
from keepstep.integrations.mail.gmail.emulator.api import BASE, BATCH_PATHS, Api, Asked
from keepstep.integrations.mail.gmail.emulator.commands import EmulatorCommands
from keepstep.integrations.mail.gmail.emulator.control import PREFIX, Control
from keepstep.integrations.mail.gmail.emulator.faults import Fault, answered, spoiled
from keepstep.integrations.mail.gmail.emulator.options import EmulatorOptions


class GmailEmulator(EmulatorCommands):
    """An emulated mailbox, its commands as methods, and a server for it."""

    def __init__(self, options: EmulatorOptions | None = None) -> None:
        super().__init__(options)
        self._api = Api(self)
        self._control = Control(self)
        self._batch_before: Answer | None = None

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
        is_api = request.path.startswith(BASE)
        query = request.query_string if is_api else ""  # others carry what nobody should keep
        known = Request(self.log.total + 1, self.now(), request.method, request.path, query, None, None)
        self.log.begin(known)
        try:
            if self.options.latency_ms:
                await asyncio.sleep(self.options.latency_ms / 1000)
            fault = await self._struck(known)
            if fault and fault.kind == "reset":
                return broken(request, hard=fault.variant == "rst")
            answer = answered(fault, self.now()) if fault else None
            if answer is None:
                answer = await self._answer(request)
                good, before = answer, self._batch_before
                if request.path in BATCH_PATHS and answer.status == 200:
                    self._batch_before = good
                if fault and answer.status == 200:
                    answer = spoiled(fault, answer, before)
            known.status, known.sent_bytes = answer.status, len(answer.body) if answer.cut is None else answer.cut
            return await sent(request, answer, date=http_date(self.now()))
        finally:
            self.log.end(known)

    async def _answer(self, request: web.BaseRequest) -> Answer:
        path = request.path
        token = request.headers.get("Authorization", "").partition(" ")[2].strip()
        if path in BATCH_PATHS and request.method == "POST":
            return self._api.batch(await request.read(), request.headers.get("Content-Type", ""), token)
        if path.startswith(BASE):
            return self._api.answer(Asked.of(request.method, request.raw_path), token)
        oauth = self.grants.answer(request.method, path, request.query, await form_of(request))
        return oauth or answers.not_found()

    async def _struck(self, known: Request) -> Fault | None:
        """Live through the faults that cost time; gives the one that spoils the answer."""
        spoiling = None
        for fault in self.faults.take(lambda fault: fault.fits(None, known.path, None)):
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
    """Serve an emulated mailbox until cancelled (or until an event is set). ``started`` is told the base URL once
    requests are answered. Raises ``OSError`` where the port is taken.
    """
    emulator = GmailEmulator(options)
    async with emulator.serve(port, host) as base_url:
        if started is not None:
            started(base_url)
        await (until or asyncio.Event()).wait()
