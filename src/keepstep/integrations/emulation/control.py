"""The control routes below ``/_emulator``: commands as JSON, for loopback callers only."""

import json
from collections.abc import Callable, Mapping
from typing import Any

from aiohttp import web

from keepstep.integrations.emulation.emulator import PREFIX, ApiEmulator
from keepstep.integrations.emulation.serving import is_loopback

Posts = Mapping[str, Callable[[Any], Any]]
Gets = Mapping[str, Callable[[], Any]]


class Control:
    """Turns control requests into commands. Every refusal is JSON with a ``message``.

    ``posts`` and ``gets`` are what an emulator has besides the commands that all have.
    """

    records: tuple[str, ...] = ()
    """Routes to its records, as they are listed where a command is not known."""

    def __init__(self, emulator: ApiEmulator[Any], posts: Posts, gets: Gets | None = None) -> None:
        self._emulator = emulator
        self._posts: Posts = {
            "faults": self._arm,
            "faults/clear": lambda _body: emulator.clear_faults(),
            "release": lambda _body: emulator.release(),
            **posts,
            "switches": lambda body: emulator.switch(**body),
            "clock": lambda body: emulator.set_clock(**body),
            "reset": lambda body: emulator.reset(**body),
            "requests/reset": lambda _body: emulator.reset_requests(),
        }
        self._gets: Gets = {
            "state": emulator.state,
            "requests": self._requests,
            "faults": lambda: {"faults": emulator.state()["faults"]},
            **(gets or {}),
        }

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one control request."""
        if not is_loopback(request.remote):
            return web.json_response({"message": "control is for callers on this machine only"}, status=403)
        route = request.path.removeprefix(PREFIX).strip("/")
        try:
            return await self.command(request, route)
        except (ValueError, TypeError, KeyError) as error:
            return web.json_response({"message": str(error)}, status=400)

    async def command(self, request: web.BaseRequest, route: str) -> web.StreamResponse:
        """Do what a route is for. What is raised is the caller's fault."""
        if request.method == "GET" and route in self._gets:
            return web.json_response(self._gets[route]())
        if request.method == "POST" and route in self._posts:
            body = json.loads(await request.read() or b"{}")
            if not isinstance(body, dict) and route != "faults":
                raise ValueError("the body is a JSON mapping of names to values")
            done = self._posts[route](body)
            return web.json_response({"ok": True} if done is None else done)
        if request.method == "DELETE" and route == "faults":
            self._emulator.clear_faults()
            return web.json_response({"ok": True})
        known = [f"GET {PREFIX}/{name}" for name in (*self._gets, *self.records)]
        known += [f"POST {PREFIX}/{name}" for name in self._posts]
        message = f"no command at {request.method} {request.path}"
        return web.json_response({"message": message, "commands": known}, status=404)

    def _arm(self, body: Any) -> Any:
        for fault in body if isinstance(body, list) else [body]:
            self._emulator.fault(**fault)
        return {"faults": self._emulator.state()["faults"]}

    def _requests(self) -> Any:
        return {**self._emulator.log.counts(), "requests": [one.shown() for one in self._emulator.requests()]}
