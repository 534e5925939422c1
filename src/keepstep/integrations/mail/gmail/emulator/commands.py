"""Every command that an emulated Gmail takes, as methods. The control routes are these methods over HTTP."""

import base64
import time
from collections.abc import Mapping
from typing import Any

from keepstep.integrations.emulation.emulator import ApiEmulator
from keepstep.integrations.emulation.grants import Grants
from keepstep.integrations.emulation.options import check_unseeded
from keepstep.integrations.mail.gmail.emulator.faults import Fault
from keepstep.integrations.mail.gmail.emulator.mailbox import Mailbox
from keepstep.integrations.mail.gmail.emulator.options import SEED_FIELDS, EmulatorOptions
from keepstep.integrations.mail.gmail.emulator.units import Units

SCOPES = frozenset(
    ("https://mail.google.com/", "https://www.googleapis.com/auth/gmail.readonly",
     "https://www.googleapis.com/auth/gmail.modify")
)  # fmt: skip


class EmulatorCommands(ApiEmulator[Fault]):
    """The mailbox, the consents, the armed faults, the quota and the record of requests."""

    def __init__(self, options: EmulatorOptions | None = None) -> None:
        self.options = options or EmulatorOptions()
        super().__init__(Fault, lambda: self.options)
        self.units = Units(time.monotonic)
        self.grants = Grants(SCOPES, lambda: self.options, self.now)
        self.mailbox = Mailbox(lambda: self.options, self.now)

    # Switches

    def switch(self, **values: Any) -> None:
        """Change switches; those that shape the seeded data need ``reset``."""
        check_unseeded(values, SEED_FIELDS)
        self.options = self.options.changed(values)
        if {"units_per_minute", "quota_window_scale", "unit_costs"} & set(values):
            self.units.reset()

    def reset(self, **values: Any) -> None:
        """Back to the seed (with other options, if given): no change, no fault, no consent but the first."""
        self.options = self.options.changed(values)
        self.mailbox = Mailbox(lambda: self.options, self.now)
        self.clear_faults()
        self.units.reset()
        self.grants.reset()
        self.log.reset()

    # Messages

    def change(self, **given: Any) -> dict[str, list[str]]:
        """Let messages arrive, be labelled, go to the bin, be deleted (see ``Mailbox.change``)."""
        return self.mailbox.change(**given)

    def inject(self, raw: bytes) -> str:
        """Let any bytes arrive as a message; gives its id."""
        return self.mailbox.change(create=1, raw=raw)["created"][0]

    def expire(self) -> None:
        """Let the history up to now be too old to be asked for."""
        self.mailbox.forget_history()

    def truth(self) -> list[dict[str, Any]]:
        """Every message that a reading must give, newest first; ``raw`` in bytes."""
        return self.mailbox.truth()

    # Consents

    def revoke(self) -> dict[str, int]:
        """Take back what the account allowed, as its owner does in Google's settings."""
        return {"revoked": self.grants.revoke_account(self.options.account)}

    def end_access(self) -> None:
        """End every access token now; refresh tokens stay."""
        self.grants.end_access()

    def state(self) -> dict[str, Any]:
        """Everything at a glance: messages, switches, clock, armed faults, units, request counts."""
        mailbox = {"messages": len(self.mailbox.messages), "historyId": self.mailbox.history}
        return {**super().state(), **mailbox, "unitsUsed": self.units.used}

    def shown_truth(self) -> list[Mapping[str, Any]]:
        """The truth as JSON, the messages in base64."""
        return [{**one, "raw": base64.b64encode(one["raw"]).decode()} for one in self.truth()]
