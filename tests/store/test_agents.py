"""The whitelist of agents: what is written there by hand has its connections and schedules in the same transaction."""

from typing import Any

import pytest

from keepstep.integrations.erp.layout import LAYOUTS
from keepstep.store import agents, sync_types
from keepstep.store.db import Connection

PER_AGENT = sorted(name for name, layout in LAYOUTS.items() if layout.per_agent)
SHARED = sorted(name for name, layout in LAYOUTS.items() if not layout.per_agent)
CONFIGURED = ("base_url", "credentials")


async def sql(connection: Connection, text: str, **parameters: Any) -> list[dict[str, Any]]:
    cursor = await connection.execute(text.encode(), parameters)
    return await cursor.fetchall() if cursor.description else []


async def schedules(connection: Connection, *, due: bool = False) -> dict[str | None, list[str]]:
    """The types that are planned (or due) of each owner."""
    rows = await sql(
        connection,
        "SELECT c.owner_id, array_agg(s.sync_type ORDER BY s.sync_type) AS types FROM keepstep.schedules s"
        " JOIN keepstep.connections c ON c.id = s.connection_id"
        f" {'' if due else 'LEFT '}JOIN keepstep.schedule_times t ON t.schedule_id = s.id"
        " WHERE c.integration = 'erp' GROUP BY c.owner_id",
    )
    return {row["owner_id"]: row["types"] for row in rows}


async def add(connection: Connection, *codes: str) -> None:
    await sql(connection, "INSERT INTO keepstep.agents (code) SELECT unnest(%(codes)s::text[])", codes=list(codes))


async def test_an_agent_added_by_hand_is_planned_at_once(connection: Connection) -> None:
    await agents.give(connection, CONFIGURED)
    assert await schedules(connection, due=True) == {None: SHARED}
    await add(connection, "007", "008")

    assert await schedules(connection, due=True) == {None: SHARED, "007": PER_AGENT, "008": PER_AGENT}


async def test_the_types_of_agents_are_those_of_the_reports(connection: Connection) -> None:
    rows = await sql(connection, "SELECT sync_type, per_agent FROM keepstep.sync_settings")

    assert {row["sync_type"]: row["per_agent"] for row in rows} == {n: one.per_agent for n, one in LAYOUTS.items()}


async def test_nothing_is_due_while_the_erp_is_not_configured(connection: Connection) -> None:
    await add(connection, "007")
    assert await schedules(connection) == {None: SHARED, "007": PER_AGENT}

    for given in ((), ("credentials",), ("base_url",)):
        await agents.give(connection, given)
        assert await schedules(connection, due=True) == {}, given
    await agents.give(connection, CONFIGURED)
    assert await schedules(connection, due=True) == {None: SHARED, "007": PER_AGENT}
    await agents.give(connection, ())
    assert await schedules(connection, due=True) == {}


async def test_an_address_that_people_choose_counts_like_that_of_the_environment(connection: Connection) -> None:
    await add(connection, "007")
    await agents.give(connection, ["credentials"])
    await sql(
        connection,
        "INSERT INTO keepstep.settings (name, value, updated_by) VALUES ('ERP_BASE_URL', '\"http://erp\"', 'ana')",
    )
    assert await schedules(connection, due=True) == {None: SHARED, "007": PER_AGENT}
    await sql(connection, "DELETE FROM keepstep.settings WHERE name = 'ERP_BASE_URL'")

    assert await schedules(connection, due=True) == {}


async def test_what_makes_schedules_due_again_respects_it_too(connection: Connection) -> None:
    await add(connection, "007")
    await sync_types.change(connection, "orders", minutes=None, enabled=False, by="ana")
    await sync_types.change(connection, "orders", minutes=7, enabled=True, by="ana")

    assert await schedules(connection, due=True) == {}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE keepstep.agents SET enabled = false WHERE code = '007'",
        "DELETE FROM keepstep.agents WHERE code = '007'",
        "UPDATE keepstep.agents SET code = '009' WHERE code = '007'",
        "TRUNCATE keepstep.agents",
    ],
)
async def test_an_agent_taken_off_the_list_by_hand_has_no_schedules_any_more(
    connection: Connection, statement: str
) -> None:
    await agents.give(connection, CONFIGURED)
    await add(connection, "007", "008")
    await sql(connection, statement)

    left = await schedules(connection)
    assert "007" not in left
    assert left[None] == SHARED
    assert ("008" in left) is not statement.startswith("TRUNCATE")
    assert left.get("009", PER_AGENT) == PER_AGENT
    known = await sql(connection, "SELECT count(*) AS n FROM keepstep.connections WHERE owner_id = '007'")
    assert known[0]["n"] == 1, "its runs and rows refer to it"


async def test_an_agent_enabled_again_is_due_at_once_and_keeps_its_connection(connection: Connection) -> None:
    await agents.give(connection, CONFIGURED)
    await add(connection, "007")
    [before] = await sql(connection, "SELECT id FROM keepstep.connections WHERE owner_id = '007'")
    await sql(connection, "UPDATE keepstep.agents SET enabled = false")
    await sync_types.change(connection, "orders", minutes=33, enabled=None, by="ana")
    await sync_types.change(connection, "ddt", minutes=None, enabled=False, by="ana")
    assert "007" not in await schedules(connection)
    await sql(connection, "UPDATE keepstep.agents SET enabled = true")

    assert await schedules(connection, due=True) == {
        None: SHARED, "007": sorted(set(PER_AGENT) - {"ddt"})
    }  # fmt: skip
    [after] = await sql(connection, "SELECT id FROM keepstep.connections WHERE owner_id = '007'")
    assert after == before
    [orders] = await sql(connection, "SELECT interval_seconds FROM keepstep.schedules WHERE name = 'orders'")
    assert orders["interval_seconds"] == 33 * 60


