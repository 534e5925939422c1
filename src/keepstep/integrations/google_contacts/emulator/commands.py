"""Every command that an emulated Google takes, as methods. The control routes are these methods over HTTP."""

import asyncio
import time
from datetime import UTC, datetime
from typing import Any

import msgspec

from keepstep.integrations.emulation.faults import FaultBook
from keepstep.integrations.emulation.requests import Request, RequestLog
from keepstep.integrations.google_contacts.emulator.account import Account
from keepstep.integrations.google_contacts.emulator.faults import Fault
from keepstep.integrations.google_contacts.emulator.grants import DAY, Grants
from keepstep.integrations.google_contacts.emulator.options import SEED_FIELDS, EmulatorOptions
from keepstep.integrations.google_contacts.emulator.quotas import Quotas
from keepstep.integrations.google_contacts.emulator.tokens import SyncToken


class EmulatorCommands:
    """The accounts, the consents, the armed faults, the quotas and the record of requests. Commands raise
    ``ValueError`` in plain words. Where no ``account`` is named, it is that of the options.
    """

    def __init__(self, options: EmulatorOptions | None = None) -> None:
        self.options = options or EmulatorOptions()
        self.faults: FaultBook[Fault] = FaultBook()
        self.quotas = Quotas(time.monotonic)
        self.grants = Grants(lambda: self.options, self.now)
        self.log = RequestLog(self.options.requests_kept)
        self._accounts: dict[str, Account] = {}
        self._expired_before = float("-inf")
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
            raise ValueError(f"{seeded[0]} shapes the seeded records: change it with a reset")
        self.options = self.options.changed(values)
        if any(name.endswith("_quota") or name == "quota_window_scale" for name in values):
            self.quotas.reset()

    def reset(self, **values: Any) -> None:
        """Back to the seed (with other options, if given): no change, no fault, no consent but the first."""
        self.options = self.options.changed(values)
        self._accounts.clear()
        self._expired_before = float("-inf")
        self.clear_faults()
        self.quotas.reset()
        self.grants.reset()
        self.log.reset()

    # Faults

    def fault(self, kind: str, **given: Any) -> None:
        """Arm a fault (see ``Fault``): ``fault("429", page=1, retry_after=2)``."""
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

    # People

    def account(self, name: str | None = None) -> Account:
        """An account, seeded when it is first asked for."""
        name = name or self.options.account
        if name not in self._accounts:
            self._accounts[name] = Account(name, self.options, self.now)
        return self._accounts[name]

    def change(self, *, account: str | None = None, **given: Any) -> dict[str, Any]:
        """Create, update, delete, strip, merge, rename and patch people (see ``Account.change``)."""
        return self.account(account).change(**given)

    def inject(self, raw: bytes, name: str, *, account: str | None = None) -> None:
        """Serve any bytes as the person of a name."""
        self.account(account).inject(raw, name)

    def raw_records(self, account: str | None = None) -> list[bytes]:
        """The truth: every person, byte by byte."""
        return self.account(account).records()

    def records(self, account: str | None = None) -> list[dict[str, Any]]:
        """The truth, decoded."""
        return [msgspec.json.decode(record) for record in self.raw_records(account)]

    # Tokens and consents

    def expire(self) -> None:
        """Let every sync token that was given so far be expired."""
        self._expired_before = self.now()

    def is_expired(self, token: SyncToken) -> bool:
        """Whether a sync token is too old: its life begins with the full reading that it goes back to."""
        age = self.now() - token.full_at
        return age >= self.options.sync_token_days * DAY or token.full_at <= self._expired_before

    def consent(self, account: str | None = None) -> dict[str, str]:
        """Let an account allow everything; gives the tokens of it."""
        return self.grants.give(account or self.options.account)

    def revoke(self, account: str | None = None) -> dict[str, int]:
        """Take back what an account allowed, as its owner does in Google's settings."""
        return {"revoked": self.grants.revoke_account(account or self.options.account)}

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
        """Everything at a glance: people, switches, clock, armed faults, quotas, request counts."""
        return {
            "clock": self.now(),
            "records": {name: len(account) for name, account in self._accounts.items()},
            "switches": self.options.shown(),
            "faults": [msgspec.to_builtins(fault) for fault in self.faults.armed()],
            "quotas": self.quotas.used(),
            "requests": self.log.counts(),
        }
