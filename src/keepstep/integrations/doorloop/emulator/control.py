"""The control routes below ``/_emulator``: commands as JSON, for loopback callers only."""

import base64
import json
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

from keepstep.integrations.doorloop.emulator.commands import EmulatorCommands
from keepstep.integrations.doorloop.emulator.poison import POISONS, poisons_for
from keepstep.integrations.emulation.serving import is_loopback

PREFIX = "/_emulator"
_ROWS_AT_ONCE = 2000


class Control:
    """Turns control requests into commands. Every refusal is JSON with a ``message``."""

    def __init__(self, commands: EmulatorCommands) -> None:
        self._commands = commands
        self._posts: Mapping[str, Callable[[Any], Any]] = {
            "faults": self._arm,
            "faults/clear": lambda _body: commands.clear_faults(),
            "release": lambda _body: commands.release(),
            "changes": self._change,
            "poison": self._poison,
            "inject": self._inject,
            "cure": lambda body: {"cured": commands.cure(_text(body, "entity"))},
            "switches": lambda body: commands.switch(**body),
            "clock": lambda body: commands.set_clock(**body),
            "reset": lambda body: commands.reset(**body),
            "requests/reset": lambda _body: commands.reset_requests(),
        }
        self._gets: Mapping[str, Callable[[], Any]] = {
            "state": commands.state,
            "requests": self._requests,
            "faults": lambda: {"faults": commands.state()["faults"]},
            "poison": lambda: {"kinds": list(POISONS)},
        }

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one control request."""
        if not is_loopback(request.remote):
            return web.json_response({"message": "control is for callers on this machine only"}, status=403)
        route = request.path.removeprefix(PREFIX).strip("/")
        if request.method == "GET" and route.startswith("records/"):
            return await self._records(request, route.removeprefix("records/"))
        try:
            return await self._command(request, route)
        except (ValueError, TypeError, KeyError) as error:
            return web.json_response({"message": str(error)}, status=400)

    async def _command(self, request: web.BaseRequest, route: str) -> web.StreamResponse:
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
        known = [f"GET {PREFIX}/{name}" for name in (*self._gets, "records/ENTITY")]
        known += [f"POST {PREFIX}/{name}" for name in self._posts]
        return web.json_response(
            {"message": f"no command at {request.method} {request.path}", "commands": known}, status=404
        )

    def _arm(self, body: Any) -> Any:
        for fault in body if isinstance(body, list) else [body]:
            self._commands.fault(**fault)
        return {"faults": self._commands.state()["faults"]}

    def _change(self, body: dict[str, Any]) -> Any:
        if "set" in body:
            body["patch"] = body.pop("set")
        return self._commands.change(**body)

    def _poison(self, body: dict[str, Any]) -> Any:
        kinds = body.get("kinds", body.get("kind", []))
        entity = _text(body, "entity")
        ids = self._commands.poison(
            entity,
            *(poisons_for(entity) if kinds == "all" else [kinds] if isinstance(kinds, str) else kinds),
            count=int(body.get("count", 1)),
            replace=body.get("replace"),
        )
        return {"ids": ids}

    def _inject(self, body: dict[str, Any]) -> Any:
        raw = base64.b64decode(body["base64"]) if "base64" in body else _text(body, "raw").encode()
        self._commands.inject(_text(body, "entity"), raw, replace=body.get("replace"))

    def _requests(self) -> Any:
        return {**self._commands.log.counts(), "requests": [request.shown() for request in self._commands.requests()]}

    async def _records(self, request: web.BaseRequest, entity: str) -> web.StreamResponse:
        """The truth as JSON lines, or in an envelope with ``?format=data``."""
        try:
            records = self._commands.raw_records(entity)
        except ValueError as error:
            return web.json_response({"message": str(error)}, status=404)
        if request.query.get("format") == "data":
            return web.Response(body=b'{"data":[%b]}' % b",".join(records), content_type="application/json")
        response = web.StreamResponse(headers={"Content-Type": "application/x-ndjson"})
        await response.prepare(request)
        for start in range(0, len(records), _ROWS_AT_ONCE):
            await response.write(b"".join(record + b"\n" for record in records[start : start + _ROWS_AT_ONCE]))
        await response.write_eof()
        return response


def _text(body: Mapping[str, Any], name: str) -> str:
    value = body.get(name)
    if not isinstance(value, str):
        raise ValueError(f"{name!r} is missing, or is not text")
    return value
