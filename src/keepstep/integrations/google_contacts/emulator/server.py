"""A Google of one's own: the People API, the OAuth endpoints and the control routes on one port.

For a test: ``async with GoogleEmulator(EmulatorOptions(people=10)).serve() as base_url``. For people:
``await serve_forever(GoogleEmulator(), port=9091)``. What is known of the real one and what is guessed is in
docs/google_contacts.md.
"""

from collections.abc import Mapping

from aiohttp import web

from keepstep.integrations.emulation.answers import Answer
from keepstep.integrations.emulation.emulator import Answering
from keepstep.integrations.emulation.requests import Request
from keepstep.integrations.emulation.serving import form_of
from keepstep.integrations.google_contacts.emulator import answers
from keepstep.integrations.google_contacts.emulator.api import PATH, Api, page_of
from keepstep.integrations.google_contacts.emulator.commands import EmulatorCommands
from keepstep.integrations.google_contacts.emulator.control import ContactsControl
from keepstep.integrations.google_contacts.emulator.faults import Fault, answered, spoiled
from keepstep.integrations.google_contacts.emulator.options import EmulatorOptions


class GoogleEmulator(EmulatorCommands):
    """Emulated Google accounts, their commands as methods, and a server for them."""

    def __init__(self, options: EmulatorOptions | None = None) -> None:
        super().__init__(options)
        self._api = Api(self)
        self._control = ContactsControl(self)

    async def _controlled(self, request: web.BaseRequest) -> web.StreamResponse:
        return await self._control.answer(request)

    async def _begin(self, request: web.BaseRequest) -> tuple[Request, Answering[Fault]]:
        authorization = request.headers.get("Authorization", "")
        grant = self.grants.of_access(authorization.partition(" ")[2].strip())
        page = page_of(request.query) if request.path == PATH else None
        query = request.query_string if request.path == PATH else ""  # others carry what nobody should keep
        known = self._record(request, query, grant.account if grant else None, page)

        async def answering(fault: Fault | None) -> Answer:
            instead = answered(fault, self.now()) if fault else None
            answer = instead or await self._answer(request, authorization)
            return self._spoiled(fault, answer, request.query) if fault and answer.status == 200 else answer

        return known, answering

    def _fits(self, fault: Fault, known: Request) -> bool:
        return fault.fits(known.entity, known.path, known.page)

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
