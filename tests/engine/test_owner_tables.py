"""One table for the records of many owners: each one's runs read, write and delete their own and nothing else.

Keepstep itself runs here as a role that is no superuser, so that the database holds it to its own rules.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo
from psycopg.rows import dict_row

from keepstep.dispatch.queue import Queue
from keepstep.engine.runner import Runner
from keepstep.integrations.doorloop.entities import ENTITIES
from keepstep.model.errors import BadRequest
from keepstep.model.integration import Entity, Mode
from keepstep.model.run import RunRequest
from keepstep.service.shapes import RunSummary
from keepstep.store.db import Connection, Database
from keepstep.store.records import Destination
from keepstep.store.runs import hold_off
from tests.support.sync import Sync
from tests.support.truth import differences
from tests.support.upstream import Upstream, serving

KEEPSTEP, APPLICATION = "keepstep_service", "crm_application"
OWNED = tuple(replace(entity, owned=True) for entity in ENTITIES)
UNITS = next(entity for entity in OWNED if entity.name == "owners")


def as_role(dsn: str, role: str) -> str:
    return make_conninfo(dsn, user=role)


@pytest.fixture
def roles(dsn: str) -> Iterator[None]:
    """The role that Keepstep runs as, which owns its tables, and the one of the application beside it."""
    with psycopg.connect(dsn, autocommit=True) as admin:
        database = admin.info.dbname
        for role in (KEEPSTEP, APPLICATION):
            admin.execute(f'CREATE ROLE "{role}" LOGIN NOSUPERUSER NOBYPASSRLS'.encode())
        admin.execute(f'GRANT CREATE ON DATABASE "{database}" TO "{KEEPSTEP}"'.encode())
        for schema in ("keepstep", "keepstep_queue"):
            admin.execute(f'ALTER SCHEMA {schema} OWNER TO "{KEEPSTEP}"'.encode())
            for kind, names in (
                ("TABLE", "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'r'"),
                ("VIEW", "SELECT oid::regclass::text FROM pg_class WHERE relkind = 'v'"),
                ("ROUTINE", "SELECT oid::regprocedure::text FROM pg_proc WHERE true"),
                ("TYPE", "SELECT oid::regtype::text FROM pg_type WHERE typtype IN ('c', 'e') AND NOT EXISTS"
                         " (SELECT FROM pg_class c WHERE c.oid = typrelid AND c.relkind <> 'c')"),
            ):  # fmt: skip
                column = {"TABLE": "relnamespace", "VIEW": "relnamespace", "ROUTINE": "pronamespace"}
                where = f"{names} AND {column.get(kind, 'typnamespace')} = '{schema}'::regnamespace"
                for (name,) in admin.execute(where.encode()).fetchall():
                    admin.execute(f'ALTER {kind} {name} OWNER TO "{KEEPSTEP}"'.encode())
    yield
    with psycopg.connect(dsn, autocommit=True) as admin:
        for role in (KEEPSTEP, APPLICATION):
            admin.execute(f'DROP OWNED BY "{role}" CASCADE'.encode())
            admin.execute(f'DROP ROLE "{role}"'.encode())


class Owners:
    """Runs of owners, each with an upstream of their own."""

    def __init__(self, dsn: str) -> None:
        self.dsn = as_role(dsn, KEEPSTEP)
        self.application = as_role(dsn, APPLICATION)
        self.database = Database(self.dsn)

    async def run(
        self, owner: str | None, upstream: Upstream, mode: Mode = Mode.BACKFILL, **options: Any
    ) -> RunSummary:
        sync = Sync(self.dsn, upstream, entities=OWNED)
        request = RunRequest(("owners", "tenants"), mode, dry_run=options.pop("dry_run", False))
        run_id = await Queue(self.database).enqueue_one("doorloop", request, owner=owner)
        connector = sync.connector()
        try:
            policy = replace(sync.policy, **options)
            await Runner(self.database, connector, policy, lambda _event: None).take_up(run_id)
        finally:
            await connector.aclose()
        return await sync.views.run(run_id)

    @asynccontextmanager
    async def sees(self, owner: str | None) -> AsyncIterator[Connection]:
        """Keepstep's own role, in a transaction of an owner."""
        async with self.database.connection() as connection, connection.transaction():
            if owner is not None:
                await connection.execute("SELECT set_config('keepstep.owner', %s, true)", [owner])
            yield connection

    async def rows(self, owner: str | None, where: str = "true") -> list[dict[str, Any]]:
        async with self.sees(owner) as connection:
            return await (await connection.execute(f"SELECT * FROM doorloop.owners WHERE {where}".encode())).fetchall()

    async def agrees(self, owner: str, upstream: Upstream, entity: Entity) -> list[str]:
        """What an owner's live rows and their upstream do not agree on."""
        async with self.sees(owner) as connection:
            from psycopg.types.json import set_json_loads

            from tests.support.truth import exact_json

            set_json_loads(exact_json, connection)
            statement = f"SELECT * FROM doorloop.{entity.name} WHERE _deleted_at IS NULL"
            found = await (await connection.execute(statement.encode())).fetchall()
        assert {row["owner_id"] for row in found} == {owner}
        return differences(entity, await upstream.truth(entity.name), {row[entity.key]: row for row in found})


