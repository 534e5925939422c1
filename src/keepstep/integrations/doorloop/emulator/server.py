"""A DoorLoop of one's own: the emulated API and its control routes on one port.

For a test: ``async with DoorLoopEmulator(EmulatorOptions(leases=10)).serve() as base_url``. For people:
``await serve_forever(DoorLoopEmulator(), port=9090)``. What is known of the real API and what is guessed is in
docs/emulator.md.
"""

from aiohttp import web

from keepstep.integrations.doorloop.emulator.api import API, Api, page_of, target_of
from keepstep.integrations.doorloop.emulator.commands import EmulatorCommands
from keepstep.integrations.doorloop.emulator.control import DoorLoopControl
from keepstep.integrations.doorloop.emulator.faults import Fault, answered
from keepstep.integrations.doorloop.emulator.options import EmulatorOptions
from keepstep.integrations.emulation.answers import Answer
from keepstep.integrations.emulation.emulator import Answering
from keepstep.integrations.emulation.requests import Request


class DoorLoopEmulator(EmulatorCommands):
    """An emulated DoorLoop account, its commands as methods, and a server for it."""

    path = API

    def __init__(self, options: EmulatorOptions | None = None) -> None:
        super().__init__(options)
        self._api = Api(self)
        self._control = DoorLoopControl(self)

    async def _controlled(self, request: web.BaseRequest) -> web.StreamResponse:
        return await self._control.answer(request)

    async def _begin(self, request: web.BaseRequest) -> tuple[Request, Answering[Fault]]:
        target = target_of(request.path, self.options)
        query = self._without_key(request.query_string)
        known = self._record(request, query, target.entity, page_of(target, request.query))

        async def answering(fault: Fault | None) -> Answer:
            key = request.headers.get("Authorization", "")
            instead = answered(fault, self.now()) if fault else None
            return instead or self._api.answer(request.method, target, request.query, key, fault)

        return known, answering

    def _fits(self, fault: Fault, known: Request) -> bool:
        return fault.fits(known.entity, known.path, known.page)

    def _without_key(self, query: str) -> str:
        key = self.options.api_key
        return query.replace(key, "***") if key and key in query else query
