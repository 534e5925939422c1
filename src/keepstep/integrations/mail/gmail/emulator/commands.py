"""Every command that an emulated Gmail takes, as methods. The control routes are these methods over HTTP."""

import asyncio
import base64
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec

from keepstep.integrations.emulation.faults import FaultBook
from keepstep.integrations.emulation.grants import Grants
from keepstep.integrations.emulation.requests import Request, RequestLog
from keepstep.integrations.mail.gmail.emulator.faults import Fault
from keepstep.integrations.mail.gmail.emulator.mailbox import Mailbox
from keepstep.integrations.mail.gmail.emulator.options import SEED_FIELDS, EmulatorOptions
from keepstep.integrations.mail.gmail.emulator.units import Units

SCOPES = frozenset(
    ("https://mail.google.com/", "https://www.googleapis.com/auth/gmail.readonly",
     "https://www.googleapis.com/auth/gmail.modify")
)  # fmt: skip


class EmulatorCommands:
    """The mailbox, the consents, the armed faults, the quota and the record of requests. Commands raise ``ValueError``
    in plain words.
    """

    def __init__(self, options: EmulatorOptions | None = None) -> None:
        self.options = options or EmulatorOptions()
        self.faults: FaultBook[Fault] = FaultBook()
        self.units = Units(time.monotonic)
        self.grants = Grants(SCOPES, lambda: self.options, self.now)
        self.log = RequestLog(self.options.requests_kept)
        self.mailbox = Mailbox(lambda: self.options, self.now)
        self._held_back = asyncio.Event()

    # Clock and switches

    def now(self) -> float:
        """The emulator's clock: real time and the offset."""
        return time.time() + self.options.clock_offset_s

    def set_clock(self, *, offset_s: float | None = None, at: str | None = None) -> None:
        """Move the clock by an offset from real time, or to an ISO instant, from which it goes on."""
        if at is not None:
            instant = datetime.fromisoformat(at)
            offset_s = (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).timestamp() - time.time()
        self.switch(clock_offset_s=float(offset_s or 0))

    def switch(self, **values: Any) -> None:
        """Change switches; those that shape the seeded data need ``reset``."""
        if seeded := sorted(SEED_FIELDS & set(values)):
            raise ValueError(f"{seeded[0]} shapes the seeded messages: change it with a reset")
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

    # Faults

    def fault(self, kind: str, **given: Any) -> None:
        """Arm a fault (see ``Fault``): ``fault("429", path="batch", retry_after=2)``."""
        self.faults.arm(Fault.parsed({"kind": kind, **given}))

    def clear_faults(self) -> None:
        """Disarm every fault and let go of hanging requests."""
        self.faults.clear()
        self.release()

    def release(self) -> None:
        """Answer the requests that hang now; later ones hang anew."""
        self._held_back.set()
        self._held_back = asyncio.Event()

    async def until_released(self) -> None:
        """Wait as a hanging request does."""
        await self._held_back.wait()

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

    # What happened

    def requests(self) -> list[Request]:
        """The requests on record, oldest first."""
        return self.log.last()

    def reset_requests(self) -> None:
        """Forget the requests and count anew."""
        self.log.reset()

    def state(self) -> dict[str, Any]:
        """Everything at a glance: messages, switches, clock, armed faults, units, request counts."""
        return {
            "clock": self.now(),
            "messages": len(self.mailbox.messages),
            "historyId": self.mailbox.history,
            "switches": self.options.shown(),
            "faults": [msgspec.to_builtins(fault) for fault in self.faults.armed()],
            "unitsUsed": self.units.used,
            "requests": self.log.counts(),
        }

    def shown_truth(self) -> list[Mapping[str, Any]]:
        """The truth as JSON, the messages in base64."""
        return [{**one, "raw": base64.b64encode(one["raw"]).decode()} for one in self.truth()]