@pytest.fixture
def owners(dsn: str, roles: None) -> Owners:
    return Owners(dsn)


@pytest.fixture
async def other() -> AsyncIterator[Upstream]:
    """A second account, with other records of the same kind."""
    async with serving(seed=77, owners=9) as upstream:
        yield upstream


async def test_two_owners_have_their_own_rows_in_one_table(owners: Owners, upstream: Upstream, other: Upstream) -> None:
    first = await owners.run("ana", upstream)
    second = await owners.run("ben", other)
    again = await owners.run("ana", upstream)

    assert (first.result, second.result, again.result) == ("succeeded", "succeeded", "succeeded"), second.error
    assert again.unchanged == first.inserted == first.rows
    for entity in OWNED:
        if entity.name in ("owners", "tenants"):
            assert await owners.agrees("ana", upstream, entity) == []
            assert await owners.agrees("ben", other, entity) == []


async def test_the_same_record_of_two_owners_stays_two_rows(owners: Owners, upstream: Upstream) -> None:
    await owners.run("ana", upstream)
    second = await owners.run("ben", upstream)

    assert second.inserted == second.rows > 0
    ids = [{row["id"] for row in await owners.rows(owner)} for owner in ("ana", "ben")]
    assert ids[0] == ids[1] != set()


async def test_deletions_of_one_owner_leave_the_others_rows_alone(owners: Owners, upstream: Upstream) -> None:
    await owners.run("ana", upstream)
    await owners.run("ben", upstream)
    upstream.change("owners", delete=2)
    run = await owners.run("ana", upstream)

    assert run.deleted == 2
    assert len(await owners.rows("ana", "_deleted_at IS NOT NULL")) == 2
    assert await owners.rows("ben", "_deleted_at IS NOT NULL") == []


async def test_changes_of_one_owner_leave_the_others_rows_alone(owners: Owners, upstream: Upstream) -> None:
    await owners.run("ana", upstream)
    await owners.run("ben", upstream)
    before = {row["id"]: row for row in await owners.rows("ben")}
    upstream.change("owners", update=3)
    dry = await owners.run("ana", upstream, dry_run=True)
    run = await owners.run("ana", upstream)

    assert (dry.updated, run.updated) == (3, 3)
    assert {row["id"]: row for row in await owners.rows("ben")} == before


async def test_held_deletions_of_an_owner_are_approved_for_that_owner(owners: Owners, upstream: Upstream) -> None:
    await owners.run("ana", upstream)
    await owners.run("ben", upstream)
    upstream.change("tenants", delete=40)
    held = await owners.run("ana", upstream)
    sync = Sync(owners.dsn, upstream, entities=OWNED)
    deleted = await sync.commands.approve(held.run_id, by="admin", reason="It is so.")

    assert (held.result, deleted) == ("held", 40)
    async with owners.sees("ben") as connection:
        cursor = await connection.execute("SELECT count(*) AS n FROM doorloop.tenants WHERE _deleted_at IS NOT NULL")
        [row] = await cursor.fetchall()
    assert row["n"] == 0


