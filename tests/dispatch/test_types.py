"""A sync type whose interval changes at the moment its timer fires, in front of several dispatchers."""

import asyncio
import random
from typing import Any

from keepstep.store import agents, schedules, sync_types
from keepstep.store.db import Connection, Database

ROUNDS = 30
AGENTS = [f"A{number:02}" for number in range(4)]
RAN = "SELECT count(*) AS n, count(DISTINCT connection_id) AS places FROM keepstep.runs"


async def sql(connection: Connection, text: str, *parameters: Any) -> list[dict[str, Any]]:
    cursor = await connection.execute(text.encode(), parameters or None)
    return await cursor.fetchall() if cursor.description else []


async def test_changing_an_interval_while_its_timer_fires_never_runs_a_type_twice(database: Database) -> None:
    chance = random.Random(3)
    async with (
        database.connection() as edits,
        database.connection() as one,
        database.connection() as other,
    ):
        await agents.give(edits, ["base_url", "credentials"])
        await sql(edits, "INSERT INTO keepstep.agents (code) SELECT unnest(%s::text[])", AGENTS)
        await sql(edits, "UPDATE keepstep.sync_settings SET enabled = sync_type = 'orders'")
        for round_ in range(ROUNDS):
            await sql(edits, "DELETE FROM keepstep_queue.procrastinate_jobs; DELETE FROM keepstep.runs")
            await sql(edits, "UPDATE keepstep.schedule_times SET delta_at = now(), due_at = now()")

            async def dispatch(connection: Connection) -> None:
                await asyncio.sleep(chance.random() / 500)
                for _ in range(2):
                    await schedules.dispatch_due(connection)
                    # As if each had ended at once: only its times keep a type from running again.
                    await sql(connection, "UPDATE keepstep.runs SET state = 'succeeded', finished_at = now()"
                                          " WHERE finished_at IS NULL")  # fmt: skip

            async def change(minutes: int) -> None:
                await asyncio.sleep(chance.random() / 500)
                async with edits.transaction():
                    await sync_types.change(edits, "orders", minutes=minutes, enabled=None, by="ana")

            await asyncio.gather(dispatch(one), dispatch(other), change(5 + round_ % 20))
            for connection in (one, other):  # what the change kept from being due is due no more, or is dispatched now
                await dispatch(connection)

            [ran] = await sql(edits, RAN)
            assert (ran["n"], ran["places"]) == (len(AGENTS), len(AGENTS)), round_
            [times] = await sql(
                edits, "SELECT count(*) AS n FROM keepstep.schedule_times"
                " WHERE due_at > now() AND due_at <= now() + make_interval(mins => %s)", 5 + round_ % 20,
            )  # fmt: skip
            assert times["n"] == len(AGENTS)
