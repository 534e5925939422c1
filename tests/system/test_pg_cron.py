"""The real pg_cron, set up by the script of the docs, dispatches while no process of Keepstep is there."""

import asyncio
from contextlib import ExitStack

from keepstep.store.db import Database
from keepstep.store.notices import listening
from tests.support.programs import cluster
from tests.support.schedules import ROOT, Stage
from tests.system.command import keepstep

PATIENCE = 90.0
"""Seconds. Debian's pg_cron (1.4) fires when a minute begins."""
SCHEDULES = 1200
"""More than one call dispatches in one transaction."""
UNDER_WAY = ("starting", "connecting", "sending", "running")


async def test_the_script_of_the_docs_lets_pg_cron_dispatch_in_both_ways_in_which_it_can_run_a_job() -> None:
    common = {"shared_preload_libraries": "pg_cron", "cron.database_name": "keepstep"}
    ways: tuple[dict[str, str], ...] = ({"cron.host": "{sockets}"}, {"cron.use_background_workers": "on"})
    with ExitStack() as stack:
        servers = [stack.enter_context(cluster(**common, **way)) for way in ways]
        await asyncio.gather(*(dispatched(dsn) for dsn in servers))


async def dispatched(dsn: str) -> None:
    """The script, the wait for pg_cron, and what it must have done."""
    await asyncio.to_thread(set_up, dsn)
    database = Database(dsn)
    async with database.connection() as connection:
        stage = Stage(connection)
        jobs = await stage.all("SELECT jobname, command FROM cron.job ORDER BY jobid")
        assert [job["jobname"] for job in jobs] == ["keepstep", "keepstep-history"]
        async with listening(database, "procrastinate_queue_v1#scheduled", name="test") as notices:
            await stage.many(SCHEDULES)
            async with asyncio.timeout(PATIENCE):
                await anext(aiter(notices))
                while any(line["status"] in UNDER_WAY for line in await calls(stage)):  # noqa: ASYNC110
                    await asyncio.sleep(0.05)
        assert {(line["status"], line["return_message"]) for line in await calls(stage)} == {("succeeded", "CALL")}
        kinds = await stage.all("SELECT state, trigger, mode, count(*) AS n FROM keepstep.runs GROUP BY 1, 2, 3")
        assert kinds == [{"state": "queued", "trigger": "schedule", "mode": "delta", "n": SCHEDULES}]
        assert len(await stage.queue()) == SCHEDULES
        assert await stage.call("SELECT count(*) AS due FROM keepstep.schedule_times WHERE due_at <= now()") == {
            "due": 0
        }
        assert await stage.call("SELECT count(*) AS ticks FROM keepstep.ticks") == {"ticks": 1}
        await stage.call("SELECT cron.unschedule('keepstep'), cron.unschedule('keepstep-history')")
        assert await stage.all("SELECT FROM cron.job") == []


async def calls(stage: Stage) -> list[dict[str, str]]:
    """What pg_cron wrote down about its calls."""
    return await stage.all(
        "SELECT status, return_message FROM cron.job_run_details WHERE command = 'CALL keepstep.dispatch()'"
    )


def set_up(dsn: str) -> None:
    """As the docs say, and once more, which must change nothing."""
    with keepstep(DATABASE_URL=dsn) as command:
        assert command("migrate").code == 0
        for _ in range(2):
            done = command("db", "psql", "-v", "ON_ERROR_STOP=1", "-qf", str(ROOT / "docs/pg_cron.sql"))
            assert done.code == 0, done.err
