"""What the table of an entity looks like in a run: the documented columns, and those that its schema policy gave it.

::

    keep    unknown field ──► _extra, and it is noted
    evolve  unknown field ──► _extra, and it is noted ──► next run: a column, filled from _extra
    stop    unknown field ──► the entity fails before the page is written

A field that has a column keeps it whatever the policy becomes: nothing is ever taken away.
"""

import re
from collections.abc import Iterable, Sequence
from datetime import datetime

from keepstep.engine.mapping import Mapping
from keepstep.model.errors import Permanent
from keepstep.model.integration import Entity, Field, snake_case
from keepstep.model.run import Event
from keepstep.model.schema import SchemaPolicy
from keepstep.store import evolution, runs, schema_fields, tables
from keepstep.store.db import Connection
from keepstep.store.session import RunSession

MOST_EVOLVED = 200
"""Columns that a table may be given: PostgreSQL allows 1,600 in all."""
_NAME = re.compile(r"[a-z][a-z0-9_]{0,62}")


class WatchfulMapping(Mapping):
    """A mapping that notes the fields it does not know; with ``stops`` it refuses to go on with one."""

    def __init__(self, integration: str, entity: Entity, known: Iterable[str], *, stops: bool) -> None:
        super().__init__(entity)
        self.met: set[str] = set()
        self._integration = integration
        self._familiar = frozenset(known)
        self._stops = stops

    def _learn(self, names: Iterable[str]) -> None:
        names = tuple(names)
        new = [name for name in names if name not in self._familiar]
        self.met.update(new)
        if new and self._stops:
            facts = {"path": self.entity.name, "integration": self._integration, "detail": ", ".join(new[:5])}
            raise Permanent.named("schema-stop", facts=facts)
        super()._learn(names)


class Shape:
    """One entity in one run: ``entity`` as its table has it, and the ``mapping`` that fills it."""

    def __init__(self, session: RunSession, entity: Entity, mapping: WatchfulMapping) -> None:
        self._session = session
        self.entity = entity
        self.mapping = mapping

    @classmethod
    async def prepared(
        cls, session: RunSession, integration: str, entity: Entity, policy: SchemaPolicy, *, writes: bool
    ) -> "Shape":
        """Find out which columns there are; under ``evolve``, a run that ``writes`` adds those that are due."""

        async def work(connection: Connection, _now: datetime) -> tuple[Entity, list[str]]:
            met = await schema_fields.of_entity(connection, session.connection_id, entity.name)
            beside: Sequence[str] = ()
            if policy is not SchemaPolicy.KEEP and await tables.columns(connection, integration, entity) is not None:
                beside = await tables.extra_keys(connection, integration, entity)
            if policy is SchemaPolicy.EVOLVE and writes:
                known = {one.field for one in met if one.kind or one.note}
                waiting = {one.field for one in met} | set(beside)
                if due := sorted(waiting - known - {entity.key, *(field.name for field in entity.fields)}):
                    await _evolve(connection, session, integration, schema_fields.extended(entity, met), due)
                    met = await schema_fields.of_entity(connection, session.connection_id, entity.name)
            return schema_fields.extended(entity, met), [*(one.field for one in met), *beside]

        shaped, known = await session.flush(work)
        stops = policy is SchemaPolicy.STOP
        return cls(session, shaped, WatchfulMapping(integration, shaped, known, stops=stops))

    async def remember(self, *, writes: bool) -> Event | None:
        """Note the fields that were met for the first time; gives the event that tells of them."""
        new = sorted(self.mapping.met)
        if not new or not writes:
            return None
        name = self.entity.name

        async def work(connection: Connection, _now: datetime) -> Event | None:
            session = self._session
            unheard = await schema_fields.met(connection, session.connection_id, name, new, run_id=session.run_id)
            if not unheard:
                return None
            words = f"{name}: upstream gives fields that have no column: {', '.join(unheard[:5])}."
            event = Event("schema-drift", words, entity=name, data={"fields": unheard})
            await runs.tell(connection, session, event)
            return event

        return await self._session.flush(work)


async def _evolve(
    connection: Connection, session: RunSession, integration: str, entity: Entity, due: Sequence[str]
) -> None:
    """Give a column to every field that can have one, and say why where one cannot."""
    owner, run_id = session.connection_id, session.run_id
    present = await tables.columns(connection, integration, entity)
    if present is None:
        return
    kinds = await evolution.kinds(connection, integration, entity, due)
    taken = {*present, *entity.columns}
    room = MOST_EVOLVED - sum(field.evolved for field in entity.fields)
    added: list[Field] = []
    for name in due:
        if name not in kinds:  # nothing but nulls so far: its type will show
            continue
        problem = _problem(name, taken) or ("the table has been given enough columns" if len(added) >= room else "")
        if problem:
            await schema_fields.noted(connection, owner, entity.name, name, problem, run_id=run_id)
            continue
        field = Field(name, kinds[name], evolved=True)
        added.append(field)
        taken.add(field.column)
    if not added:
        return
    filled = await evolution.add_columns(connection, integration, entity, added)
    for field in added:
        await schema_fields.evolved(connection, owner, entity.name, field, run_id=run_id)
    columns = ", ".join(f"{field.column} ({field.kind})" for field in added)
    words = f"{entity.name}: new columns {columns}; filled in {filled:,} rows."
    data = {"columns": [field.column for field in added], "rows": filled}
    await runs.tell(connection, session, Event("schema-evolved", words, entity=entity.name, data=data))


def _problem(name: str, taken: Iterable[str]) -> str:
    """Why a field cannot have a column; empty where it can."""
    column = snake_case(name)
    if not _NAME.fullmatch(column):
        return "its name cannot be that of a column"
    return f"the table has a column {column} already" if column in taken else ""
