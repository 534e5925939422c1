"""The control routes below ``/_emulator``: commands as JSON, for loopback callers only."""

import base64
from typing import Any

from keepstep.integrations.emulation.control import Control, Posts
from keepstep.integrations.mail.gmail.emulator.commands import EmulatorCommands


class GmailControl(Control):
    """The control routes of an emulated mailbox."""

    def __init__(self, commands: EmulatorCommands) -> None:
        self._commands = commands
        posts: Posts = {
            "changes": self._change,
            "inject": lambda body: {"id": commands.inject(base64.b64decode(body["base64"]))},
            "expire": lambda _body: commands.expire(),
            "revoke": lambda _body: commands.revoke(),
            "end-access": lambda _body: commands.end_access(),
        }
        super().__init__(commands, posts, {"records/messages": commands.shown_truth})

    def _change(self, body: dict[str, Any]) -> Any:
        raw = base64.b64decode(body.pop("base64")) if "base64" in body else None
        return self._commands.change(**body, raw=raw)
