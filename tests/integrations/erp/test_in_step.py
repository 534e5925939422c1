"""Tables are in step with the reports, and a bad report touches nothing."""

import os
import random
from collections.abc import AsyncIterator
from typing import Any

import pytest
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from keepstep.engine.runner import Listener, Runner
from keepstep.integrations.erp.emulator.options import EmulatorOptions
from keepstep.integrations.erp.emulator.server import ErpEmulator
from keepstep.integrations.erp.layout import LAYOUTS
from keepstep.model.integration import Mode, snake_case
from keepstep.model.run import Event, Policy, RunRequest
from keepstep.reliability.tracing import recorded
from keepstep.service.documents import Documents
from keepstep.service.shapes import RunSummary
from keepstep.service.vault import Vault
from keepstep.service.views import Views
from keepstep.store.db import Database
from tests.integrations.erp.office import AGENT, ErpUpstream


def _deaf(_event: Event) -> None:
    pass


class Office:
    """An emulated ERP and a database that is kept in step with it."""

    def __init__(self, database: Database, upstream: ErpUpstream) -> None:
        self.database = database
        self.upstream = upstream
        self.emulator = upstream.emulator

    async def run(self, *reports: str, mode: Mode = Mode.BACKFILL, listener: Listener = _deaf) -> RunSummary:
        """One run to its end."""
        runner = Runner(self.database, self.upstream.erp(page_size=50), Policy(flush_rows=1), listener)
        owned = {LAYOUTS[report].per_agent for report in reports}
        assert len(owned) == 1, "a connection is an agent's or the shared one"
        return await Views(self.database).run(
            await runner.start(RunRequest(reports, mode), AGENT if owned == {True} else None)
        )

    async def rows(self, report: str, columns: str = "*") -> list[dict[str, Any]]:
        """The rows of a table, in the order of their keys."""
        async with self.database.connection() as connection:
            cursor = await connection.execute(f"SELECT {columns} FROM erp.{report} ORDER BY id".encode())
            return await cursor.fetchall()

    async def in_step(self, report: str) -> bool:
        """Whether the live rows are those of the report, cell by cell."""
        layout = LAYOUTS[report]
        wanted = {
            layout.key_of(row): {snake_case(name): value for name, value in row.items()}
            for row in self.emulator.rows(report, AGENT)
        }
        columns = [snake_case(column.field) for column in layout.columns]
        live = [row for row in await self.rows(report) if row["_deleted_at"] is None]
        return {row["id"]: {name: row[name] for name in columns} for row in live} == wanted


@pytest.fixture
async def office(database: Database) -> AsyncIterator[Office]:
    emulator = ErpEmulator(
        EmulatorOptions(customers=120, orders=30, ddt=20, invoices=25, products=40, prices=30, polls=0)
    )
    async with emulator.serve() as base_url:
        upstream = ErpUpstream(emulator, base_url)
        yield Office(database, upstream)
        await upstream.aclose()


UNTOUCHED = "id, ctid::text AS place, xmin::text AS written, _hash, _changed_at, _deleted_at"


async def test_every_report_comes_into_its_table(office: Office) -> None:
    for per_agent in (True, False):
        run = await office.run(*(report for report, layout in LAYOUTS.items() if layout.per_agent is per_agent))
        assert run.result == "succeeded"

    for report in LAYOUTS:
        assert await office.in_step(report), report
        document = office.emulator.document(report, AGENT)
        sources = {(row["source_page"], row["source_row"]) for row in await office.rows(report)}
        assert sources == set(document.places)
        assert {row["source_layout"] for row in await office.rows(report)} == {f"{report}/1"}


async def test_changes_arrive_and_what_is_gone_is_deleted(office: Office) -> None:
    await office.run("customers")
    changed = office.emulator.change("customers", agent=AGENT, create=3, update=5, delete=4)

    run = await office.run("customers")

    assert (run.inserted, run.updated, run.deleted) == (3, 5, 4)
    assert await office.in_step("customers")
    deleted = {row["id"] for row in await office.rows("customers") if row["_deleted_at"]}
    assert deleted == set(changed["deleted"])


async def test_the_same_report_again_is_no_work_and_deletes_nothing(office: Office) -> None:
    await office.run("customers")
    before = await office.rows("customers", UNTOUCHED)
    for pid in office.upstream.reader.pids:
        os.kill(pid, 9)  # whoever read now would fail

    run = await office.run("customers")

    assert (run.result, run.rows, run.deleted) == ("succeeded", 0, 0)
    assert "nothing is other" in (run.entities[0].completeness or "")
    assert await office.rows("customers", UNTOUCHED) == before


async def test_the_same_rows_printed_anew_change_no_row(office: Office) -> None:
    await office.run("customers")
    before = await office.rows("customers", "id, ctid::text, _changed_at, source_document")
    office.emulator.switch(printed="request")

    run = await office.run("customers")

    assert (run.unchanged, run.updated) == (120, 0)
    assert await office.rows("customers", "id, ctid::text, _changed_at, source_document") == before


class Interrupted(Exception):
    """What ends a run in the middle."""


def after_one_page(event: Event) -> None:
    if event.type == "page":
        raise Interrupted


