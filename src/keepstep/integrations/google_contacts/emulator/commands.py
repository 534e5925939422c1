"""Every command that an emulated Google takes, as methods. The control routes are these methods over HTTP."""

import time
from typing import Any

import msgspec

from keepstep.integrations.emulation.emulator import ApiEmulator
from keepstep.integrations.emulation.grants import DAY, Grants
from keepstep.integrations.emulation.options import check_unseeded
from keepstep.integrations.google_contacts.emulator.account import Account
from keepstep.integrations.google_contacts.emulator.faults import Fault
from keepstep.integrations.google_contacts.emulator.options import SEED_FIELDS, EmulatorOptions
from keepstep.integrations.google_contacts.emulator.quotas import Quotas
from keepstep.integrations.google_contacts.emulator.tokens import SyncToken

SCOPES = frozenset(f"https://www.googleapis.com/auth/contacts{end}" for end in ("", ".readonly"))


class EmulatorCommands(ApiEmulator[Fault]):
    """The accounts, the consents, the armed faults, the quotas and the record of requests. Where
    no ``account`` is named, it is that of the options.
    """

    def __init__(self, options: EmulatorOptions | None = None) -> None:
        self.options = options or EmulatorOptions()
        super().__init__(Fault, lambda: self.options)
        self.quotas = Quotas(time.monotonic)
        self.grants = Grants(SCOPES, lambda: self.options, self.now)
        self._accounts: dict[str, Account] = {}
        self._expired_before = float("-inf")

    # Switches

    def switch(self, **values: Any) -> None:
        """Change switches; those that shape the seeded data need ``reset``."""
        check_unseeded(values, SEED_FIELDS)
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

    def state(self) -> dict[str, Any]:
        """Everything at a glance: people, switches, clock, armed faults, quotas, request counts."""
        people = {name: len(account) for name, account in self._accounts.items()}
        return {**super().state(), "records": people, "quotas": self.quotas.used()}
