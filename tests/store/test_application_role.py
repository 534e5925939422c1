"""What an application's role sees of the control tables when it may read all: what is shared, and its owner's."""

from collections.abc import AsyncIterator

import psycopg
import pytest
from psycopg.rows import dict_row
from tests.support import crowd
from tests.support.sync import Sync

ROLE = "crm_reader"
NOT_BY_OWNER = {
    "admin_logs", "agents", "alert_messages", "api_tokens", "document_contents", "documents", "login_failures",
    "migrations", "sessions", "settings", "sync_settings", "ticks", "totals", "users",
}  # fmt: skip
"""Tables that know of no owner: an application has no business in them."""
Reader = psycopg.Connection[dict[str, object]]


@pytest.fixture
async def reader(sync: Sync) -> AsyncIterator[Reader]:
    """A session that has become the application's role, beside two owners and what is shared."""
    async with sync.database.connection() as connection:
        await crowd.gather(connection, 2)
        await connection.execute("INSERT INTO keepstep.connections (integration) VALUES ('doorloop')")
        for table in (
            "rate_samples (connection_id, waited_ms, cause)",
            "pings (connection_id, state, reason, elapsed_ms)",
        ):
            values = "0, 'rate'" if table.startswith("rate") else "'ok', '', 1"
            await connection.execute(
                f"INSERT INTO keepstep.{table} SELECT id, {values} FROM keepstep.connections".encode()
            )
        await connection.execute("INSERT INTO keepstep.struggling (connection_id) SELECT id FROM keepstep.connections")
    with psycopg.connect(sync.dsn, autocommit=True, row_factory=dict_row) as session:
        session.execute(f"CREATE ROLE {ROLE} NOLOGIN NOSUPERUSER NOBYPASSRLS".encode())
        session.execute(f"GRANT USAGE ON SCHEMA keepstep TO {ROLE}".encode())
        session.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA keepstep TO {ROLE}".encode())
        try:
            session.execute(f"SET ROLE {ROLE}".encode())
            yield session
        finally:
            session.execute("RESET ROLE")
            session.execute(f"DROP OWNED BY {ROLE} CASCADE".encode())
            session.execute(f"DROP ROLE {ROLE}".encode())


def seen(reader: Reader, relation: str, column: str) -> set[object]:
    return {row["value"] for row in reader.execute(f"SELECT {column} AS value FROM keepstep.{relation}".encode())}


def owners_of(reader: Reader) -> list[dict[str, object]]:
    """The connections of owners, as somebody sees them to whom the policies do not apply."""
    reader.execute("RESET ROLE")
    rows = reader.execute("SELECT id, owner_id FROM keepstep.connections ORDER BY owner_id NULLS FIRST").fetchall()
    reader.execute(f"SET ROLE {ROLE}".encode())
    return rows


async def test_every_table_that_knows_of_a_connection_shows_an_owner_their_own_and_what_is_shared(
    reader: Reader,
) -> None:
    shared, ben, ana = (row["id"] for row in owners_of(reader))
    [owner] = [str(row["owner_id"]) for row in owners_of(reader) if row["id"] == ana]
    reader.execute("SELECT set_config('keepstep.owner', %s, false)", [owner])
    tables = reader.execute(
        "SELECT table_name AS name FROM information_schema.columns"
        " WHERE table_schema = 'keepstep' AND column_name = 'connection_id'"
    ).fetchall()
    found = {str(row["name"]): seen(reader, str(row["name"]), "connection_id") for row in tables}

    assert len(found) >= 18
    assert [name for name, ids in found.items() if ben in ids] == []
    assert {"runs", "events", "schedules", "limits", "rate_samples", "pings", "struggling", "owner_standing"} <= {
        name for name, ids in found.items() if ana in ids
    }
    assert seen(reader, "connections", "id") == {shared, ana}
    assert len(seen(reader, "schedule_times", "schedule_id")) == 1


async def test_nobody_who_has_named_no_owner_sees_one_and_views_are_no_way_around(reader: Reader) -> None:
    named = ("auto_sync_jobs", "auto_sync_history")
    assert [seen(reader, view, "user_id") for view in named] == [set(), set()]
    assert seen(reader, "audit_events", "payload ->> 'runId'") == set()
    for row in owners_of(reader)[1:]:
        reader.execute("SELECT set_config('keepstep.owner', %s, false)", [row["owner_id"]])
        assert seen(reader, "auto_sync_history", "user_id") == {row["owner_id"]}
        assert seen(reader, "auto_sync_jobs", "user_id") <= {row["owner_id"]}
        assert len(seen(reader, "audit_events", "payload ->> 'runId'")) == 1


async def test_whom_a_token_names_is_the_owner_too_and_keepsteps_own_role_sees_all(reader: Reader) -> None:
    owner = owners_of(reader)[2]["owner_id"]
    reader.execute("SELECT set_config('request.jwt.claims', jsonb_build_object('sub', %s::text)::text, false)", [owner])
    assert seen(reader, "auto_sync_history", "user_id") == {owner}
    reader.execute("RESET ROLE")
    assert len(seen(reader, "auto_sync_history", "user_id")) == 2
    assert len(seen(reader, "auto_sync_jobs", "user_id")) == 1


async def test_a_new_table_says_whose_its_rows_are_or_is_named_here(reader: Reader) -> None:
    tables = reader.execute(
        "SELECT relname::text AS name, relrowsecurity AS kept FROM pg_class"
        " WHERE relnamespace = 'keepstep'::regnamespace AND relkind IN ('r', 'p')"
    ).fetchall()
    assert {row["name"] for row in tables if not row["kept"]} == NOT_BY_OWNER
