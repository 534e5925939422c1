"""Migrations: forward only, one migrator at a time, and nothing that this version does not know."""

import asyncio
import importlib.util
from collections.abc import Callable
from pathlib import Path

import pytest

from keepstep.model.errors import StoreError
from keepstep.store.db import Connection, Database
from keepstep.store.migrate import migrate, migrations, pending

TOOL = Path(__file__).parents[2] / "tools/schema_snapshot.py"


def _tool(name: str) -> Callable[[str], str]:
    spec = importlib.util.spec_from_file_location("schema_snapshot", TOOL)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found: Callable[[str], str] = getattr(module, name)
    return found


async def test_a_fresh_database_gets_every_migration_and_a_second_time_none(empty_dsn: str) -> None:
    async with Database(empty_dsn).connection() as connection:
        assert await pending(connection) == migrations()
        assert await migrate(connection) == migrations()
        assert await migrate(connection) == []
        assert await pending(connection) == []


async def test_of_many_migrators_at_once_each_step_is_applied_by_one(empty_dsn: str) -> None:
    async def one() -> int:
        async with Database(empty_dsn).connection() as connection:
            return len(await migrate(connection))

    applied = await asyncio.gather(*(one() for _ in range(6)))
    assert sum(applied) == len(migrations())


async def test_a_step_that_was_edited_after_it_was_applied_is_refused(connection: Connection) -> None:
    await connection.execute("UPDATE keepstep.migrations SET checksum = 'another' WHERE version = 1")
    with pytest.raises(StoreError, match=r"Migration 0001 .* was applied in another form") as refusal:
        await migrate(connection)
    assert refusal.value.fix


async def test_a_database_of_a_newer_keepstep_is_refused(connection: Connection) -> None:
    await connection.execute("INSERT INTO keepstep.migrations (version, name, checksum) VALUES (9999, 'later', 'x')")
    with pytest.raises(StoreError, match="migrated to version 9999 by a newer Keepstep") as refusal:
        await migrate(connection)
    assert "Upgrade" in refusal.value.fix


async def test_a_step_that_fails_leaves_nothing_of_itself(empty_dsn: str) -> None:
    async with Database(empty_dsn).connection() as connection:
        await connection.execute("CREATE SCHEMA keepstep")
        await connection.execute("CREATE TABLE keepstep.events (in_the_way text)")
        with pytest.raises(Exception, match="already exists"):
            await migrate(connection)
        cursor = await connection.execute("SELECT count(*) AS n FROM pg_tables WHERE schemaname = 'keepstep'")
        assert await cursor.fetchone() == {"n": 2}  # the one in the way, and the list of migrations
        await connection.execute("DROP TABLE keepstep.events")
        assert await migrate(connection) == migrations()


def test_steps_are_numbered_upwards_and_each_has_a_number_and_a_name_of_its_own() -> None:
    versions = [step.version for step in migrations()]
    assert versions == sorted(set(versions))
    assert versions[0] == 1
    assert len({step.name for step in migrations()}) == len(migrations())


def test_the_snapshot_of_the_schema_is_current(dsn: str) -> None:
    kept = (TOOL.parents[1] / "src/keepstep/store/schema.sql").read_text("utf-8")
    assert _tool("snapshot")(dsn) == kept
