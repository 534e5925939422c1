"""Auto-sync said in SQL: what an application calls beside the API, and what the API then shows."""

import asyncio
from pathlib import Path
from typing import Any

import psycopg
import pytest
from tests.support.schedules import ROOT, Stage
from tests.support.site import served

from keepstep.service.auto_sync import KINDS
from keepstep.store.db import Database

WRAPPERS = (ROOT / "docs/pg_cron_auto_sync.sql").read_text(encoding="utf-8")


@pytest.fixture
def stage(connection: Any) -> Stage:
    return Stage(connection)


async def connect(stage: Stage, owner: str) -> None:
    await stage.call(
        "INSERT INTO keepstep.connections (integration, owner_id, own_credentials, credentials, credentials_set_at)"
        " VALUES ('mail', %s, true, '\\x00', now()) ON CONFLICT (integration, coalesce(owner_id, '')) DO UPDATE"
        " SET credentials = '\\x00', credentials_set_at = now()",
        owner,
    )


async def due(stage: Stage) -> list[str]:
    rows = await stage.all(
        "SELECT c.owner_id FROM keepstep.schedule_times t JOIN keepstep.schedules s ON s.id = t.schedule_id"
        " JOIN keepstep.connections c ON c.id = s.connection_id WHERE t.due_at <= now() ORDER BY 1"
    )
    return [row["owner_id"] for row in rows]


async def test_a_user_is_scheduled_and_due_at_once(stage: Stage) -> None:
    await connect(stage, "ana")
    first = await stage.call("SELECT keepstep.schedule_auto_sync('ana', 30) AS id")
    again = await stage.call("SELECT keepstep.schedule_auto_sync('ana', 30) AS id")
    jobs = await stage.all("SELECT user_id, interval_minutes FROM keepstep.auto_sync_jobs")

    assert first == again
    assert jobs == [{"user_id": "ana", "interval_minutes": 30}]
    assert await due(stage) == ["ana"]
    assert len((await stage.dispatch())[0]) == 1
    assert len(await stage.all("SELECT 1 FROM keepstep.admin_logs")) == 1


async def test_many_calls_at_once_make_one_schedule(database: Database) -> None:
    async def schedule() -> None:
        async with database.connection() as connection:
            await connection.execute("SELECT keepstep.schedule_auto_sync('ana', 30)")

    await asyncio.gather(*(schedule() for _ in range(8)))
    async with database.connection() as connection:
        rows = await Stage(connection).all("SELECT interval_seconds FROM keepstep.schedules")
    assert rows == [{"interval_seconds": 1800}]


async def test_who_has_not_connected_waits(stage: Stage) -> None:
    await stage.call("SELECT keepstep.schedule_auto_sync('ana', 30)")
    before = await due(stage)
    await connect(stage, "ana")

    assert (before, await due(stage)) == ([], ["ana"])


async def test_off_and_on_within_one_interval_makes_no_run(stage: Stage) -> None:
    await connect(stage, "ana")
    await stage.call("SELECT keepstep.schedule_auto_sync('ana', 30)")
    [run] = (await stage.dispatch())[0]
    while_it_runs, later = [], []
    for found in (while_it_runs, later):
        await stage.call("SELECT keepstep.unschedule_auto_sync('ana')")
        await stage.call("SELECT keepstep.schedule_auto_sync('ana', 30)")
        found += await due(stage)
        await stage.call("UPDATE keepstep.runs SET state = 'succeeded', finished_at = now() WHERE id = %s", run)
    await stage.call("UPDATE keepstep.owner_standing SET last_success_at = now() - interval '31 minutes'")
    await stage.call("SELECT keepstep.unschedule_auto_sync('ana')")
    await stage.call("SELECT keepstep.schedule_auto_sync('ana', 30)")

    assert (while_it_runs, later, await due(stage)) == ([], [], ["ana"])


async def test_an_interval_is_changed_and_a_schedule_turned_off(stage: Stage) -> None:
    await connect(stage, "ana")
    off = await stage.call("SELECT keepstep.update_auto_sync_schedule('ana', 60) AS done")
    await stage.call("SELECT keepstep.schedule_auto_sync('ana', 30)")
    changed = await stage.call("SELECT keepstep.update_auto_sync_schedule('ana', 60) AS done")
    jobs = await stage.all("SELECT interval_minutes FROM keepstep.auto_sync_jobs")
    gone = await stage.call("SELECT keepstep.unschedule_auto_sync('ana') AS done")
    again = await stage.call("SELECT keepstep.unschedule_auto_sync('ana') AS done")

    assert (off["done"], changed["done"], gone["done"], again["done"]) == (False, True, True, False)
    assert jobs == [{"interval_minutes": 60}]
    assert await stage.all("SELECT FROM keepstep.auto_sync_jobs") == []
    assert await due(stage) == []


