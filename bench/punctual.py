"""How punctually the schedules of a hundred thousand owners are queued, as they come due and all at once."""

import asyncio
import json
import time

from bench.dispatch import QUEUE, lateness, rate
from bench.results import Result, single, spread
from bench.stage import Server
from keepstep.dispatch.dispatcher import Dispatcher
from keepstep.dispatch.queue import Queue
from keepstep.store import queue
from keepstep.store.db import Connection, Database
from keepstep.store.notices import listening

MOST_QUEUED_MS, LEAST_RATE = 250.0, 10_000
DISPATCH = "SELECT started FROM keepstep.dispatch_due(%s)"


async def clear(connection: Connection) -> None:
    """Nothing is queued, and each schedule is due at the next slot of its grid."""
    await connection.execute("TRUNCATE keepstep_queue.procrastinate_jobs CASCADE")
    await connection.execute("DELETE FROM keepstep.runs WHERE finished_at IS NULL")
    await connection.execute(
        "UPDATE keepstep.schedule_times t SET due_at = n.at, delta_at = n.at FROM (SELECT s.id, keepstep.next_slot("
        "now() + interval '2 seconds', s.anchor_at, s.interval_seconds) AS at FROM keepstep.schedules s) n"
        " WHERE t.schedule_id = n.id"
    )


async def as_they_come(place: Server, database: Database, seconds: int) -> list[Result]:
    """From due to queued, the notification of a worker included, at the rate of every day."""
    async with database.connection() as connection:
        await clear(connection)
    place.settle(place.database)
    heard: list[tuple[int, float]] = []
    cpu, until = place.cpu_seconds(), time.monotonic() + seconds
    async with (
        listening(database, QUEUE, name="bench") as notices,
        database.pooled(),
        Dispatcher(database).running(),
    ):
        while time.monotonic() < until:
            try:
                async with asyncio.timeout(1):
                    notice = json.loads(await anext(notices))
            except TimeoutError:
                continue
            heard.append((notice["job_id"], time.time()))
    async with database.connection() as connection:
        late = await lateness(connection, heard)
    share = (place.cpu_seconds() - cpu) / seconds * 100
    return [
        spread("at the rate of every day: from due to queued", late, "ms", MOST_QUEUED_MS),
        single("… schedules that came due", len(late) / seconds, "a second"),
        single("… CPU of the server", share, "% of a core"),
    ]


async def after_an_outage(place: Server, database: Database) -> list[Result]:
    """All of them are due at once."""
    async with database.connection() as connection:
        await clear(connection)
        await connection.execute(
            "UPDATE keepstep.schedule_times SET due_at = n.at, delta_at = n.at FROM (SELECT schedule_id AS id,"
            " now() - random() * interval '1 hour' AS at FROM keepstep.schedule_times) n WHERE schedule_id = n.id"
        )
    place.settle(place.database)
    began = time.time()
    per_second, cost = await rate(place, database, DISPATCH, 1, 1000)
    async with database.connection() as connection:
        cursor = await connection.execute(
            "SELECT extract(epoch FROM created_at)::float8 AS at FROM keepstep.runs WHERE state = 'queued'"
        )
        waited = [row["at"] - began for row in await cursor.fetchall()]
    results = [
        spread("all due at once: until it is queued", waited, "s"),
        single("… schedules dispatched", per_second, "a second", per_second >= LEAST_RATE),
        single("… CPU of the server for each", cost, "us"),
    ]
    async with database.pooled(), database.connection() as connection:
        for what, ask in (
            (f"a sweep while {len(waited):,} runs are queued", Queue(database).sweep),
            ("numbers of the queue meanwhile", lambda: queue.stats(connection, stale=30.0)),
        ):
            times = []
            for _ in range(10):
                asked = time.perf_counter()
                await ask()
                times.append((time.perf_counter() - asked) * 1000)
            results.append(spread(what, times, "ms"))
        await clear(connection)
    return results
