"""Every command that an emulated DoorLoop takes, as methods. The control routes are these methods over HTTP."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from keepstep.integrations.doorloop.emulator.account import Account, Which
from keepstep.integrations.doorloop.emulator.faults import Fault
from keepstep.integrations.doorloop.emulator.limits import RateWindows
from keepstep.integrations.doorloop.emulator.options import EmulatorOptions
from keepstep.integrations.emulation.emulator import ApiEmulator


class EmulatorCommands(ApiEmulator[Fault]):
    """The account, the armed faults, the rate windows and the record of requests."""

    def __init__(self, options: EmulatorOptions | None = None) -> None:
        self.account = Account(options or EmulatorOptions())
        self.windows = RateWindows(time.monotonic)
        super().__init__(Fault, lambda: self.options)

    @property
    def options(self) -> EmulatorOptions:
        """The switches as they are now."""
        return self.account.options

    # Records

    def change(
        self,
        entity: str,
        *,
        create: int = 0,
        update: Which = 0,
        touch: Which = 0,
        delete: Which = 0,
        patch: Mapping[str, Mapping[str, Any]] | None = None,
        unset: Mapping[str, Sequence[str]] | None = None,
        silent: bool = False,
    ) -> dict[str, list[str]]:
        """Create, update, touch, delete, patch records; gives the ids per kind (see ``Account.change``)."""
        return self.account.change(
            entity, create=create, update=update, touch=touch, delete=delete, patch=patch, unset=unset, silent=silent
        )

    def poison(self, entity: str, *kinds: str, count: int = 1, replace: str | None = None) -> list[str]:
        """Add poison records, or spoil the one with an id; gives the ids of the good ones they were made from."""
        return self.account.poison(entity, kinds, count=count, replace=replace)

    def inject(self, entity: str, raw: bytes, *, replace: str | None = None) -> None:
        """Serve any bytes as a record."""
        self.account.inject(entity, raw, replace=replace)

    def cure(self, entity: str) -> int:
        """Let the poisoned and injected records of an entity arrive good; gives their number."""
        return self.account.cure(entity)

    def raw_records(self, entity: str) -> list[bytes]:
        """The truth: every record of an entity, byte by byte, inactive ones included."""
        return self.account.records(entity)

    def records(self, entity: str) -> list[dict[str, Any]]:
        """The truth, decoded. Raises where a poison record cannot be decoded."""
        return [msgspec.json.decode(record) for record in self.account.records(entity)]

    # Switches

    def switch(self, **values: Any) -> None:
        """Change switches; those that shape the seeded data need ``reset``."""
        self.account.switch(values)
        if {"rate_per_minute", "rate_per_hour", "rate_window_scale", "rate_scope"} & set(values):
            self.windows.reset()

    def reset(self, **values: Any) -> None:
        """Back to the seed (with other options, sizes included, if given): no fault, no window, no request on
        record.
        """
        self.account.reset(values)
        self.clear_faults()
        self.windows.reset()
        self.log.reset()

    def state(self) -> dict[str, Any]:
        """Everything at a glance: sizes, switches, clock, armed faults, windows, request counts."""
        return {**super().state(), "records": self.account.sizes(), "windows": self.windows.used()}
