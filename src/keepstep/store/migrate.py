"""Brings the control tables up to date: numbered SQL files, forward only, one transaction each, one at a time.

A line ``--: procrastinate`` in a file stands for the queue engine's own schema, as its package brings it.
"""

import hashlib
import re
from dataclasses import dataclass
from importlib import resources
from importlib.util import find_spec
from pathlib import Path

from keepstep.model.errors import StoreError
from keepstep.store.db import Connection

_LOCK = 0x6B656570  # "keep": transaction-level, so that it cannot leak through a pooler
_FILE = re.compile(r"^(\d{4})_(\w+)\.sql$")
_ENGINE = re.compile(r"^--: procrastinate .*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Migration:
    """One step: its number, its name, its SQL."""

    version: int
    name: str
    sql: str

    @property
    def checksum(self) -> str:
        """Tells whether the file is still the one that was applied."""
        return hashlib.sha256(self.sql.encode()).hexdigest()


def migrations() -> list[Migration]:
    """All steps in order, as shipped."""
    folder = resources.files(__package__).joinpath("migrations")
    found = ((m, f) for f in folder.iterdir() if (m := _FILE.match(f.name)))
    return sorted((Migration(int(m[1]), m[2], f.read_text("utf-8")) for m, f in found), key=lambda step: step.version)


async def migrate(connection: Connection) -> list[Migration]:
    """Apply what is missing and return it.

    Raises ``StoreError`` when the database is ahead of this version of Keepstep or an applied step was edited.
    """
    await _prepare(connection)
    applied: list[Migration] = []
    for step in migrations():
        async with connection.transaction():
            await connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
            if await _is_applied(connection, step):
                continue
            await connection.execute(_whole(step.sql).encode())
            await connection.execute(
                "INSERT INTO keepstep.migrations (version, name, checksum) VALUES (%s, %s, %s)",
                [step.version, step.name, step.checksum],
            )
        applied.append(step)
    await _refuse_future(connection)
    return applied


async def pending(connection: Connection) -> list[Migration]:
    """The steps that ``migrate`` would apply. Changes nothing."""
    cursor = await connection.execute("SELECT to_regclass('keepstep.migrations') IS NOT NULL AS found")
    row = await cursor.fetchone()
    if row is None or not row["found"]:
        return migrations()
    cursor = await connection.execute("SELECT version FROM keepstep.migrations")
    done = {row["version"] for row in await cursor.fetchall()}
    return [step for step in migrations() if step.version not in done]


async def _prepare(connection: Connection) -> None:
    async with connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        cursor = await connection.execute("SELECT to_regclass('keepstep.migrations') IS NOT NULL AS found")
        row = await cursor.fetchone()
        if row is not None and row["found"]:
            return
        await connection.execute("CREATE SCHEMA IF NOT EXISTS keepstep")
        await connection.execute(
            "CREATE TABLE keepstep.migrations (version integer PRIMARY KEY, name text NOT NULL, checksum text NOT NULL,"
            " applied_at timestamptz NOT NULL DEFAULT now())"
        )


def _whole(sql: str) -> str:
    if _ENGINE.search(sql) is None:
        return sql
    engine = find_spec("procrastinate")  # found, not imported: importing it takes a while
    assert engine is not None and engine.submodule_search_locations  # noqa: S101 - a dependency of ours
    schema = Path(engine.submodule_search_locations[0], "sql", "schema.sql").read_text("utf-8")
    return _ENGINE.sub(lambda _: schema, sql)


async def _is_applied(connection: Connection, step: Migration) -> bool:
    cursor = await connection.execute("SELECT checksum FROM keepstep.migrations WHERE version = %s", [step.version])
    row = await cursor.fetchone()
    if row is None:
        return False
    if row["checksum"] != step.checksum:
        raise StoreError.named("migration-altered", facts={"detail": f"{step.version:04} ({step.name})"})
    return True


async def _refuse_future(connection: Connection) -> None:
    newest = migrations()[-1].version
    cursor = await connection.execute("SELECT max(version) AS version FROM keepstep.migrations")
    row = await cursor.fetchone()
    if row is not None and row["version"] is not None and row["version"] > newest:
        version = f"to version {row['version']} "
        raise StoreError.named("migrations-newer", facts={"detail": version})