async def test_a_dead_letter_is_applied_again_for_its_owner(owners: Owners, upstream: Upstream) -> None:
    key = upstream.ids("owners")[0]
    await owners.run("ana", upstream)
    async with owners.sees("ana") as connection:
        await connection.execute("DELETE FROM doorloop.owners WHERE id = %s", [key])
        held = await hold_off(connection, "doorloop", "ana")
        payload = next(record for record in await upstream.truth("owners") if key.encode() in record)
        await connection.execute(
            "INSERT INTO keepstep.dead_letters (connection_id, entity, record_key, kind, reason, payload, payload_hash,"
            " run_id) SELECT %s, 'owners', %s, 'value', 'It was refused.', %s, 'x', max(id) FROM keepstep.runs",
            [held, key, payload],
        )
    sync = Sync(owners.dsn, upstream, entities=OWNED)
    [letter] = (await sync.views.dead_letters()).items
    [answer] = await sync.commands.requeue([letter.id], by="admin")

    assert answer.result == "requeued", answer.reason
    assert [row["owner_id"] for row in await owners.rows("ana", f"id = '{key}'")] == ["ana"]


async def test_whoever_has_set_no_owner_sees_nothing(owners: Owners, upstream: Upstream) -> None:
    await owners.run("ana", upstream)

    assert await owners.rows(None) == []
    assert await owners.rows("") == []
    assert await owners.rows("nobody") == []
    assert len(await owners.rows("ana")) == 7


async def test_direct_sql_of_the_application_reaches_only_the_owner_who_is_set(
    owners: Owners, upstream: Upstream, other: Upstream
) -> None:
    await owners.run("ana", upstream)
    await owners.run("ben", other)
    with psycopg.connect(owners.dsn, autocommit=True) as keepstep:
        keepstep.execute(f'GRANT USAGE ON SCHEMA doorloop TO "{APPLICATION}"'.encode())
        keepstep.execute(f'GRANT ALL ON ALL TABLES IN SCHEMA doorloop TO "{APPLICATION}"'.encode())
    with psycopg.connect(owners.application, autocommit=True, row_factory=dict_row) as application:
        with application.transaction():
            application.execute("SELECT set_config('keepstep.owner', 'ben', true)")
            seen = application.execute("SELECT owner_id, count(*) AS n FROM doorloop.owners GROUP BY 1").fetchall()
            changed = application.execute("UPDATE doorloop.owners SET _extra = '{}' WHERE owner_id = 'ana'").rowcount
            deleted = application.execute("DELETE FROM doorloop.owners WHERE owner_id = 'ana'").rowcount
        nothing = application.execute("SELECT * FROM doorloop.owners").fetchall()
        for statement in (
            "INSERT INTO doorloop.owners (owner_id, id, _hash, _run_id) VALUES ('ana', 'forged', '', 0)",
            "UPDATE doorloop.owners SET owner_id = 'ana'",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege), application.transaction():
                application.execute("SELECT set_config('keepstep.owner', 'ben', true)")
                application.execute(statement.encode())

    assert seen == [{"owner_id": "ben", "n": 9}]
    assert (changed, deleted, nothing) == (0, 0, [])
    assert len(await owners.rows("ana")) == 7


async def test_the_owner_of_a_run_is_gone_with_its_transaction(owners: Owners, upstream: Upstream) -> None:
    async with owners.database.keeping_sessions(1):
        await owners.run("ana", upstream)
        session = await owners.database.take_session(name="test")
        try:
            cursor = await session.execute("SELECT coalesce(current_setting('keepstep.owner', true), '') AS owner")
            assert await cursor.fetchall() == [{"owner": ""}]
        finally:
            await session.close()


