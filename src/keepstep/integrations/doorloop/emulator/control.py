"""The control routes below ``/_emulator``: commands as JSON, for loopback callers only."""

import base64
from collections.abc import Mapping
from typing import Any

from aiohttp import web

from keepstep.integrations.doorloop.emulator.commands import EmulatorCommands
from keepstep.integrations.doorloop.emulator.poison import POISONS, poisons_for
from keepstep.integrations.emulation.control import Control, Posts

_ROWS_AT_ONCE = 2000


class DoorLoopControl(Control):
    """The control routes of an emulated DoorLoop."""

    records = ("records/ENTITY",)

    def __init__(self, commands: EmulatorCommands) -> None:
        self._commands = commands
        posts: Posts = {
            "changes": self._change,
            "poison": self._poison,
            "inject": self._inject,
            "cure": lambda body: {"cured": commands.cure(_text(body, "entity"))},
        }
        super().__init__(commands, posts, {"poison": lambda: {"kinds": list(POISONS)}})

    async def command(self, request: web.BaseRequest, route: str) -> web.StreamResponse:
        """Do what a route is for. What is raised is the caller's fault."""
        if request.method == "GET" and route.startswith("records/"):
            return await self._records(request, route.removeprefix("records/"))
        return await super().command(request, route)

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
