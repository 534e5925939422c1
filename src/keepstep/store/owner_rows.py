"""One table for the records of many owners, kept apart: by the key, by every statement, and by the database itself.

::

    primary key (owner_id, id)          two owners may have the same record: it stays two rows
    AND t.owner_id = 'ana'              every statement of a run names its owner
    row level security, forced          whoever has set no owner sees nothing, and another one's rows cannot be written

The owner of a transaction is the setting ``keepstep.owner``, given by ``set_config(.., true)``. Superusers and roles
with BYPASSRLS are past it.
"""

from psycopg import sql

from keepstep.model.integration import KEY_COLUMN
from keepstep.store.db import Connection

COLUMN = "owner_id"
_SETTING = "current_setting('keepstep.owner', true)"


def condition(owner: str | None) -> sql.Composable:
    """What a statement about the table ``t`` adds so that it is about one owner's rows; nothing where there is none."""
    if owner is None:
        return sql.SQL("")
    return sql.SQL(" AND t.{} = {}").format(sql.Identifier(COLUMN), sql.Literal(owner))


def primary_key() -> sql.Composable:
    """The owner's column and the primary key, to stand behind the key's own type. New rows are the current owner's."""
    definition = sql.SQL(
        ", {0} text NOT NULL DEFAULT " + _SETTING + " CHECK ({0} <> ''), PRIMARY KEY ({0}, {1})"
    )  # fmt: skip
    return definition.format(sql.Identifier(COLUMN), sql.Identifier(KEY_COLUMN))


async def secure(connection: Connection, table: sql.Identifier) -> None:
    """Let nobody see or write the rows of another owner, the table's own role included."""
    await connection.execute(sql.SQL("ALTER TABLE {} ENABLE ROW LEVEL SECURITY").format(table))
    await connection.execute(sql.SQL("ALTER TABLE {} FORCE ROW LEVEL SECURITY").format(table))
    await connection.execute(
        sql.SQL(
            "CREATE POLICY keepstep_owner ON {0} USING ({1} = " + _SETTING + ") WITH CHECK ({1} = " + _SETTING + ")"
        ).format(table, sql.Identifier(COLUMN))
    )


async def become(connection: Connection, owner: str | None) -> None:
    """The owner of the caller's transaction."""
    await connection.execute("SELECT set_config('keepstep.owner', %s, true)", [owner or ""])
