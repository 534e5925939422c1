"""Settings that people change while Keepstep runs: the environment over what was chosen here over the default."""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

from keepstep.alerts.alerter import Arrangement
from keepstep.dispatch.janitor import Keep
from keepstep.model.errors import BadRequest, Conflict, NotFound, StoreError
from keepstep.service.audit import Audit
from keepstep.service.setup import SettingLine, Setup
from keepstep.service.vault import Vault
from keepstep.store import settings as store
from keepstep.store.db import Database

_FRESH = 2.0
"""Seconds after which another process's change is seen here."""
Chosen = Mapping[str, str]
"""What was chosen, by variable, as one would write it in the environment."""


@dataclass(frozen=True, slots=True)
class Effective:
    """The settings in effect that what goes on depends on. ``webhook`` is empty where there is none.

    ``ping_every``: None where no ping is to be sent by itself.
    """

    allow_backfill: bool
    stale_after: timedelta
    webhook: str = field(repr=False)
    ping_every: timedelta | None
    arrangement: Arrangement
    keep: Keep


class Catalogue(Protocol):
    """What is known of the settings; ``config`` has it."""

    def setup(self, chosen: Chosen) -> Setup:
        """Every setting as it is in effect, and what is wrong with them."""
        ...

    def effective(self, chosen: Chosen) -> Effective:
        """Those that requests depend on."""
        ...

    def refusal(self, variable: str, text: str) -> tuple[str, str] | None:
        """Why a text is no value of an editable variable, and what to write instead."""
        ...

    def is_secret(self, variable: str) -> bool:
        """Whether its value must not be readable in the database."""
        ...


class Preferences:
    """What was chosen. Another process's change is seen within two seconds, this one's at once."""

    def __init__(self, database: Database, catalogue: Catalogue, vault: Vault, audit: Audit) -> None:
        self._database = database
        self._catalogue = catalogue
        self._vault = vault
        self._audit = audit
        self._known: Chosen = {}
        self._until = float("-inf")
        self._reading = asyncio.Lock()

    async def chosen(self) -> Chosen:
        """What is chosen now. Raises ``StoreError``."""
        async with self._reading:
            if time.monotonic() >= self._until:
                self._known = await self._read()
                self._until = time.monotonic() + _FRESH
            return self._known

    async def effective(self) -> Effective:
        """The settings that requests depend on."""
        return self._catalogue.effective(await self.chosen())

    async def setup(self) -> Setup:
        """Every setting as it is in effect, and what is wrong with them."""
        return self._catalogue.setup(await self.chosen())

    async def choose(self, variable: str, text: str | None, *, by: str) -> SettingLine:
        """Change a setting, or go back to its default (None); gives it as it is now.

        Raises ``NotFound`` for an unknown variable, ``Conflict`` for one that cannot be changed here, ``BadRequest``
        for a text that is no value of it.
        """
        line = await self._line(variable)
        _check_open(line)
        if text is not None and (refused := self._catalogue.refusal(variable, text)) is not None:
            raise BadRequest(refused[0], fix=refused[1])
        kept = None if text is None else await self._kept(variable, text.strip())
        async with self._database.connection() as connection, connection.transaction():
            if text is None:
                await store.drop(connection, variable)
            else:
                await store.put(connection, variable, kept, by=by)
            shown = "••••" if self._catalogue.is_secret(variable) and text is not None else text
            payload = {"setting": variable, "value": shown}
            await self._audit.record(by, "setting.change", payload, "done", within=connection)
        self._until = float("-inf")
        return await self._line(variable)

    async def _line(self, variable: str) -> SettingLine:
        for line in (await self.setup()).settings:
            if line.variable == variable:
                return line
        raise NotFound(f"There is no setting {variable}.", fix="List them with GET /api/admin/sync/settings.")

    async def _kept(self, variable: str, text: str) -> object:
        """How a value stands in the database: a secret one encrypted."""
        if not self._catalogue.is_secret(variable):
            return text
        sealed = await asyncio.to_thread(self._vault.seal, {"value": text}, owner=variable)
        return {"sealed": sealed.decode("ascii")}

    async def _read(self) -> Chosen:
        async with self._database.connection() as connection:
            rows = await store.everything(connection)
        found = {}
        for name, kept in rows.items():
            if isinstance(kept, str):
                found[name] = kept
            elif isinstance(kept, dict) and "sealed" in kept:
                try:
                    values = await asyncio.to_thread(self._vault.unseal, kept["sealed"].encode(), owner=name)
                except StoreError:
                    continue  # no key fits any more: as if it were not set, which the page shows
                found[name] = values["value"]
        return found


def _check_open(line: SettingLine) -> None:
    if line.locked:
        raise Conflict(
            f"{line.variable} is set by the environment.",
            fix=f"Set by environment: change {line.variable} there, or unset it to choose here.",
        )
    if not line.editable:
        raise Conflict(f"{line.variable} cannot be changed here.", fix=line.note)
