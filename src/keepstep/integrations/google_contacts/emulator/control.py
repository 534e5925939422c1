"""The control routes below ``/_emulator``: commands as JSON, for loopback callers only."""

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

from keepstep.integrations.emulation.serving import is_loopback
from keepstep.integrations.google_contacts.emulator.commands import EmulatorCommands

PREFIX = "/_emulator"


class Control:
    """Turns control requests into commands. Every refusal is JSON with a ``message``."""

    def __init__(self, commands: EmulatorCommands) -> None:
        self._commands = commands
        self._posts: Mapping[str, Callable[[Any], Any]] = {
            "faults": self._arm,
            "faults/clear": lambda _body: commands.clear_faults(),
            "release": lambda _body: commands.release(),
            "changes": lambda body: commands.change(**body),
            "inject": self._inject,
            "expire": lambda _body: commands.expire(),
            "revoke": lambda body: commands.revoke(**body),
            "end-access": lambda _body: commands.end_access(),
            "switches": lambda body: commands.switch(**body),
            "clock": lambda body: commands.set_clock(**body),
            "reset": lambda body: commands.reset(**body),
            "requests/reset": lambda _body: commands.reset_requests(),
        }
        self._gets: Mapping[str, Callable[[], Any]] = {
            "state": commands.state,
            "requests": self._requests,
            "faults": lambda: {"faults": commands.state()["faults"]},
        }

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one control request."""
        if not is_loopback(request.remote):
            return web.json_response({"message": "control is for callers on this machine only"}, status=403)
        route = request.path.removeprefix(PREFIX).strip("/")
        try:
            return await self._command(request, route)
        except (ValueError, TypeError, KeyError) as error:
            return web.json_response({"message": str(error)}, status=400)

    async def _command(self, request: web.BaseRequest, route: str) -> web.StreamResponse:
        if request.method == "GET" and route == "records/connections":
            records = self._commands.raw_records(request.query.get("account"))
            return web.Response(
                body=b"".join(record + b"\n" for record in records), content_type="application/x-ndjson"
            )
        if request.method == "GET" and route in self._gets:
            return web.json_response(self._gets[route]())
        if request.method == "POST" and route in self._posts:
            body = json.loads(await request.read() or b"{}")
            if not isinstance(body, dict) and route != "faults":
                raise ValueError("the body is a JSON mapping of names to values")
            done = self._posts[route](body)
            return web.json_response({"ok": True} if done is None else done)
        if request.method == "DELETE" and route == "faults":
            self._commands.clear_faults()
            return web.json_response({"ok": True})
        known = [f"GET {PREFIX}/{name}" for name in (*self._gets, "records/connections")]
        known += [f"POST {PREFIX}/{name}" for name in self._posts]
        message = f"no command at {request.method} {request.path}"
        return web.json_response({"message": message, "commands": known}, status=404)

    def _arm(self, body: Any) -> Any:
        for fault in body if isinstance(body, list) else [body]:
            self._commands.fault(**fault)
        return {"faults": self._commands.state()["faults"]}

    def _inject(self, body: dict[str, Any]) -> Any:
        raw = base64.b64decode(body["base64"]) if "base64" in body else str(body["raw"]).encode()
        self._commands.inject(raw, str(body["name"]), account=body.get("account"))

    def _requests(self) -> Any:
        return {**self._commands.log.counts(), "requests": [request.shown() for request in self._commands.requests()]}