@pytest.mark.parametrize("changed", [False, True], ids=["the same document", "another document"])
async def test_an_interrupted_reading_goes_on_or_begins_anew(office: Office, changed: bool) -> None:
    with pytest.raises(Interrupted):
        await office.run("customers", listener=after_one_page)
    assert len(await office.rows("customers")) == 50
    if changed:
        office.emulator.change("customers", agent=AGENT, update=3, delete=2, create=1)

    run = await office.run("customers")

    assert run.result == "succeeded"
    assert run.entities[0].resumed
    assert run.entities[0].completeness == f"complete: all {119 if changed else 120} records seen"
    assert changed or run.inserted == 70
    assert await office.in_step("customers")


async def test_rows_that_were_taken_from_the_table_come_back_though_the_report_is_the_same(office: Office) -> None:
    await office.run("customers")
    async with office.database.connection() as connection:
        await connection.execute("TRUNCATE erp.customers")

    await office.run("customers")

    assert await office.in_step("customers")


async def test_truncated_at_40_points_not_one_customer_is_deleted_or_altered(office: Office) -> None:
    await office.run("customers")
    before = await office.rows("customers", UNTOUCHED)
    office.emulator.change("customers", agent=AGENT, update=60, delete=50, create=5)
    size = len(office.emulator.document("customers", AGENT).pdf)
    chance = random.Random(7)

    for _ in range(40):
        office.emulator.fault("truncate", variant="body", step="download", keep=chance.randrange(2, size))
        run = await office.run("customers")

        error = run.entities[0].error or {}
        assert run.result == "failed"
        assert error["code"] in ("report-cut-off", "report-not-pdf")
        assert error["message"]
        assert error["fix"]
        assert (run.rows, run.deleted) == (0, 0)
    assert await office.rows("customers", UNTOUCHED) == before

    assert (await office.run("customers")).result == "succeeded"
    assert await office.in_step("customers")


@pytest.mark.parametrize(
    "fault", ["scan", "yesterday", "missing-column", "lost-last-page", "wrong-total", "other-agent"]
)
async def test_a_report_that_is_not_the_right_one_touches_nothing(office: Office, fault: str) -> None:
    await office.run("customers")
    office.emulator.change("customers", agent=AGENT, update=10)
    await office.run("customers")
    before = await office.rows("customers", UNTOUCHED)
    office.emulator.fault(fault)
    if fault != "yesterday":
        office.emulator.change("customers", agent=AGENT, delete=100)

    run = await office.run("customers")

    assert run.result == "failed"
    assert await office.rows("customers", UNTOUCHED) == before


async def test_a_report_with_suspiciously_fewer_rows_is_held(office: Office) -> None:
    await office.run("customers")
    office.emulator.fault("empty")

    run = await office.run("customers")

    assert (run.result, run.deleted) == ("held", 0)
    assert await office.in_step("customers")


async def test_a_new_column_lands_in_extra(office: Office) -> None:
    office.emulator.switch(new_column=True)

    await office.run("customers")

    assert await office.in_step("customers")
    assert {row["_extra"].get("Zona") for row in await office.rows("customers")} == {
        "Nord",
        "Centro",
        "Sud e isole",
        None,
    }


async def test_every_document_is_kept_with_its_reason(office: Office) -> None:
    documents = Documents(office.database, Vault(lambda: ["a phrase of many words"]))
    office.upstream.keep = lambda document: documents.keep("erp", document)
    await office.run("customers")
    proven = office.emulator.document("customers", AGENT).pdf
    office.emulator.fault("bad-cell")
    office.emulator.change("customers", agent=AGENT, update=1)

    await office.run("customers")

    refused, first = await documents.newest(integration="erp")
    assert (first["state"], first["error"], first["report"], first["agent"]) == ("proven", None, "customers", AGENT)
    assert await documents.open(first["hash"]) == proven
    assert refused["state"] == "refused"
    assert refused["error"]["code"] == "report-cell"
    assert (refused["page"], len(refused["box"])) == (2, 4)
    assert (await documents.open(refused["hash"])).startswith(b"%PDF-")
    assert {row["source_document"] for row in await office.rows("customers")} == {first["hash"]}


async def test_a_run_counts_the_requests_that_were_sent_and_a_report_is_one_page_of_its_trace(office: Office) -> None:
    office.emulator.fault("502", report="customers", step="request")
    office.emulator.fault("logged-out", report="orders", step="poll")
    exporter = InMemorySpanExporter()
    with recorded(SimpleSpanProcessor(exporter), "test"):
        run = await office.run("customers", "orders")
    assert run.result == "succeeded"
    assert run.requests == len(office.emulator.requests())
    pages = [one.attributes or {} for one in exporter.get_finished_spans() if one.name == "page"]
    assert [page["keepstep.report"] for page in pages] == ["customers", "orders"]
    assert sum(int(str(page["keepstep.requests"])) for page in pages) == run.requests


async def test_the_requests_for_a_refused_report_are_counted_too(office: Office) -> None:
    office.emulator.fault("truncate", variant="body", report="products", forever=True)
    run = await office.run("products")
    assert run.result == "failed"
    assert run.requests == len(office.emulator.requests())
