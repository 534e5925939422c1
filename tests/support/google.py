"""Runs of Google Contacts on a database of its own against an emulated account."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any

from keepstep.dispatch.queue import Queue
from keepstep.engine.runner import Runner
from keepstep.integrations.google_contacts.connector import GoogleContacts
from keepstep.integrations.google_contacts.emulator.options import EmulatorOptions
from keepstep.integrations.google_contacts.emulator.server import GoogleEmulator
from keepstep.integrations.google_contacts.entities import ENTITIES
from keepstep.model.integration import Mode
from keepstep.model.run import Event, RunRequest
from keepstep.service.commands import Commands
from keepstep.service.shapes import RunSummary
from tests.integrations.google_contacts.account import GoogleUpstream
from tests.support.sync import DEADLINE, Listener, Sync
from tests.support.token_store import MemoryStore
from tests.support.truth import differences

NAMES = tuple(entity.name for entity in ENTITIES)


class GoogleSync(Sync):
    """Keepstep on one database, with one Google account."""

    def __init__(self, dsn: str, google: GoogleUpstream) -> None:
        super().__init__(dsn, google.emulator, entities=ENTITIES)  # type: ignore[arg-type]
        self.commands = Commands(self.database, self.lent, {GoogleContacts.key: ENTITIES})
        self.key, self.owner = GoogleContacts.key, "anna"
        self.google = google
        self.emulator = google.emulator
        self.store = MemoryStore(google.tokens())

    def connector(self) -> GoogleContacts:  # type: ignore[override]
        """A connector of its own for one run."""
        return self.google.google(page_size=self.page_size, clock=self.clock, store=self.store)

    async def run(
        self, *entities: str, mode: Mode = Mode.BACKFILL, dry_run: bool = False, since: datetime | None = None,
        listener: Listener = lambda _event: None, **policy: Any,
    ) -> RunSummary:  # fmt: skip
        """One run of the account's owner, from the queue to its end (or its first long wait)."""
        request = RunRequest(entities or NAMES, mode, since=since, dry_run=dry_run)
        run_id = await Queue(self.database).enqueue_one(self.key, request, owner=self.owner)
        self.events = []

        def hear(event: Event) -> None:
            self.events.append(event)
            listener(event)

        connector = self.connector()
        try:
            async with asyncio.timeout(DEADLINE):
                await Runner(self.database, connector, replace(self.policy, **policy), hear).take_up(run_id)
        finally:
            await connector.aclose()
        return await self.views.run(run_id)

    async def rows(self, entity: str) -> dict[str, dict[str, Any]]:
        """All rows of a synced table by key, deleted ones too."""
        return {row["id"]: row for row in await self.sql(f"SELECT * FROM google_contacts.{entity}")}

    async def live(self, entity: str) -> set[str]:
        """The keys of the live rows."""
        return {key for key, row in (await self.rows(entity)).items() if row["_deleted_at"] is None}

    async def facts(self, entity: str) -> dict[str, Any]:
        """What is kept of an entity between runs."""
        rows = await self.sql("SELECT facts FROM keepstep.entity_states WHERE entity = %s", entity)
        return rows[0]["facts"] if rows else {}

    async def differences(self, *entities: str, apart_from: Sequence[str] = ()) -> list[str]:
        """What the live rows and the upstream records do not agree on."""
        found: list[str] = []
        for name in entities or NAMES:
            found += differences(self.entities[name], self.google.truth(name), await self.rows(name), apart_from)
        return found


@asynccontextmanager
async def google_account(**options: Any) -> AsyncIterator[GoogleUpstream]:
    """A small emulated account that is being served."""
    emulator = GoogleEmulator(EmulatorOptions(**{"people": 60, **options}))
    async with emulator.serve() as url:
        google = GoogleUpstream(emulator, url)
        try:
            yield google
        finally:
            await google.aclose()
