"""The keys that a full reading has seen: an unlogged table of its own, dropped when the reading ends.

A server crash empties an unlogged table. The first row of every such table is a mark; a resumed reading that does not
find it must begin again, or everything read before the crash would count as gone.
"""

from collections.abc import Mapping

from psycopg import sql

from keepstep.model.integration import KEY_COLUMN
from keepstep.store.arrays import TextArray
from keepstep.store.db import Connection
from keepstep.store.records import Destination

_MARK = -1


class SeenKeys:
    """The keys of one reading. ``look`` counts the passes over the whole listing, ``part`` the listings of a pass."""

    def __init__(self, name: str, *, temporary: bool = False) -> None:
        self.name = name
        self._temporary = temporary
        self._table = sql.Identifier("pg_temp" if temporary else "keepstep", name)

    async def create(self, connection: Connection) -> None:
        """Make the table, empty but for its mark."""
        await self.drop(connection)
        await connection.execute(
            sql.SQL("CREATE {} TABLE {} (look smallint NOT NULL, part smallint NOT NULL, key text NOT NULL)").format(
                sql.SQL("TEMP" if self._temporary else "UNLOGGED"), self._table
            )
        )
        await connection.execute(sql.SQL("INSERT INTO {} VALUES (%s, %s, '')").format(self._table), [_MARK, _MARK])
        if self._temporary:  # a dry run asks it for single keys
            await self.index(connection)

    async def intact(self, connection: Connection) -> bool:
        """Whether the table is there and no crash has emptied it."""
        cursor = await connection.execute(
            "SELECT to_regclass(%s) IS NOT NULL AS found", [self._table.as_string(connection)]
        )
        row = await cursor.fetchone()
        if row is None or not row["found"]:
            return False
        cursor = await connection.execute(
            sql.SQL("SELECT EXISTS (SELECT FROM {} WHERE look = %s) AS marked").format(self._table), [_MARK]
        )
        row = await cursor.fetchone()
        return bool(row and row["marked"])

    async def add(self, connection: Connection, look: int, parts: Mapping[int, TextArray]) -> None:
        """Note keys, by part."""
        for part, keys in parts.items():
            await connection.execute(
                sql.SQL("INSERT INTO {} SELECT %s, %s, unnest(%s)").format(self._table), [look, part, keys]
            )

    async def distinct(self, connection: Connection, look: int) -> dict[int, int]:
        """How many different keys one pass saw, by part."""
        cursor = await connection.execute(
            sql.SQL(
                "SELECT part, count(*) AS n FROM (SELECT DISTINCT part, key FROM {} WHERE look = %s) k GROUP BY part"
            ).format(self._table),
            [look],
        )
        return {row["part"]: row["n"] for row in await cursor.fetchall()}

    async def index(self, connection: Connection) -> None:
        """Make it fast to ask for single keys: from the second pass on it is."""
        name = sql.Identifier(f"{self.name}_key")
        await connection.execute(sql.SQL("CREATE INDEX IF NOT EXISTS {} ON {} (key)").format(name, self._table))

    def unseen(self, destination: Destination, since: int) -> sql.Composed:
        """Selects the keys of live rows that no pass saw, from pass number ``since`` on."""
        return sql.SQL(
            "SELECT t.{key} AS key FROM {table} t WHERE t._deleted_at IS NULL"
            " AND NOT EXISTS (SELECT FROM {seen} s WHERE s.key = t.{key} AND s.look >= {since})"
        ).format(
            key=sql.Identifier(KEY_COLUMN),
            table=destination.table,
            seen=self._table,
            since=sql.Literal(since),
        )

    async def count_unseen(self, connection: Connection, destination: Destination, since: int) -> int:
        """How many live rows no pass saw, from pass number ``since`` on."""
        cursor = await connection.execute(
            sql.SQL("SELECT count(*) AS n FROM ({}) u").format(self.unseen(destination, since))
        )
        row = await cursor.fetchone()
        return int(row["n"]) if row else 0

    async def some_unseen(self, connection: Connection, destination: Destination, since: int, limit: int) -> list[str]:
        """The first keys, in order, of live rows that no pass saw from pass number ``since`` on."""
        cursor = await connection.execute(
            sql.SQL("{} ORDER BY 1 LIMIT {}").format(self.unseen(destination, since), sql.Literal(limit))
        )
        return [str(row["key"]) for row in await cursor.fetchall()]

    async def among(self, connection: Connection, keys: TextArray) -> list[str]:
        """Those of some keys that were seen before."""
        cursor = await connection.execute(
            sql.SQL("SELECT DISTINCT key FROM {} WHERE key = ANY (%s)").format(self._table), [keys]
        )
        return [str(row["key"]) for row in await cursor.fetchall()]

    async def drop(self, connection: Connection) -> None:
        """Forget all keys."""
        await connection.execute(sql.SQL("DROP TABLE IF EXISTS {}").format(self._table))