async def test_every_owned_table_is_forced_and_keyed_by_owner(owners: Owners, upstream: Upstream) -> None:
    await owners.run("ana", upstream)
    async with owners.sees("ana") as connection:
        cursor = await connection.execute(
            "SELECT c.relname, c.relrowsecurity AND c.relforcerowsecurity AS forced, pg_get_constraintdef(k.oid) AS key"
            " FROM pg_class c JOIN pg_constraint k ON k.conrelid = c.oid AND k.contype = 'p'"
            " WHERE c.relnamespace = 'doorloop'::regnamespace"
        )
        found = await cursor.fetchall()

    assert {(row["relname"], row["forced"], row["key"]) for row in found} == {
        ("owners", True, "PRIMARY KEY (owner_id, id)"), ("tenants", True, "PRIMARY KEY (owner_id, id)"),
    }  # fmt: skip


async def test_the_probe_of_an_owner_uses_the_key(owners: Owners, upstream: Upstream) -> None:
    from keepstep.store.arrays import bytea_array, text_array

    await owners.run("ana", upstream)
    async with owners.sees("ana") as connection:
        await connection.execute("SET LOCAL enable_seqscan = off")
        destination = Destination("doorloop", UNITS, "ana")
        plan = await destination.probe_plan(connection, text_array(["a", "b"]), bytea_array([b"x", b"y"]))

    assert "owners_pkey" in plan, plan


async def test_what_belongs_to_owners_is_not_read_for_nobody(owners: Owners, upstream: Upstream) -> None:
    with pytest.raises(BadRequest, match="belongs to owners"):
        await owners.run(None, upstream)


async def test_direct_sql_of_the_application_sees_what_is_shared_and_its_owners_in_the_control_tables(
    owners: Owners, upstream: Upstream, other: Upstream
) -> None:
    for owner in ("ana", "ben"):
        await owners.run(owner, upstream if owner == "ana" else other)
    async with owners.database.connection() as connection:
        await hold_off(connection, "doorloop")
        await connection.execute(
            "INSERT INTO keepstep.dead_letters (connection_id, entity, kind, reason, payload, payload_hash, run_id)"
            " SELECT c.id, 'owners', 'value', 'x', convert_to(coalesce(c.owner_id, 'shared'), 'UTF8'), 'x', r.id"
            " FROM keepstep.connections c CROSS JOIN (SELECT min(id) AS id FROM keepstep.runs) r"
        )
    with psycopg.connect(owners.dsn, autocommit=True) as keepstep:
        keepstep.execute(f'GRANT USAGE ON SCHEMA keepstep TO "{APPLICATION}"'.encode())
        keepstep.execute(f'GRANT SELECT ON ALL TABLES IN SCHEMA keepstep TO "{APPLICATION}"'.encode())
        tables = keepstep.execute(
            "SELECT relname FROM pg_class WHERE relnamespace = 'keepstep'::regnamespace AND relrowsecurity ORDER BY 1"
        ).fetchall()
    with psycopg.connect(owners.application, autocommit=True) as application, application.transaction():
        application.execute("SELECT set_config('keepstep.owner', 'ben', true)")
        connections = application.execute("SELECT owner_id FROM keepstep.connections ORDER BY 1").fetchall()
        letters = application.execute("SELECT convert_from(payload, 'UTF8') FROM keepstep.dead_letters").fetchall()
        runs = application.execute("SELECT count(*) FROM keepstep.runs").fetchall()
        entities = application.execute("SELECT count(DISTINCT run_id) FROM keepstep.run_entities").fetchall()
        events = application.execute("SELECT count(DISTINCT run_id) FROM keepstep.events").fetchall()

    assert {"connections", "dead_letters", "runs", "run_entities", "events"} <= {name for (name,) in tables}
    assert connections == [("ben",), (None,)]
    assert sorted(letters) == [("ben",), ("shared",)]
    assert (runs, entities, events) == ([(1,)], [(1,)], [(1,)])