@pytest.mark.parametrize(
    "call",
    ["schedule_auto_sync('ana', 4)", "schedule_auto_sync('ana', 1441)", "schedule_auto_sync('ana', NULL)",
     "schedule_auto_sync('', 30)", "schedule_auto_sync(NULL, 30)", "schedule_auto_sync('ana', 30, 'fax')",
     "schedule_auto_sync('ana', 59, 'google_contacts')"],
)  # fmt: skip
async def test_what_cannot_be_is_refused_with_a_hint(stage: Stage, call: str) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue) as refused:
        await stage.call(f"SELECT keepstep.{call}")
    assert refused.value.diag.message_hint


async def test_a_run_is_triggered_once_and_its_end_is_in_the_history(stage: Stage) -> None:
    await connect(stage, "ana")
    first = await stage.call("SELECT keepstep.trigger_auto_sync('ana') AS run")
    again = await stage.call("SELECT keepstep.trigger_auto_sync('ana') AS run")
    queue = await stage.queue()
    await stage.end_runs()
    history = await stage.all("SELECT user_id, integration, run_id, trigger, state FROM keepstep.auto_sync_history")

    assert first == again
    assert len(queue) == 1
    assert history == [
        {"user_id": "ana", "integration": "mail", "run_id": first["run"], "trigger": "manual", "state": "succeeded"}
    ]


async def test_nothing_is_triggered_that_can_only_fail(stage: Stage) -> None:
    await stage.call("SELECT keepstep.schedule_auto_sync('ana', 30)")
    for owner in ("ana", "nobody"):
        with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match="needs-connecting"):
            await stage.call("SELECT keepstep.trigger_auto_sync(%s)", owner)


async def test_the_api_shows_what_sql_has_set_and_the_other_way_round(dsn: str, tmp_path: Path) -> None:
    async with served(dsn, tmp_path) as site:
        owner = str(await site.user("ana", role="user"))
        await site.sql("SELECT keepstep.schedule_auto_sync(%s, 45)", owner)
        async with site.signed_in() as ana:
            shown = (await ana.get("/api/settings/load-auto-sync")).json()
            await ana.post("/api/settings/save-auto-sync", json={"interval_minutes": 90})
        jobs = await site.sql("SELECT interval_minutes FROM keepstep.auto_sync_jobs")

    assert shown["settings"] == {"enabled": True, "interval_minutes": 45}
    assert jobs == [{"interval_minutes": 90}]


async def test_sql_and_the_api_have_the_same_bounds(stage: Stage) -> None:
    for kind in KINDS:
        row = await stage.call("SELECT * FROM keepstep.auto_sync_bounds(%s)", kind.integration)
        assert row == {
            "least_minutes": kind.least * kind.unit // 60, "most_minutes": kind.most * kind.unit // 60,
            "entities": list(kind.entities),
        }  # fmt: skip


async def test_only_who_is_granted_calls_the_functions_of_the_docs_and_a_user_sees_their_own_runs(
    dsn: str, stage: Stage
) -> None:
    roles = ("anon", "authenticated", "service_role")
    for owner in ("ana", "ben"):
        await connect(stage, owner)
        await stage.call("SELECT keepstep.trigger_auto_sync(%s)", owner)
    with psycopg.connect(dsn, autocommit=True) as admin:
        for role in roles:
            admin.execute(f"CREATE ROLE {role} NOLOGIN".encode())
            admin.execute(f"GRANT USAGE ON SCHEMA public TO {role}".encode())
        try:
            for _ in range(2):
                admin.execute(WRAPPERS.encode())
            admin.execute("SET ROLE service_role")
            scheduled = admin.execute("SELECT public.schedule_auto_sync('ana', 30)").fetchone()
            admin.execute("SET ROLE authenticated")
            admin.execute("SELECT set_config('request.jwt.claims', '{\"sub\": \"ana\"}', false)")
            seen = admin.execute("SELECT user_id FROM public.auto_sync_history").fetchall()
            for role in ("authenticated", "anon"):
                admin.execute(f"SET ROLE {role}".encode())
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    admin.execute("SELECT public.trigger_auto_sync('ana')")
        finally:
            admin.execute("RESET ROLE")
            for role in roles:
                admin.execute(f"DROP OWNED BY {role} CASCADE".encode())
                admin.execute(f"DROP ROLE {role}".encode())

    assert scheduled is not None
    assert seen == [("ana",)]
