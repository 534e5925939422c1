"""What the pages of the ERP read: each report of each agent by its newest runs, and refused documents."""

import json
from typing import Any

from tests.support.reports import agents, document, ended, held, live

from keepstep.model.errors import NotData, Transient
from keepstep.service.documents import Documents
from keepstep.service.vault import Vault
from keepstep.store import report_board as store
from keepstep.store.db import Connection, Database
from keepstep.store.queries import queries

AWAY = Transient.named("upstream-failed", facts={"title": "The ERP", "status": 503})
WRONG = NotData.named("report-total", facts={"path": "customers", "detail": "1 is not 2"})


async def cell(connection: Connection, agent: str | None, report: str) -> dict[str, Any]:
    rows = await store.cells(connection, "erp")
    (found,) = [row for row in rows if (row["agent"], row["type"]) == (agent, report)]
    return found


async def test_there_is_a_cell_for_each_report_of_each_agent_and_for_the_shared_ones(connection: Connection) -> None:
    await agents(connection, ["007", "012"], rounds=2)

    rows = await store.cells(connection, "erp")

    assert len(rows) == 2 * 4 + 2
    assert {row["last_state"] for row in rows} == {"succeeded"}
    assert {row["failures"] for row in rows} == {0}
    assert all(row["last_success"] and row["due_at"] and row["last_took"] for row in rows)


async def test_failures_are_counted_since_the_last_success_and_only_of_their_own_report(connection: Connection) -> None:
    await agents(connection, ["007", "012"])
    await ended(connection, "007", "customers", AWAY, times=2)
    await ended(connection, "007", "customers")
    last = await ended(connection, "007", "customers", WRONG, times=3)

    found = await cell(connection, "007", "customers")

    assert (found["failures"], found["last_run"], found["last_state"]) == (3, last, "failed")
    assert found["error"]["code"] == "report-total"
    assert (await cell(connection, "007", "orders"))["failures"] == 0
    assert (await cell(connection, "012", "customers"))["failures"] == 0


async def test_a_run_that_goes_on_is_told_beside_the_one_that_ended_last(connection: Connection) -> None:
    await agents(connection, ["007"])
    before = await cell(connection, "007", "ddt")
    run = await live(connection, "007", "ddt")

    found = await cell(connection, "007", "ddt")

    assert (found["live_run"], found["live_state"]) == (run, "queued")
    assert (found["last_run"], found["last_success"]) == (before["last_run"], before["last_success"])
    assert (await cell(connection, "007", "orders"))["live_run"] is None


async def test_a_held_report_is_told_and_is_a_success(connection: Connection) -> None:
    await agents(connection, ["007"])
    run = await held(connection, "007", "invoices", live_rows=200, delete_rows=130)

    found = await cell(connection, "007", "invoices")

    assert (found["held_run"], found["last_state"], found["failures"]) == (run, "held", 0)
    (row,) = await store.held(connection, "erp")
    assert (row["agent"], row["type"], row["live_rows"], row["delete_rows"]) == ("007", "invoices", 200, 130)


async def test_who_is_off_the_list_has_no_cells(connection: Connection) -> None:
    await agents(connection, ["007", "012"])
    await connection.execute("DELETE FROM keepstep.agents WHERE code = '012'")
    await connection.execute("UPDATE keepstep.agents SET enabled = false WHERE code = '007'")

    assert {row["agent"] for row in await store.cells(connection, "erp")} == {None}
    assert [(row["code"], row["enabled"]) for row in await store.agents(connection, "erp")] == [("007", False)]


async def test_a_type_is_summed_up_in_all_and_by_rounds(connection: Connection) -> None:
    await agents(connection, ["007", "012"], rounds=4)
    await ended(connection, "007", "orders", AWAY)

    rows = [row for row in await store.types(connection, "erp", rounds=12) if row["type"] == "orders"]

    (whole,) = [row for row in rows if row["is_sum"]]
    assert (whole["good"], whole["failed"]) == (8, 1)
    assert whole["took"][0] <= whole["took"][1]
    rounds = {row["round"]: row for row in rows if not row["is_sum"]}
    assert sum(row["good"] for row in rounds.values()) == 8
    assert rounds[0]["failed"] == 1


async def test_the_history_of_a_report_is_its_own_newest_first(connection: Connection) -> None:
    await agents(connection, ["007"], rounds=3)
    last = await ended(connection, "007", "orders", AWAY)

    rows = await store.history(connection, "erp", "orders", "007", limit=3)

    assert [row["state"] for row in rows] == ["failed", "succeeded", "succeeded"]
    assert rows[0]["id"] == last
    assert len(await store.history(connection, "erp", "prices", "", limit=30)) == 3


async def test_of_refused_documents_the_newest_of_each_report_is_told_first_what_is_still_bad(
    connection: Connection, database: Database
) -> None:
    documents = Documents(database, Vault(lambda: ["a phrase"]))
    for flaw in ("bad-cell", "wrong-total"):
        last = await documents.keep("erp", document("customers", "007", flaw=flaw))
    await documents.keep("erp", document("orders", "007", flaw="lost-page"))
    await documents.keep("erp", document("orders", "007"))

    rows = await store.refused(connection, "erp")

    assert [(row["report"], row["kept"], row["proven_at"] is None) for row in rows] == [
        ("customers", 2, True), ("orders", 1, False),
    ]  # fmt: skip
    assert rows[0]["id"] == last
    assert [row["state"] for row in await store.documents(connection, "erp", "orders", "007", limit=5)] == [
        "proven", "refused",
    ]  # fmt: skip


async def test_the_newest_runs_are_found_by_index_however_many_there_are(connection: Connection) -> None:
    await agents(connection, [f"{n:03d}" for n in range(40)], rounds=40)
    await connection.execute("ANALYZE keepstep.runs, keepstep.connections")
    given = {"integration": "erp", "newest": store.NEWEST, "rounds": 12}
    for name in ("cells", "types"):
        cursor = await connection.execute(b"EXPLAIN (FORMAT JSON) " + queries("report_board")[name], given)
        row = await cursor.fetchone()
        assert row is not None
        plan = json.dumps(row["QUERY PLAN"])
        assert "runs_newest" in plan, name
