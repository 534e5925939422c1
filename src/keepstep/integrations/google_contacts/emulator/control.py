"""The control routes below ``/_emulator``: commands as JSON, for loopback callers only."""

import base64
from typing import Any

from aiohttp import web

from keepstep.integrations.emulation.control import Control, Posts
from keepstep.integrations.google_contacts.emulator.commands import EmulatorCommands


class ContactsControl(Control):
    """The control routes of emulated Google accounts."""

    records = ("records/connections",)

    def __init__(self, commands: EmulatorCommands) -> None:
        self._commands = commands
        posts: Posts = {
            "changes": lambda body: commands.change(**body),
            "inject": self._inject,
            "expire": lambda _body: commands.expire(),
            "revoke": lambda body: commands.revoke(**body),
            "end-access": lambda _body: commands.end_access(),
        }
        super().__init__(commands, posts)

    async def command(self, request: web.BaseRequest, route: str) -> web.StreamResponse:
        """Do what a route is for. What is raised is the caller's fault."""
        if request.method != "GET" or route not in self.records:
            return await super().command(request, route)
        records = self._commands.raw_records(request.query.get("account"))
        return web.Response(body=b"".join(record + b"\n" for record in records), content_type="application/x-ndjson")

    def _inject(self, body: dict[str, Any]) -> Any:
        raw = base64.b64decode(body["base64"]) if "base64" in body else str(body["raw"]).encode()
        self._commands.inject(raw, str(body["name"]), account=body.get("account"))
