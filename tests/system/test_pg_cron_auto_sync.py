"""With the real pg_cron, and no process of Keepstep there, users who are scheduled by SQL have their runs queued."""

import asyncio

from keepstep.store.db import Database
from keepstep.store.notices import listening
from tests.support.programs import cluster
from tests.support.schedules import ROOT, Stage
from tests.system.command import keepstep

PATIENCE = 90.0
"""Seconds. Debian's pg_cron (1.4) fires when a minute begins."""
SCRIPTS = ("pg_cron.sql", "pg_cron_auto_sync.sql")


async def test_users_who_are_scheduled_by_sql_are_dispatched_by_pg_cron() -> None:
    settings = {"shared_preload_libraries": "pg_cron", "cron.database_name": "keepstep", "cron.host": "{sockets}"}
    with cluster(**settings) as dsn:
        await asyncio.to_thread(set_up, dsn)
        await scheduled_users_are_dispatched(dsn)


async def scheduled_users_are_dispatched(dsn: str) -> None:
    """Two users are scheduled, one of whom has not connected; then pg_cron's minute comes."""
    database = Database(dsn)
    async with database.connection() as connection:
        stage = Stage(connection)
        await stage.call(
            "INSERT INTO keepstep.connections (integration, owner_id, own_credentials, credentials, credentials_set_at)"
            " VALUES ('mail', 'ana', true, '\\x00', now())"
        )
        async with listening(database, "procrastinate_queue_v1#scheduled", name="test") as notices:
            for user in ("ana", "ben"):
                await stage.call("SELECT public.schedule_auto_sync(%s, 30)", user)
            async with asyncio.timeout(PATIENCE):
                await anext(aiter(notices))
        history = await stage.all("SELECT user_id, trigger, state FROM keepstep.auto_sync_history")
        jobs = await stage.all("SELECT user_id FROM keepstep.auto_sync_jobs ORDER BY 1")
        await stage.call("SELECT public.unschedule_auto_sync('ana')")
        times = await stage.all("SELECT FROM keepstep.schedule_times")

    assert history == [{"user_id": "ana", "trigger": "schedule", "state": "queued"}]
    assert [job["user_id"] for job in jobs] == ["ana", "ben"]
    assert times == []


def set_up(dsn: str) -> None:
    """As the docs say, and once more, which must change nothing."""
    with keepstep(DATABASE_URL=dsn) as command:
        assert command("migrate").code == 0
        for script in (*SCRIPTS, *SCRIPTS):
            done = command("db", "psql", "-v", "ON_ERROR_STOP=1", "-qf", str(ROOT / "docs" / script))
            assert done.code == 0, done.err
