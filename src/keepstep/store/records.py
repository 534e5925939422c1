"""The destination: one table per entity, its probe, its writes, its soft deletes.

SQL is composed at run time only here and in its neighbours ``seen.py``, ``comparison.py``, ``held.py`` and
``tables.py``, because only here the names depend on an integration. Rows travel as CSV made of the record's own bytes
(``engine/mapping.py``): what PostgreSQL parses is what upstream said.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime

from psycopg import sql

from keepstep.model.integration import KEY_COLUMN, Entity
from keepstep.store.arrays import ByteaArray, TextArray
from keepstep.store.db import Connection

TAG_BYTES = 4
"""How many bytes of ``_hash`` name the mapping that wrote the row; the rest is the hash of the record's bytes."""

_COPY = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv, NULL 'null')")


@dataclass(frozen=True, slots=True)
class Hits:
    """The records of a flush that need work, by their places in it, ascending.

    ``new``: the table has no row of the key. ``other``: the row's hash differs, or the row is deleted.
    """

    new: list[int]
    other: list[int]


class Destination:
    """The table of one entity. Statements run on the connection given, in the caller's transaction."""

    def __init__(self, integration: str, entity: Entity) -> None:
        self.entity = entity
        self.table_name = f"{integration}.{entity.name}"
        self._schema = sql.Identifier(integration)
        self.table = sql.Identifier(integration, entity.name)
        self.stage = sql.Identifier("pg_temp", f"stage_{entity.name}")
        self.content = (*entity.columns, "_extra")
        self.columns = (KEY_COLUMN, *self.content, "_hash")
        """The columns of a mapped row, in order."""
        self._prepare_statements()

    def _prepare_statements(self) -> None:
        key = sql.Identifier(KEY_COLUMN)
        # Rendered once: of the forty names of a wide table every flush would quote each one anew.
        self._insert = _COPY.format(self.table, _names((*self.columns, "_run_id"))).as_bytes()
        self._fill_stage = _COPY.format(self.stage, _names(self.columns)).as_bytes()
        self._create_stage = (
            sql.SQL("CREATE TEMP TABLE IF NOT EXISTS {} ({} text, {}, _extra jsonb, _hash bytea) ON COMMIT DELETE ROWS")
            .format(sql.Identifier(f"stage_{self.entity.name}"), key, self._definitions(self.entity.columns))
            .as_bytes()
        )
        # Ordered: the caller matches hits to records by place, and a join may return rows in any order.
        self._probe = sql.SQL(
            "SELECT coalesce(array_agg(h.place ORDER BY h.place) FILTER (WHERE h.is_new), '{{}}') AS new,"
            " coalesce(array_agg(h.place ORDER BY h.place) FILTER (WHERE NOT h.is_new), '{{}}') AS other"
            " FROM (SELECT (k.place - 1)::integer AS place, t.{key} IS NULL AS is_new"
            " FROM unnest(%(keys)s, %(hashes)s) WITH ORDINALITY AS k (key, hash, place)"
            " LEFT JOIN {table} t ON t.{key} = k.key"
            " WHERE t._hash IS DISTINCT FROM k.hash OR t._deleted_at IS NOT NULL) h"
        ).format(key=key, table=self.table)
        self.differs = sql.SQL("({})").format(sql.SQL(" OR ").join(self.difference(name) for name in self.content))
        update = sql.SQL(
            "UPDATE {table} t SET {assignments}, _hash = s._hash, _fetched_at = %(now)s, _run_id = %(run)s,"
            " _changed_at = %(now)s, _deleted_at = NULL"
            " FROM {stage} s WHERE t.{key} = s.{key} AND (t._deleted_at IS NOT NULL OR {differs})"
        ).format(
            table=self.table,
            stage=self.stage,
            key=key,
            differs=self.differs,
            assignments=sql.SQL(", ").join(
                sql.SQL("{0} = s.{0}").format(sql.Identifier(name)) for name in self.content
            ),
        )
        self._update = update.as_bytes()
        # A row that an older mapping wrote and whose content is the same: only its hash moves on, once.
        retag = sql.SQL(
            "UPDATE {table} t SET _hash = s._hash FROM {stage} s WHERE t.{key} = s.{key} AND t._hash <> s._hash"
            " AND substring(t._hash for {tag}) <> substring(s._hash for {tag})"
        ).format(table=self.table, stage=self.stage, key=key, tag=sql.Literal(TAG_BYTES))
        self._retag = retag.as_bytes()
        self._delete_listed = (
            sql.SQL(
                "UPDATE {} t SET _deleted_at = %(now)s, _changed_at = %(now)s, _run_id = %(run)s"
                " FROM unnest(%(keys)s) k (key) WHERE t.{} = k.key AND t._deleted_at IS NULL"
            )
            .format(self.table, key)
            .as_bytes()
        )
        self._live_among = (
            sql.SQL("SELECT t.{0} AS key FROM {1} t WHERE t.{0} = ANY (%(keys)s) AND t._deleted_at IS NULL")
            .format(key, self.table)
            .as_bytes()
        )

    def difference(self, column: str) -> sql.Composable:
        """Whether the staged row ``s`` says something else than the live row ``t`` in this column."""
        name = sql.Identifier(column)
        volatile = {field.column for field in self.entity.fields if field.name in self.entity.volatile}
        if column in volatile:
            return sql.SQL("false")
        if column == "_extra" and self.entity.volatile:
            names = sql.Literal(sorted(self.entity.volatile))
            return sql.SQL("t.{0} - {1}::text[] IS DISTINCT FROM s.{0} - {1}::text[]").format(name, names)
        return sql.SQL("t.{0} IS DISTINCT FROM s.{0}").format(name)

    async def create(self, connection: Connection) -> None:
        """Make the schema and the table, or add the columns that it lacks. Never takes anything away."""
        missing = await self.missing_columns(connection)
        if missing is None or missing:  # one at a time: IF NOT EXISTS fails where two of them meet
            schema = self.table_name.partition(".")[0]
            await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [schema])
            missing = await self.missing_columns(connection)
        if missing is None:
            await connection.execute(sql.SQL("CREATE SCHEMA IF NOT EXISTS {}").format(self._schema))
            await connection.execute(
                # What the probe reads stands first: PostgreSQL walks through a row to reach a column.
                sql.SQL(
                    "CREATE TABLE IF NOT EXISTS {} ({} text PRIMARY KEY, _hash bytea NOT NULL, _deleted_at timestamptz,"
                    " {}, _extra jsonb NOT NULL DEFAULT '{{}}', _source text NOT NULL DEFAULT {},"
                    " _fetched_at timestamptz NOT NULL DEFAULT now(), _run_id bigint NOT NULL,"
                    " _first_seen_at timestamptz NOT NULL DEFAULT now(),"
                    " _changed_at timestamptz NOT NULL DEFAULT now())"
                ).format(
                    self.table,
                    sql.Identifier(KEY_COLUMN),
                    self._definitions(self.entity.columns),
                    sql.Literal(self.table_name.partition(".")[0]),
                )
            )
        elif missing:
            additions = sql.SQL(", ").join(
                sql.SQL("ADD COLUMN {}").format(self._definitions([name])) for name in missing
            )
            await connection.execute(sql.SQL("ALTER TABLE {} {}").format(self.table, additions))

    async def missing_columns(self, connection: Connection) -> list[str] | None:
        """The typed columns that the table lacks, or None when there is no table."""
        cursor = await connection.execute(
            "SELECT attname FROM pg_attribute WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped",
            [self.table.as_string(connection)],
        )
        present = {row["attname"] for row in await cursor.fetchall()}
        return [name for name in self.entity.columns if name not in present] if present else None

    def _definitions(self, columns: Iterable[str]) -> sql.Composed:
        kinds = {field.column: field.kind for field in self.entity.fields}
        return sql.SQL(", ").join(
            sql.SQL("{} {}").format(sql.Identifier(name), sql.SQL(kinds[name].value)) for name in columns
        )

    async def probe(self, connection: Connection, keys: TextArray, hashes: ByteaArray) -> Hits:
        """The records of a flush that are new or not known to be the same."""
        cursor = await connection.execute(self._probe, {"keys": keys, "hashes": hashes})
        row = await cursor.fetchone()
        return Hits(row["new"], row["other"]) if row else Hits([], [])

    async def probe_plan(self, connection: Connection, keys: TextArray, hashes: ByteaArray) -> str:
        """The plan of the probe, as text: the hot query must keep its index."""
        cursor = await connection.execute(sql.SQL("EXPLAIN {}").format(self._probe), {"keys": keys, "hashes": hashes})
        return "\n".join(str(row["QUERY PLAN"]) for row in await cursor.fetchall())

    async def insert(self, connection: Connection, rows: Iterable[bytes], *, run_id: int) -> int:
        """COPY new rows and give their number. ``rows`` come without a line end.

        Source and times come from the table's defaults (the transaction's own time): an eighth less for COPY to parse.
        """
        end = b",%d\n" % run_id
        async with connection.cursor() as cursor:
            async with cursor.copy(self._insert) as copy:
                for chunk in _chunks(rows):
                    await copy.write(end.join(chunk) + end)
            return cursor.rowcount

    async def create_stage(self, connection: Connection) -> None:
        """Make this session's stage for changed rows. It empties itself at every commit."""
        await connection.execute(self._create_stage)

    async def fill_stage(self, connection: Connection, rows: Iterable[bytes]) -> int:
        """COPY mapped rows to the stage, and give their number."""
        async with connection.cursor() as cursor:
            async with cursor.copy(self._fill_stage) as copy:
                for chunk in _chunks(rows):
                    await copy.write(b"\n".join(chunk) + b"\n")
            return cursor.rowcount

    async def update_from_stage(self, connection: Connection, staged: int, *, now: datetime, run_id: int) -> int:
        """Write those of the ``staged`` rows whose content differs, and give their number."""
        cursor = await connection.execute(self._update, {"now": now, "run": run_id})
        updated = cursor.rowcount
        if updated < staged:
            await connection.execute(self._retag)
        return updated

    async def clear_stage(self, connection: Connection) -> None:
        """Empty the stage within a transaction. For a few rows DELETE is cheap; TRUNCATE makes new files."""
        await connection.execute(sql.SQL("DELETE FROM {}").format(self.stage))

    async def plan_for_whole_table(self, connection: Connection) -> None:
        """For the rest of the transaction allow the hash joins, which a run's session turns off."""
        await connection.execute(
            "SELECT set_config('enable_hashjoin', 'on', true), set_config('work_mem', '64MB', true)"
        )

    async def is_empty(self, connection: Connection) -> bool:
        """Whether the table holds no row at all, deleted ones included."""
        cursor = await connection.execute(sql.SQL("SELECT NOT EXISTS (SELECT FROM {}) AS empty").format(self.table))
        row = await cursor.fetchone()
        return bool(row and row["empty"])

    async def live_rows(self, connection: Connection) -> int:
        """How many rows are not deleted."""
        cursor = await connection.execute(
            sql.SQL("SELECT count(*) AS n FROM {} WHERE _deleted_at IS NULL").format(self.table)
        )
        row = await cursor.fetchone()
        return int(row["n"]) if row else 0

    async def state(self, connection: Connection) -> str:
        """Changes whenever a row is written or deleted: an approval is void when this has moved."""
        cursor = await connection.execute(
            sql.SQL(
                "SELECT concat_ws(':', count(*), count(_deleted_at), max(_changed_at)) AS s FROM {}"
            ).format(self.table)
        )  # fmt: skip
        row = await cursor.fetchone()
        return str(row["s"]) if row else ""

    async def delete_keys(
        self, connection: Connection, keys_query: sql.Composable, *, now: datetime, run_id: int
    ) -> int:
        """Soft-delete the live rows whose keys ``keys_query`` selects (as ``key``), and give their number."""
        cursor = await connection.execute(
            sql.SQL(
                "UPDATE {table} t SET _deleted_at = {now}, _changed_at = {now}, _run_id = {run}"
                " FROM ({keys}) k WHERE t.{key} = k.key AND t._deleted_at IS NULL"
            ).format(
                table=self.table,
                key=sql.Identifier(KEY_COLUMN),
                keys=keys_query,
                now=sql.Literal(now),
                run=sql.Literal(run_id),
            )
        )
        return cursor.rowcount

    async def delete_listed(self, connection: Connection, keys: TextArray, *, now: datetime, run_id: int) -> int:
        """Soft-delete the live rows of these keys, and give their number."""
        cursor = await connection.execute(self._delete_listed, {"keys": keys, "now": now, "run": run_id})
        return cursor.rowcount

    async def live_among(self, connection: Connection, keys: TextArray) -> list[str]:
        """Those of some keys that have a live row."""
        cursor = await connection.execute(self._live_among, {"keys": keys})
        return [str(row["key"]) for row in await cursor.fetchall()]


def _names(columns: Sequence[str]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, columns))


def _chunks(rows: Iterable[bytes], size: int = 100) -> Iterable[list[bytes]]:
    """Rows in small groups, so that the server parses one group while the next is still being mapped."""
    chunk: list[bytes] = []
    for row in rows:
        chunk.append(row)
        if len(chunk) == size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