async def test_what_was_rolled_back_has_planned_nothing(connection: Connection) -> None:
    await agents.give(connection, CONFIGURED)
    with pytest.raises(ZeroDivisionError):
        async with connection.transaction():
            await add(connection, "007")
            raise ZeroDivisionError

    assert await schedules(connection) == {None: SHARED}


@pytest.mark.parametrize("code", ["", " 7", "7 ", "x" * 65, "\t"])
async def test_a_code_that_nobody_could_type_again_is_refused(connection: Connection, code: str) -> None:
    with pytest.raises(Exception, match="agents_code_check"):
        await add(connection, code)


async def test_agents_of_one_type_are_spread_over_its_whole_interval(connection: Connection) -> None:
    await agents.give(connection, CONFIGURED)
    await add(connection, *(f"A{number:03}" for number in range(200)))
    rows = await sql(
        connection,
        "SELECT floor(extract(epoch FROM now() - s.anchor_at) / (s.interval_seconds / 10.0)) AS tenth, count(*) AS n"
        " FROM keepstep.schedules s JOIN keepstep.connections c ON c.id = s.connection_id"
        " WHERE c.owner_id IS NOT NULL AND s.sync_type = 'orders' GROUP BY 1 ORDER BY 1",
    )

    assert [int(row["tenth"]) for row in rows] == list(range(10))
    assert all(10 <= row["n"] <= 30 for row in rows)


async def dispatched(connection: Connection) -> list[dict[str, Any]]:
    """The runs that a dispatch starts now."""
    await sql(connection, "SELECT * FROM keepstep.dispatch_due()")
    return await sql(
        connection,
        "SELECT c.owner_id, r.id, r.entities, r.mode, r.trigger, j.queue_name, j.priority FROM keepstep.runs r"
        " JOIN keepstep.connections c ON c.id = r.connection_id"
        " JOIN keepstep_queue.procrastinate_jobs j ON j.queueing_lock = 'run/' || r.id"
        " WHERE r.state = 'queued' ORDER BY c.owner_id NULLS FIRST",
    )


async def end(connection: Connection, run: int) -> None:
    await sql(connection, "UPDATE keepstep.runs SET state = 'succeeded', finished_at = now(), started_at = now()"
                          " WHERE id = %(run)s", run=run)  # fmt: skip


async def test_a_types_run_reads_in_full_and_keeps_the_turn_of_scheduled_ones(connection: Connection) -> None:
    await agents.give(connection, CONFIGURED)
    await add(connection, "007")
    runs = await dispatched(connection)

    assert [run["owner_id"] for run in runs] == [None, "007"]
    assert {(run["mode"], run["trigger"], run["queue_name"], run["priority"]) for run in runs} == {
        ("backfill", "schedule", "scheduled", 50)
    }
    await sql(connection, "DELETE FROM keepstep_queue.procrastinate_jobs")
    await sql(connection, "SELECT keepstep.enqueue(array_agg(id)) FROM keepstep.runs")
    again = await sql(connection, "SELECT DISTINCT queue_name, priority FROM keepstep_queue.procrastinate_jobs")
    assert again == [{"queue_name": "scheduled", "priority": 50}]


async def test_the_types_of_an_agent_go_one_after_another_without_waiting_for_a_minute(connection: Connection) -> None:
    await agents.give(connection, CONFIGURED)
    await add(connection, "007")
    read = []
    for _ in PER_AGENT:
        [run] = [run for run in await dispatched(connection) if run["owner_id"] == "007"]
        read += run["entities"]
        await end(connection, run["id"])

    assert sorted(read) == PER_AGENT
    assert not [run for run in await dispatched(connection) if run["owner_id"] == "007"]


async def test_run_now_queues_one_run_for_each_agent_ahead_of_others(connection: Connection) -> None:
    await agents.give(connection, CONFIGURED)
    await add(connection, "007", "008", "009")
    await sql(connection, "UPDATE keepstep.agents SET enabled = false WHERE code = '009'")
    [seven] = await agents.run_now(connection, "ddt", agent="007", mode="backfill", by="ana")
    rows = await agents.run_now(connection, "customers", agent=None, mode="backfill", by="ana")

    assert [(row["agent"], row["run"] is None) for row in rows] == [("007", True), ("008", False)]
    live = await agents.busy(connection, [rows[0]["connection_id"]])
    assert live[rows[0]["connection_id"]]["run"] == seven["run"]
    due = await agents.make_due(connection, "customers", [rows[0]["connection_id"]])
    assert due == {rows[0]["connection_id"]}
    jobs = await sql(connection, "SELECT DISTINCT queue_name, priority FROM keepstep_queue.procrastinate_jobs")
    assert jobs == [{"queue_name": "interactive", "priority": 100}]
    assert await agents.run_now(connection, "customers", agent="009", mode="backfill", by="ana") == []
    shared = await agents.run_now(connection, "prices", agent=None, mode="backfill", by="ana")
    assert [row["agent"] for row in shared] == [None]


async def test_the_live_run_of_an_agent_taken_off_the_list_is_found(connection: Connection) -> None:
    await agents.give(connection, CONFIGURED)
    await add(connection, "007", "008")
    await dispatched(connection)
    assert await agents.unwanted(connection) == []
    await sql(connection, "DELETE FROM keepstep.agents WHERE code = '008'")

    assert await agents.unwanted(connection) == ["008"]
