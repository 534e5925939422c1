"""The synced tables as they are: their columns, how many rows they hold, what they keep beside their columns."""

from psycopg import sql

from keepstep.model.integration import Entity
from keepstep.store.db import Connection

_SAMPLE = 1000


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
    """How many rows are not deleted; 0 where there is no table yet."""
    table = _table(integration, entity)
    found = await connection.execute("SELECT to_regclass(%s) AS oid", [table.as_string(connection)])
    if not (there := await found.fetchone()) or there["oid"] is None:
        return 0
    cursor = await connection.execute(sql.SQL("SELECT count(*) AS n FROM {} WHERE _deleted_at IS NULL").format(table))
    row = await cursor.fetchone()
    return int(row["n"]) if row else 0


async def extra_keys(connection: Connection, integration: str, entity: Entity) -> list[str]:
    """The names that upstream gave beyond the columns, in a sample of the rows. The table must be there."""
    cursor = await connection.execute(
        sql.SQL(
            "SELECT DISTINCT k.key FROM (SELECT _extra FROM {} WHERE _extra <> '{{}}' LIMIT {}) s,"
            " jsonb_object_keys(s._extra) AS k (key) ORDER BY k.key"
        ).format(_table(integration, entity), sql.Literal(_SAMPLE))
    )
    return [row["key"] for row in await cursor.fetchall()]
