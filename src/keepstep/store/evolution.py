"""Gives undocumented fields a column, and moves what was kept of them out of ``_extra``. Takes nothing away.

SQL is composed here because the names depend on what upstream gives, as in ``records.py``.
"""

from collections.abc import Sequence

from psycopg import sql

from keepstep.model.integration import Entity, Field, Kind
from keepstep.store.db import Connection
from keepstep.store.records import Destination

_KINDS = {"string": Kind.TEXT, "number": Kind.NUMERIC, "boolean": Kind.BOOLEAN}
_VALUES = {
    Kind.TEXT: sql.SQL("t._extra ->> {0}"),
    Kind.NUMERIC: sql.SQL("(t._extra ->> {0})::numeric"),
    Kind.BOOLEAN: sql.SQL("(t._extra ->> {0})::boolean"),
    Kind.JSON: sql.SQL("nullif(t._extra -> {0}, 'null'::jsonb)"),
}


async def kinds(connection: Connection, integration: str, entity: Entity, fields: Sequence[str]) -> dict[str, Kind]:
    """The type that holds every value that the table keeps of each field; none for a field that has only nulls."""
    table = Destination(integration, entity).table
    cursor = await connection.execute(
        sql.SQL(
            "SELECT k.key, array_agg(DISTINCT jsonb_typeof(k.value)) AS types FROM {} t, jsonb_each(t._extra) k"
            " WHERE t._extra ?| %(fields)s::text[] AND k.key = ANY (%(fields)s::text[]) GROUP BY k.key"
        ).format(table),
        {"fields": list(fields)},
    )
    found: dict[str, Kind] = {}
    for row in await cursor.fetchall():
        types = set(row["types"]) - {"null"}
        if types:
            found[row["key"]] = _KINDS.get(next(iter(types)), Kind.JSON) if len(types) == 1 else Kind.JSON
    return found


async def add_columns(connection: Connection, integration: str, entity: Entity, fields: Sequence[Field]) -> int:
    """Add nullable columns and fill them from what is kept; gives how many rows had something for them."""
    table = Destination(integration, entity).table
    additions = [
        sql.SQL("ADD COLUMN {} {}").format(sql.Identifier(field.column), sql.SQL(field.kind.value)) for field in fields
    ]
    await connection.execute(sql.SQL("ALTER TABLE {} {}").format(table, sql.SQL(", ").join(additions)))
    names = [field.name for field in fields]
    values = [
        sql.SQL("{} = {}").format(sql.Identifier(f.column), _VALUES[f.kind].format(sql.Literal(f.name))) for f in fields
    ]
    # What upstream says has not changed: neither has _changed_at. The next reading finds the rows the same.
    cursor = await connection.execute(
        sql.SQL("UPDATE {} t SET {}, _extra = t._extra - {fields}::text[] WHERE t._extra ?| {fields}::text[]").format(
            table, sql.SQL(", ").join(values), fields=sql.Literal(names)
        )
    )
    return cursor.rowcount
