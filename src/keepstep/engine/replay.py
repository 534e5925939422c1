"""Applies dead letters again, from the bytes that were kept."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from msgspec import Raw

from keepstep.engine.careful import key_of
from keepstep.engine.mapping import Mapping
from keepstep.model.errors import Rejected
from keepstep.model.integration import Entity
from keepstep.model.run import DeadLetter
from keepstep.store import dead_letters, runs, schema_fields
from keepstep.store.arrays import bytea_array, text_array
from keepstep.store.bisect import write_bisecting
from keepstep.store.db import Connection, Database
from keepstep.store.records import Destination


class Replay:
    """Requeues dead letters of one entity. Runs of the connection wait for it between two pages, and it for them."""

    def __init__(
        self, database: Database, integration: str, entity: Entity, *, by: str, owner: str | None = None
    ) -> None:
        self._database = database
        self._integration = integration
        self._entity = entity
        self._owner = owner
        self._shape(entity)
        self._by = by

    async def apply(self, letters: Sequence[dict[str, Any]]) -> dict[int, str]:
        """By id: why a letter is still bad, or an empty text for one that is now in the table."""
        problems: dict[int, str] = {}
        async with self._database.connection() as connection, connection.transaction():
            owner = await runs.hold_off(connection, self._integration, self._owner)
            met = await schema_fields.of_entity(connection, owner, self._entity.name)
            self._shape(schema_fields.extended(self._entity, met))
            await self._destination.create(connection)
            await self._destination.create_stage(connection)
            now = await runs.clock(connection)
            for letter in letters:
                problem = await self._one(connection, letter, now)
                problems[letter["id"]] = problem.reason if problem else ""
                if problem:
                    await dead_letters.retried(connection, letter["id"], problem)
                else:
                    await dead_letters.close(connection, [letter["id"]], "resolved", by=self._by, note="Requeued.")
        return problems

    def _shape(self, entity: Entity) -> None:
        """The columns that the table has: the documented ones, and those that it was given."""
        self._mapping = Mapping(entity)
        self._destination = Destination(self._integration, entity, self._owner)

    async def _one(self, connection: Connection, letter: dict[str, Any], now: datetime) -> DeadLetter | None:
        payload = bytes(letter["payload"])
        if letter["kind"] == "duplicate":
            reason = "A later record of the same page has this id and was kept; discard this one instead."
            return DeadLetter(letter["record_key"], "duplicate", reason, payload)
        key = letter["record_key"] or key_of(payload, self._entity.key)
        if key is None:
            reason = f"The record has no usable {self._entity.key}: it must be a text."
            return DeadLetter(None, "no-id", reason, payload)
        record_hash = self._mapping.hashes([Raw(payload)])[0]
        row = self._mapping.row(Raw(payload), record_hash)
        if isinstance(row, Rejected):
            return DeadLetter(key, "value", row.message, payload)
        hits = await self._destination.probe(connection, text_array([key]), bytea_array([record_hash]))
        if not (hits.new or hits.other):
            return None
        run_id = int(letter["run_id"])

        async def write(rows: Sequence[bytes]) -> int:
            if hits.new:
                return await self._destination.insert(connection, rows, run_id=run_id)
            await self._destination.clear_stage(connection)
            staged = await self._destination.fill_stage(connection, rows)
            return await self._destination.update_from_stage(connection, staged, now=now, run_id=run_id)

        _, refused = await write_bisecting(connection, [row], write)
        return DeadLetter(key, "refused", f"PostgreSQL refused it: {refused[0][1]}.", payload) if refused else None
