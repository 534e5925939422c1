"""An ERP of one's own: the emulated pages and their control routes on one port.

For a test: ``async with ErpEmulator(EmulatorOptions(customers=10)).serve() as base_url``. For people:
``await serve_forever(ErpEmulator(), port=9091)``. The routes are invented: no ERP is like another.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from aiohttp import web

from keepstep.integrations.emulation.answers import Answer
from keepstep.integrations.emulation.emulator import PREFIX, Answering
from keepstep.integrations.emulation.serving import form_of, is_loopback
from keepstep.integrations.erp.emulator.commands import EmulatorCommands, Request
from keepstep.integrations.erp.emulator.desk import BASE, COOKIE, Target
from keepstep.integrations.erp.emulator.faults import Fault


class ErpEmulator(EmulatorCommands):
    """An emulated ERP, its commands as methods, and a server for it."""

    path = BASE

    async def _begin(self, request: web.BaseRequest) -> tuple[Request, Answering[Fault]]:
        form = await form_of(request)
        target = self.desk.target_of(request.method, request.path, form)

        async def answering(fault: Fault | None) -> Answer:
            return await self._answer(target, form, request.cookies.get(COOKIE, ""), fault)

        return self.begin(target.step, target.report, target.agent), answering

    def _end(self, known: Request) -> None:
        self.in_flight -= 1

    def _fits(self, fault: Fault, known: Request) -> bool:
        return fault.fits(known.step, known.report, known.agent)

    async def _answer(self, target: Target, form: Mapping[str, str], cookie: str, fault: Fault | None) -> Answer:
        """Printing takes a while: beside the event loop."""
        if target.step in ("poll", "download"):
            return await asyncio.to_thread(self.desk.answer, target, form, cookie, fault)
        return self.desk.answer(target, form, cookie, fault)

    async def _controlled(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one control request, for callers on this machine only. Every refusal is JSON with a ``message``."""
        if not is_loopback(request.remote):
            return web.json_response({"message": "control is for callers on this machine only"}, status=403)
        route = request.path.removeprefix(PREFIX).strip("/")
        try:
            if request.method == "GET":
                return self._shown(request, route)
            body = json.loads(await request.read() or b"{}")
            return web.json_response(self._done(route, body))
        except (ValueError, TypeError, KeyError) as error:
            return web.json_response({"message": str(error)}, status=400)

    def _shown(self, request: web.BaseRequest, route: str) -> web.Response:
        if route.startswith("document/"):
            report = route.removeprefix("document/").removesuffix(".pdf")
            pdf = self.document(report, request.query.get("agent", "")).pdf
            return web.Response(body=pdf, content_type="application/pdf")
        if route == "requests":
            return web.json_response({"requests": [asdict(one) for one in self.requests()]})
        if route == "state":
            return web.json_response(self.state())
        raise ValueError("GET state, requests, document/REPORT?agent=CODE; POST faults, changes, switches, reset")

    def _done(self, route: str, body: Any) -> Any:
        if route == "faults":
            for fault in body if isinstance(body, list) else [body]:
                self.fault(**fault)
            return {"faults": self.state()["faults"]}
        commands: Mapping[str, Callable[..., Any]] = {
            "changes": self.change, "switches": self.switch, "reset": self.reset, "faults/clear": self.clear_faults,
            "release": self.release, "requests/reset": self.reset_requests,
        }  # fmt: skip
        if route not in commands:
            raise ValueError(f"there is no command {route!r}; there are faults, {', '.join(commands)}")
        return commands[route](**body) or {"ok": True}
