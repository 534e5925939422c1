"""What the status is made of, and that asking for it stays cheap."""

import pytest
from psycopg.types.json import Jsonb

from keepstep.store import limits, status
from keepstep.store.db import Connection
from keepstep.store.queries import queries
from keepstep.store.runs import connection_id

WORST = {"connection": 1, "entities": ["owners"], "limit": 20, "integration": None, "entity": None}
PLANS = {
    ("status", "entities"): ["runs_failed"],
    ("status", "ended_runs"): ["runs_newest"],
    ("status", "active_run"): ["runs_one_live", "events_of_run"],
}


async def test_a_connection_that_was_never_used_stands_still_and_is_not_made(connection: Connection) -> None:
    found = await status.standing(connection, "doorloop", ["owners"])

    assert (found.connection_id, found.active, found.lock, found.ended) == (None, None, None, [])
    assert [entity["entity"] for entity in found.entities] == ["owners"]
    assert found.counts == {"letters": 0, "held": 0, "requests": 0, "failed_requests": 0}
    assert await (await connection.execute("SELECT FROM keepstep.connections")).fetchall() == []


async def test_requests_of_the_last_hour_are_counted_by_the_minute(connection: Connection) -> None:
    await connection_id(connection, "doorloop")
    await limits.count_requests(connection, "doorloop", {"200": 7, "304": 1, "429": 2, "503": 1, "none": 1})
    await limits.count_requests(connection, "doorloop", {"200": 3})
    await connection.execute(
        "INSERT INTO keepstep.request_minutes (connection_id, minute, sent, failed)"
        " SELECT id, now() - interval '61 minutes', 99, 99 FROM keepstep.connections"
    )
    found = await status.standing(connection, "doorloop", [])

    assert (found.counts["requests"], found.counts["failed_requests"]) == (15, 4)


async def test_a_run_that_was_stopped_says_nothing_about_health(connection: Connection) -> None:
    owner = await connection_id(connection, "doorloop")
    for state in ("succeeded", "stopped", "failed", "crashed"):
        await connection.execute(
            "INSERT INTO keepstep.runs (connection_id, mode, dry_run, trigger, state, started_at, finished_at, error)"
            " VALUES (%s, 'delta', false, 'manual', %s, now(), now(), %s)", [owner, state, Jsonb({"code": "x"})],
        )  # fmt: skip
    found = await status.standing(connection, "doorloop", [])

    assert [run["state"] for run in found.ended] == ["crashed", "failed", "succeeded"]


@pytest.mark.parametrize(("file", "name"), PLANS)
async def test_what_is_asked_often_is_found_by_an_index(connection: Connection, file: str, name: str) -> None:
    await connection.execute("SET enable_seqscan = off")
    cursor = await connection.execute(b"EXPLAIN " + queries(file)[name], WORST)
    plan = "\n".join([row["QUERY PLAN"] for row in await cursor.fetchall()])

    assert [index for index in PLANS[file, name] if index not in plan] == [], plan
