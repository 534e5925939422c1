"""An ERP of one's own: the emulated pages and their control routes on one port.

For a test: ``async with ErpEmulator(EmulatorOptions(customers=10)).serve() as base_url``. For people:
``await serve_forever(EmulatorOptions(), port=9091)``. The routes are invented: no ERP is like another.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import asdict
from typing import Any

from aiohttp import web

from keepstep.integrations.emulation.answers import Answer
from keepstep.integrations.emulation.faults import http_date
from keepstep.integrations.emulation.serving import broken, form_of, is_loopback, sent, serving
from keepstep.integrations.erp.emulator.commands import EmulatorCommands, Request
from keepstep.integrations.erp.emulator.desk import BASE, COOKIE, Target
from keepstep.integrations.erp.emulator.faults import Fault
from keepstep.integrations.erp.emulator.options import EmulatorOptions

PREFIX = "/_emulator"


class ErpEmulator(EmulatorCommands):
    """An emulated ERP, its commands as methods, and a server for it."""

    @contextlib.asynccontextmanager
    async def serve(self, port: int = 0, host: str = "127.0.0.1") -> AsyncIterator[str]:
        """Serve while the block lasts; gives the base URL. Port 0 takes a free one. Raises ``OSError`` where the port
        is taken.
        """
        async with serving(self._handle, host, port) as origin:
            try:
                yield origin + BASE
            finally:
                self.release()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request and put it on record."""
        if request.path.startswith(PREFIX):
            return await self._control(request)
        form = await form_of(request)
        target = self.desk.target_of(request.method, request.path, form)
        known = self.begin(target.step, target.report, target.agent)
        try:
            if self.options.latency_ms:
                await asyncio.sleep(self.options.latency_ms / 1000)
            fault = await self._struck(known)
            if fault is not None and fault.kind == "reset":
                return broken(request, hard=fault.variant == "rst")
            answer = await self._answer(target, form, request.cookies.get(COOKIE, ""), fault)
            known.status, known.sent_bytes = answer.status, len(answer.body) if answer.cut is None else answer.cut
            return await sent(request, answer, date=http_date(self.ledger.now()))
        finally:
            self.end()

    async def _answer(self, target: Target, form: Mapping[str, str], cookie: str, fault: Fault | None) -> Answer:
        """Printing takes a while: beside the event loop."""
        if target.step in ("poll", "download"):
            return await asyncio.to_thread(self.desk.answer, target, form, cookie, fault)
        return self.desk.answer(target, form, cookie, fault)

    async def _struck(self, known: Request) -> Fault | None:
        """Live through the faults that cost time; gives the one that spoils the answer."""
        spoiling = None
        for fault in self.faults.take(lambda fault: fault.fits(known.step, known.report, known.agent)):
            known.fault = f"{known.fault} {fault.kind}".strip()
            if fault.kind == "latency":
                await asyncio.sleep(fault.seconds)
            elif fault.kind == "hang":
                await self.until_released()
            else:
                spoiling = fault
        return spoiling

    async def _control(self, request: web.BaseRequest) -> web.StreamResponse:
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


async def serve_forever(
    options: EmulatorOptions | None = None,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    started: Callable[[str], None] | None = None,
    until: asyncio.Event | None = None,
) -> None:
    """Serve an emulated ERP until cancelled (or until an event is set). ``started`` is told the base URL once requests
    are answered. Raises ``OSError`` where the port is taken.
    """
    emulator = ErpEmulator(options)
    async with emulator.serve(port, host) as base_url:
        if started is not None:
            started(base_url)
        await (until or asyncio.Event()).wait()
