"""A Gmail of one's own: the API with its batches, the OAuth endpoints and the control routes on one port.

For a test: ``async with GmailEmulator(EmulatorOptions(messages=10)).serve() as base_url``. For people:
``await serve_forever(GmailEmulator(), port=9092)``. What is known of the real one and what is guessed is in
docs/mail.md.
"""

from aiohttp import web

from keepstep.integrations.emulation.answers import Answer
from keepstep.integrations.emulation.emulator import Answering
from keepstep.integrations.emulation.requests import Request
from keepstep.integrations.emulation.serving import form_of
from keepstep.integrations.mail.gmail.emulator import answers
from keepstep.integrations.mail.gmail.emulator.api import BASE, BATCH_PATHS, Api, Asked
from keepstep.integrations.mail.gmail.emulator.commands import EmulatorCommands
from keepstep.integrations.mail.gmail.emulator.control import GmailControl
from keepstep.integrations.mail.gmail.emulator.faults import Fault, answered, spoiled
from keepstep.integrations.mail.gmail.emulator.options import EmulatorOptions


class GmailEmulator(EmulatorCommands):
    """An emulated mailbox, its commands as methods, and a server for it."""

    def __init__(self, options: EmulatorOptions | None = None) -> None:
        super().__init__(options)
        self._api = Api(self)
        self._control = GmailControl(self)
        self._batch_before: Answer | None = None

    async def _controlled(self, request: web.BaseRequest) -> web.StreamResponse:
        return await self._control.answer(request)

    async def _begin(self, request: web.BaseRequest) -> tuple[Request, Answering[Fault]]:
        query = request.query_string if request.path.startswith(BASE) else ""  # others carry what nobody should keep

        async def answering(fault: Fault | None) -> Answer:
            instead = answered(fault, self.now()) if fault else None
            if instead is not None:
                return instead
            answer, before = await self._answer(request), self._batch_before
            if request.path in BATCH_PATHS and answer.status == 200:
                self._batch_before = answer
            return spoiled(fault, answer, before) if fault and answer.status == 200 else answer

        return self._record(request, query, None, None), answering

    def _fits(self, fault: Fault, known: Request) -> bool:
        return fault.fits(known.path)

    async def _answer(self, request: web.BaseRequest) -> Answer:
        path = request.path
        token = request.headers.get("Authorization", "").partition(" ")[2].strip()
        if path in BATCH_PATHS and request.method == "POST":
            return self._api.batch(await request.read(), request.headers.get("Content-Type", ""), token)
        if path.startswith(BASE):
            return self._api.answer(Asked.of(request.method, request.raw_path), token)
        oauth = self.grants.answer(request.method, path, request.query, await form_of(request))
        return oauth or answers.not_found()
