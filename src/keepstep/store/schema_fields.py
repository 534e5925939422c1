"""Fields that upstream gives and that are not documented, and the columns that some of them were given."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from keepstep.model.integration import Entity, Field, Kind
from keepstep.store.db import Connection
from keepstep.store.queries import queries

_SQL = queries("schema_fields")


@dataclass(frozen=True, slots=True)
class MetField:
    """One of them. ``note``: why it cannot have a column; ``kind`` and ``column_name`` where it has one."""

    field: str
    column_name: str | None
    kind: str | None
    first_seen: datetime
    note: str | None


async def of_entity(connection: Connection, owner: int, entity: str) -> list[MetField]:
    """All that were met, by name."""
    cursor = await connection.execute(_SQL["of_entity"], {"connection": owner, "entity": entity})
    return [MetField(**row) for row in await cursor.fetchall()]


async def of_shared(connection: Connection, integration: str, entity: str) -> list[MetField]:
    """The same of an integration's shared connection, which need not be there."""
    cursor = await connection.execute(_SQL["of_shared"], {"integration": integration, "entity": entity})
    return [MetField(**row) for row in await cursor.fetchall()]


def extended(entity: Entity, met: Sequence[MetField]) -> Entity:
    """The entity with the fields that were given a column, behind the documented ones."""
    documented = {entity.key, *(field.name for field in entity.fields)}
    more = tuple(
        Field(one.field, Kind(one.kind), evolved=True) for one in met if one.kind and one.field not in documented
    )
    return replace(entity, fields=(*entity.fields, *more)) if more else entity


async def met(connection: Connection, owner: int, entity: str, fields: Sequence[str], *, run_id: int) -> list[str]:
    """Note fields that were met; gives those that nobody knew."""
    cursor = await connection.execute(
        _SQL["met"], {"connection": owner, "entity": entity, "fields": list(fields), "run": run_id}
    )
    return [row["field"] for row in await cursor.fetchall()]


async def evolved(connection: Connection, owner: int, entity: str, field: Field, *, run_id: int) -> None:
    """A field has a column now."""
    await connection.execute(
        _SQL["evolved"],
        {"connection": owner, "entity": entity, "field": field.name, "column": field.column, "kind": field.kind,
         "run": run_id},
    )  # fmt: skip


async def noted(connection: Connection, owner: int, entity: str, field: str, note: str, *, run_id: int) -> None:
    """Why a field cannot have a column: it is not tried again."""
    await connection.execute(
        _SQL["noted"], {"connection": owner, "entity": entity, "field": field, "note": note, "run": run_id}
    )
