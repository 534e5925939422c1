"""Runs on a database of its own against an emulated upstream, with what a test asks about them."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime
from typing import Any

from psycopg.types.json import set_json_loads

from keepstep.dispatch.queue import Queue
from keepstep.engine.runner import Runner
from keepstep.integrations.doorloop.connector import DoorLoop
from keepstep.integrations.doorloop.entities import ENTITIES
from keepstep.model.integration import Entity, Integration, Mode
from keepstep.model.run import Event, Policy, RunRequest
from keepstep.reliability.pacing import Pacing
from keepstep.service.commands import Commands
from keepstep.service.shapes import EntityRun, RunSummary
from keepstep.service.views import Views
from keepstep.store.db import Connection, Database
from tests.support.clock import HurriedClock
from tests.support.truth import differences, exact_json
from tests.support.upstream import Upstream, fetch_truth

ALL = tuple(entity.name for entity in ENTITIES)
DEADLINE = 120.0
Listener = Callable[[Event], None]


class Sync:
    """Keepstep on one database. ``entities`` replaces DoorLoop's, so that a test may describe them differently."""

    def __init__(self, dsn: str, upstream: Upstream, *, entities: Sequence[Entity] = ENTITIES) -> None:
        self.dsn = dsn
        self.database = Database(dsn)
        self.upstream = upstream
        self.entities = {entity.name: entity for entity in entities}
        self.policy = Policy()
        self.page_size = 20
        self.concurrency = 3
        self.key = DoorLoop.key
        self.owner: str | None = None
        self.api_key: str | None = None
        self.clock = HurriedClock()
        self.pacer: Pacing | None = None
        self.events: list[Event] = []
        self.views = Views(self.database)
        self.commands = Commands(self.database, self.lent, {"doorloop": tuple(entities)})

    @asynccontextmanager
    async def lent(self, _key: str) -> AsyncIterator[tuple[Integration, Policy]]:
        """What commands work with."""
        doorloop = self.connector()
        try:
            yield doorloop, self.policy
        finally:
            await doorloop.aclose()

    def connector(self) -> DoorLoop:
        """A connector of its own for one run."""
        doorloop = DoorLoop(
            base_url=self.upstream.url,
            api_key=self.upstream.options.api_key if self.api_key is None else self.api_key,
            page_size=self.page_size,
            max_concurrency=self.concurrency,
            rate_limit_rps=0,
            clock=self.clock,
            pacer=self.pacer,
        )
        doorloop.entities = tuple(self.entities.values())
        return doorloop

    async def run(
        self,
        *entities: str,
        mode: Mode = Mode.BACKFILL,
        dry_run: bool = False,
        since: datetime | None = None,
        listener: Listener = lambda _event: None,
        on: Database | None = None,
        **policy: Any,
    ) -> RunSummary:
        """One run to its end (or its first long wait)."""
        doorloop = self.connector()
        request = RunRequest(entities or ALL, mode, since=since, dry_run=dry_run)
        self.events = []

        def hear(event: Event) -> None:
            self.events.append(event)
            listener(event)

        runner = Runner(on or self.database, doorloop, replace(self.policy, **policy), hear)
        try:
            async with asyncio.timeout(DEADLINE):
                return await self.views.run(await runner.start(request))
        finally:
            await doorloop.aclose()

    async def run_queued(
        self,
        *entities: str,
        mode: Mode = Mode.BACKFILL,
        dry_run: bool = False,
        listener: Listener = lambda _event: None,
        **policy: Any,
    ) -> RunSummary:
        """One attempt at a run from the queue, as a worker makes it: at the one that is there, or a new one."""
        queue = Queue(self.database)
        await queue.sweep()
        await self.sql("SELECT keepstep.wake_waiting()")
        live = await self.sql("SELECT id FROM keepstep.runs WHERE state = 'queued'")
        run_id = (
            live[0]["id"]
            if live
            else await queue.enqueue_one(self.key, RunRequest(entities or ALL, mode, dry_run=dry_run), owner=self.owner)
        )
        doorloop = self.connector()
        try:
            async with asyncio.timeout(DEADLINE):
                await Runner(self.database, doorloop, replace(self.policy, **policy), listener).take_up(run_id)
        finally:
            await doorloop.aclose()
        return await self.views.run(run_id)

    async def let_time_pass(self) -> None:
        """Every wait is over, and nobody has gone on with what should have gone on."""
        await self.sql(
            "UPDATE keepstep.runs SET due_at = due_at - interval '1 day', queued_at = queued_at - interval '1 day'"
            " WHERE state IN ('queued', 'waiting')"
        )

    async def delta(self, *entities: str, **options: Any) -> RunSummary:
        """A delta run."""
        return await self.run(*entities, mode=Mode.DELTA, **options)

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection that reads JSON exactly."""
        async with self.database.connection() as connection:
            set_json_loads(exact_json, connection)
            yield connection

    async def sql(self, statement: str, *parameters: Any) -> list[dict[str, Any]]:
        """The rows of any statement."""
        async with self.connection() as connection:
            cursor = await connection.execute(statement.encode(), parameters or None)
            return await cursor.fetchall() if cursor.description else []

    async def value(self, statement: str, *parameters: Any) -> Any:
        """The one value of a statement."""
        [row] = await self.sql(statement, *parameters)
        return next(iter(row.values()))

    async def rows(self, entity: str) -> dict[str, dict[str, Any]]:
        """All rows of a synced table by id, deleted ones too."""
        return {row["id"]: row for row in await self.sql(f"SELECT * FROM doorloop.{entity}")}

    async def letters(self, state: str = "open") -> list[dict[str, Any]]:
        """Dead letters, oldest first."""
        return await self.sql("SELECT * FROM keepstep.dead_letters WHERE state = %s ORDER BY id", state)

    async def differences(self, *entities: str, apart_from: Sequence[str] = ()) -> list[str]:
        """What the live rows and the upstream records do not agree on. ``apart_from``: ids that do not count."""
        found: list[str] = []
        for name in entities or ALL:
            records = await fetch_truth(self.upstream.url, name)
            found += differences(self.entities[name], records, await self.rows(name), apart_from)
        return found

    async def assert_in_step(self, *entities: str, apart_from: Sequence[str] = ()) -> None:
        """The table is upstream, record by record and field by field."""
        found = await self.differences(*entities, apart_from=apart_from)
        assert not found, "\n".join(found[:20])


def entity_of(run: RunSummary, name: str) -> EntityRun:
    """One entity of a run."""
    return next(entity for entity in run.entities if entity.entity == name)


def counts_of(run: RunSummary | EntityRun) -> dict[str, int]:
    """Inserted, updated, unchanged, deleted and dead-lettered, those that are not 0."""
    names = ("inserted", "updated", "unchanged", "deleted", "dead_lettered")
    return {name: getattr(run, name) for name in names if getattr(run, name)}
