"""What writing staged rows would change in a table, column by column, without writing anything."""

from typing import Any

from psycopg import sql

from keepstep.model.integration import KEY_COLUMN
from keepstep.store.arrays import TextArray
from keepstep.store.db import Connection
from keepstep.store.records import Destination


class Comparison:
    """Compares a destination with its stage. A table that does not exist yet is as good as an empty one."""

    def __init__(self, destination: Destination, missing: list[str] | None) -> None:
        self._destination = destination
        self._table_exists = missing is not None
        self._columns = [name for name in destination.content if name not in (missing or ())]
        self._added = [name for name in destination.content if name in (missing or ())]

    async def changed(self, connection: Connection) -> list[dict[str, Any]]:
        """The staged rows that differ from live ones: ``key``, ``returns`` (was deleted), ``columns`` that differ."""
        tests = [
            sql.SQL("CASE WHEN {} THEN {} END").format(self._destination.difference(name), sql.Literal(name))
            for name in self._columns
        ]
        tests += [
            sql.SQL("CASE WHEN s.{} IS NOT NULL THEN {} END").format(sql.Identifier(name), sql.Literal(name))
            for name in self._added
        ]
        cursor = await connection.execute(
            sql.SQL(
                "SELECT s.{key} AS key, t._deleted_at IS NOT NULL AS returns, d.columns FROM {stage} s"
                " JOIN {table} t ON t.{key} = s.{key}"
                " CROSS JOIN LATERAL (SELECT array_remove(ARRAY[{tests}]::text[], NULL) AS columns) d"
                " WHERE t._deleted_at IS NOT NULL OR d.columns <> '{{}}'"
            ).format(
                key=sql.Identifier(KEY_COLUMN),
                stage=self._destination.stage,
                table=self._destination.table,
                tests=sql.SQL(", ").join(tests),
            )
        )
        return await cursor.fetchall()

    async def before_and_after(self, connection: Connection, keys: TextArray) -> dict[str, tuple[Any, Any]]:
        """The live row (None where there is none) and the staged row of some keys, as JSON objects."""
        key = sql.Identifier(KEY_COLUMN)
        live = (
            sql.SQL("(SELECT to_jsonb(t) FROM {} t WHERE t.{} = s.{})").format(self._destination.table, key, key)
            if self._table_exists
            else sql.SQL("NULL::jsonb")
        )
        cursor = await connection.execute(
            sql.SQL("SELECT s.{} AS key, {} AS before, to_jsonb(s) AS after FROM {} s WHERE s.{} = ANY (%s)").format(
                key, live, self._destination.stage, key
            ),
            [keys],
        )
        return {row["key"]: (row["before"], row["after"]) for row in await cursor.fetchall()}
