"""The synced tables as they are: their columns, how many rows they hold, what they keep beside their columns."""

from collections.abc import Iterable
from dataclasses import dataclass

from psycopg import sql

from keepstep.model.integration import Entity
from keepstep.store.db import Connection

_SAMPLE = 1000
_COUNTED = 200_000
"""Rows of a table that are counted; of a larger one so many are looked at."""


def _table(integration: str, entity: Entity) -> sql.Identifier:
    return sql.Identifier(integration, entity.name)


async def columns(connection: Connection, integration: str, entity: Entity) -> dict[str, str] | None:
    """The columns with their types, in order; None when there is no table yet."""
    cursor = await connection.execute(
        "SELECT attname, format_type(atttypid, atttypmod) AS type FROM pg_attribute"
        " WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
        [_table(integration, entity).as_string(connection)],
    )
    return {row["attname"]: row["type"] for row in await cursor.fetchall()} or None


async def live_rows(connection: Connection, integration: str, entity: Entity) -> int:
    """How many rows are not deleted; 0 where there is no table yet.

    Of an entity that belongs to owners the rows of all, about: the database lets nobody count them together.
    """
    table = _table(integration, entity)
    found = await connection.execute(
        "SELECT to_regclass(%(name)s) AS oid,"
        " coalesce(row_security_active(to_regclass(%(name)s)::oid), false) AS apart,"
        " pg_stat_get_live_tuples(to_regclass(%(name)s)) AS about",
        {"name": table.as_string(connection)},
    )
    if not (there := await found.fetchone()) or there["oid"] is None:
        return 0
    if there["apart"]:
        return int(there["about"] or 0)
    cursor = await connection.execute(sql.SQL("SELECT count(*) AS n FROM {} WHERE _deleted_at IS NULL").format(table))
    row = await cursor.fetchone()
    return int(row["n"]) if row else 0


@dataclass(frozen=True, slots=True)
class Counts:
    """How many live rows have a value in each column, and each key in ``_extra``; estimated where not ``exact``."""

    columns: dict[str, int]
    beside: dict[str, int]
    exact: bool


async def counts(connection: Connection, integration: str, entity: Entity, columns: Iterable[str]) -> Counts:
    """Count a table that is there. Of a large one a part is looked at, for as long as a person waits."""
    table = _table(integration, entity)
    size = await (
        await connection.execute(
            "SELECT greatest(reltuples, 0)::bigint AS n FROM pg_class WHERE oid = to_regclass(%s)",
            [table.as_string(connection)],
        )
    ).fetchone()
    rows = int(size["n"]) if size else 0
    share = min(1.0, _COUNTED / rows) if rows else 1.0
    part = sql.SQL("") if share == 1.0 else sql.SQL(" TABLESAMPLE SYSTEM ({})").format(sql.Literal(100 * share))
    names = [name for name in columns if not name.startswith("_")]
    counted = sql.SQL(", ").join(
        sql.SQL("count({}) AS {}").format(sql.Identifier(name), sql.Identifier(f"n{place}"))
        for place, name in enumerate(names)
    )
    source = sql.SQL("{}{} t WHERE t._deleted_at IS NULL").format(table, part)
    row = await (await connection.execute(sql.SQL("SELECT {} FROM {}").format(counted, source))).fetchone()
    cursor = await connection.execute(
        sql.SQL(
            "SELECT k.key, count(*) AS n FROM (SELECT t._extra FROM {} AND t._extra <> '{{}}') s,"
            " jsonb_object_keys(s._extra) AS k (key) GROUP BY k.key"
        ).format(source)
    )
    beside = {one["key"]: round(one["n"] / share) for one in await cursor.fetchall()}
    found = {} if row is None else {name: round(row[f"n{place}"] / share) for place, name in enumerate(names)}
    return Counts(found, beside, exact=share == 1.0)


async def extra_keys(connection: Connection, integration: str, entity: Entity) -> list[str]:
    """The names that upstream gave beyond the columns, in a sample of the rows. The table must be there."""
    cursor = await connection.execute(
        sql.SQL(
            "SELECT DISTINCT k.key FROM (SELECT _extra FROM {} WHERE _extra <> '{{}}' LIMIT {}) s,"
            " jsonb_object_keys(s._extra) AS k (key) ORDER BY k.key"
        ).format(_table(integration, entity), sql.Literal(_SAMPLE))
    )
    return [row["key"] for row in await cursor.fetchall()]
