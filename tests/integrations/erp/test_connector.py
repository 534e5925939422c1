"""The ERP connector passes the suite of all integrations as far as a report can, and gives nothing of a bad one."""

import asyncio
import os
from typing import Any

import pytest

from keepstep.integrations.erp.connector import Erp
from keepstep.integrations.erp.emulator.press import FLAWS
from keepstep.integrations.erp.layout import LAYOUTS
from keepstep.model.errors import AuthFailed, NotData, Permanent, Transient, UpstreamError
from keepstep.model.integration import Entity, Json, Mode, Page, Reading
from tests.integrations.conformance import Conformance
from tests.integrations.erp.office import AGENT, CUSTOMERS, ErpUpstream, entity
from tests.integrations.upstream import FAULTS, Upstream, keys_of, opened, read_all, records_of, until
from tests.support.clock import HurriedClock


class TestErp(Conformance):
    """Where a listing and a report differ, what holds for a report."""

    async def test_a_delta_with_nothing_new_costs_one_request_a_listing(self, upstream: Upstream) -> None:
        """A report has to be made to be known: it costs its requests, and no reading where it is the same one."""
        assert isinstance(upstream, ErpUpstream)
        integration = upstream.erp()
        for report in integration.entities:
            facts = facts_of(await read_all(integration, report, Reading(Mode.DELTA)))
            upstream.forget()

            again = await read_all(integration, report, Reading(Mode.DELTA, facts=facts, settled=True))

            assert [(page.unchanged, page.last, len(page.records)) for page in again] == [(True, True, 0)]
            assert [request.step for request in upstream.emulator.requests()] == ["request", "poll", "poll", "download"]

    @pytest.mark.parametrize("fault", FAULTS)
    async def test_pages_before_a_fault_still_arrive(self, upstream: Upstream, fault: str) -> None:
        """A report is proven before its first page is given: nothing arrives of one that is not."""
        integration = upstream.integration(max_concurrency=1, clock=HurriedClock())
        upstream.arm(fault)
        pages: list[Page] = []

        with pytest.raises(FAULTS[fault]):
            async with opened(integration, upstream.entity(integration)) as reading:
                async for page in reading:
                    pages.append(page)  # noqa: PERF401 - what came before the error is the point

        assert pages == []

    async def test_a_reading_closed_in_the_middle_leaves_nothing_behind(self, upstream: Upstream) -> None:
        """After the first page nothing is on its way any more."""
        integration = upstream.integration(page_size=10)
        async with opened(integration, upstream.entity(integration)) as pages:
            await anext(pages)

            assert upstream.in_flight() == 0


def facts_of(pages: list[Page]) -> Json:
    assert [page.facts for page in pages[:-1]] == [None] * (len(pages) - 1)
    assert pages[-1].facts is not None
    return pages[-1].facts


async def refusal_of(erp: Erp, of: Entity = CUSTOMERS, reading: Reading | None = None) -> UpstreamError:
    """The error that a reading ends with, after no page at all."""
    pages = []
    with pytest.raises(UpstreamError) as raised:
        async with opened(erp, of, reading) as given:
            async for page in given:
                pages.append(page)  # noqa: PERF401
    assert pages == []
    return raised.value


@pytest.mark.parametrize(
    ("fault", "code", "says"),
    [
        ({"kind": "html", "step": "download"}, "report-html", "DOCTYPE"),
        ({"kind": "truncate", "variant": "body", "keep": 0.5}, "report-cut-off", "whole: the end of the file"),
        ({"kind": "truncate", "variant": "body", "keep": 0.99}, "report-cut-off", "the end of the file"),
        ({"kind": "scan"}, "report-scan", "page 1 has no text"),
        ({"kind": "failed"}, "report-failed", "Archivio bloccato"),
        ({"kind": "stuck"}, "report-late", "600 s"),
        ({"kind": "forgotten", "count": None}, "report-forgotten", "asked for 3 times"),
        ({"kind": "410", "step": "download", "count": None}, "report-forgotten", "forgot the report customers"),
        ({"kind": "404", "step": "login"}, "endpoint-unknown", "/login"),
        ({"kind": "404", "step": "request"}, "endpoint-unknown", "/reports"),
        ({"kind": "405", "step": "poll"}, "endpoint-unknown", "/reports/"),
        ({"kind": "other-agent"}, "report-other", "agent 999 and not 007"),
        ({"kind": "missing-column"}, "report-columns", "Ragione sociale"),
        ({"kind": "lost-last-page"}, "report-pages", "page 1 of"),
        ({"kind": "422", "step": "request"}, "report-refused", "non disponibile"),
        ({"kind": "403", "step": "download"}, "report-refused", "not allowed"),
        ({"kind": "logged-out", "count": None}, "session-lost", "login again"),
    ],
)
async def test_each_trouble_has_its_name_and_its_fix(
    upstream: ErpUpstream, fault: dict[str, Any], code: str, says: str
) -> None:
    upstream.emulator.fault(**fault)

    error = await refusal_of(upstream.erp(clock=HurriedClock()))

    assert error.code == code
    assert says in error.message
    assert error.fix
    assert error.answer is not None


async def test_a_file_that_lacks_one_byte_only_is_refused_by_the_size_that_the_erp_told(upstream: ErpUpstream) -> None:
    size = len(upstream.emulator.document("customers", AGENT).pdf)
    upstream.emulator.fault("truncate", variant="body", keep=size - 1)

    error = await refusal_of(upstream.erp())

    assert f"{size - 1} of {size} bytes came" in error.message
    assert [kept.error for kept in upstream.kept] == [error]


@pytest.mark.parametrize("flaw", FLAWS)
async def test_a_refused_report_is_kept_with_its_reason_and_gives_no_page(upstream: ErpUpstream, flaw: str) -> None:
    upstream.emulator.fault(flaw)

    error = await refusal_of(upstream.erp())

    assert type(error) is NotData
    (kept,) = upstream.kept
    assert (kept.error, kept.report, kept.agent) == (error, "customers", AGENT)
    assert kept.body.startswith(b"%PDF-")
    assert kept.hash in error.answer.snippet if error.answer else False


async def test_a_proven_report_is_kept_too(upstream: ErpUpstream) -> None:
    await read_all(upstream.erp(), CUSTOMERS)

    (kept,) = upstream.kept
    assert kept.error is None
    assert kept.body == upstream.emulator.document("customers", AGENT).pdf


@pytest.mark.parametrize("refusal", ["page", "status"])
async def test_a_refused_login_is_named_and_the_password_is_not_shown(upstream: ErpUpstream, refusal: str) -> None:
    upstream.emulator.switch(login_refusal=refusal)

    error = await refusal_of(upstream.erp(password="wrong-but-secret-0123456789"))

    assert (type(error), error.code) == (AuthFailed, "login-refused")
    assert "wrong-but-secret" not in f"{error} {error.fix} {error.answer}"


async def test_without_credentials_nothing_is_sent(upstream: ErpUpstream) -> None:
    erp = upstream.erp(password="")

    assert (await erp.ping()).code == "key-missing"
    assert (await refusal_of(erp)).code == "key-missing"
    assert upstream.requests() == 0


async def test_a_session_that_ends_on_the_way_is_begun_anew(upstream: ErpUpstream) -> None:
    upstream.emulator.switch(session_uses=2)

    pages = await read_all(upstream.erp(), CUSTOMERS)

    assert records_of(pages) == upstream.truth("customers")
    assert sum(page.requests for page in pages) == upstream.requests()
    assert [request.step for request in upstream.emulator.requests()].count("login") == 2


@pytest.mark.parametrize("step", ["poll", "download"])
@pytest.mark.parametrize("session_uses", [0, 3])
async def test_a_report_that_the_erp_has_forgotten_is_asked_for_anew(
    upstream: ErpUpstream, step: str, session_uses: int
) -> None:
    upstream.emulator.switch(session_uses=session_uses)
    upstream.emulator.fault("forgotten", step=step, count=2)

    pages = await read_all(upstream.erp(clock=HurriedClock()), CUSTOMERS)

    assert records_of(pages) == upstream.truth("customers")
    assert [request.step for request in upstream.emulator.requests()].count("request") > 1
    assert sum(page.requests for page in pages) == upstream.requests()


async def test_a_check_asks_once_for_a_report_that_is_forgotten(upstream: ErpUpstream) -> None:
    upstream.emulator.fault("forgotten")

    check = await upstream.erp().check("customers")

    assert not check.ok
    assert "asked for once" in check.message
    assert "ERP_BASE_URL" not in f"{check.message} {check.fix}"


async def test_several_reports_share_one_login(upstream: ErpUpstream) -> None:
    erp = upstream.erp()
    for name in LAYOUTS:
        await read_all(erp, entity(name))

    assert [request.step for request in upstream.emulator.requests()].count("login") == 1


async def test_a_report_of_an_agent_needs_one_and_a_shared_one_does_not(upstream: ErpUpstream) -> None:
    erp = upstream.erp(agent="")

    assert "has none" in (await refusal_of(erp)).message
    assert len(keys_of(await read_all(erp, entity("products")))) == 14


async def test_an_unknown_agent_is_refused_in_the_erps_own_words(upstream: ErpUpstream) -> None:
    error = await refusal_of(upstream.erp(agent="404"))

    assert (type(error), error.code) == (Permanent, "report-refused")
    assert "there is no agent '404'" in error.message


async def test_an_empty_report_is_proven_to_be_empty(upstream: ErpUpstream) -> None:
    upstream.emulator.fault("empty")

    (page,) = await read_all(upstream.erp(), CUSTOMERS)

    assert (page.records, page.total, page.last) == ([], 0, True)


async def test_a_new_column_comes_along_and_is_told(upstream: ErpUpstream) -> None:
    upstream.emulator.fault("new-column")

    pages = await read_all(upstream.erp(), CUSTOMERS)

    assert b'"Zona":"Sud e isole"' in b"".join(records_of(pages))
    assert "Zona" in " ".join(pages[0].notes)


async def test_a_moved_column_is_followed(upstream: ErpUpstream) -> None:
    rows = len(upstream.truth("customers"))
    upstream.emulator.fault("moved-column")

    pages = await read_all(upstream.erp(), CUSTOMERS)

    assert len(records_of(pages)) == rows
    strip = [record.split(b',"sourceDocument"')[0] for record in records_of(pages)]
    assert strip == [record.split(b',"sourceDocument"')[0] for record in upstream.truth("customers")]


async def test_yesterdays_report_is_refused_after_todays(upstream: ErpUpstream) -> None:
    erp = upstream.erp()
    upstream.emulator.change("customers", agent=AGENT, delete=60)
    facts = facts_of(await read_all(erp, CUSTOMERS))
    upstream.emulator.fault("yesterday")

    error = await refusal_of(erp, reading=Reading(Mode.BACKFILL, facts=facts, settled=True))

    assert (type(error), error.code) == (NotData, "report-old")
    assert "01/10/2026" in error.message


@pytest.mark.parametrize("mode", Mode)
async def test_the_same_document_is_not_read_again(upstream: ErpUpstream, mode: Mode) -> None:
    erp = upstream.erp()
    facts = facts_of(await read_all(erp, CUSTOMERS, Reading(mode)))
    for pid in upstream.reader.pids:
        os.kill(pid, 9)  # whoever read now would not come back

    (page,) = await read_all(erp, CUSTOMERS, Reading(mode, facts=facts, settled=True))

    assert (page.unchanged, page.last, page.records) == (True, True, ())
    assert [(kept.report, kept.agent, kept.error) for kept in upstream.kept] == [("customers", AGENT, None)] * 2


async def test_a_document_that_only_a_delta_has_seen_is_read_in_full_all_the_same(upstream: ErpUpstream) -> None:
    erp = upstream.erp()
    facts = facts_of(await read_all(erp, CUSTOMERS, Reading(Mode.DELTA)))

    pages = await read_all(erp, CUSTOMERS, Reading(Mode.BACKFILL, facts=facts, settled=True))

    assert records_of(pages) == upstream.truth("customers")


async def test_the_same_document_is_read_again_where_its_rows_are_not_there(upstream: ErpUpstream) -> None:
    erp = upstream.erp()
    facts = facts_of(await read_all(erp, CUSTOMERS))

    pages = await read_all(erp, CUSTOMERS, Reading(Mode.BACKFILL, facts=facts, settled=False))

    assert records_of(pages) == upstream.truth("customers")


async def test_a_cursor_of_another_document_begins_anew(upstream: ErpUpstream) -> None:
    erp = upstream.erp()
    first = (await read_all(erp, CUSTOMERS))[0]
    upstream.change("customers")

    pages = await read_all(erp, CUSTOMERS, Reading(Mode.BACKFILL, cursor=first.cursor))

    assert pages[0].anew
    assert records_of(pages) == upstream.truth("customers")


async def test_a_cancelled_reading_kills_the_process_that_reads(upstream: ErpUpstream) -> None:
    upstream.emulator.reset(products=5000)
    reading = asyncio.create_task(read_all(upstream.erp(), entity("products")))
    await until(lambda: len(upstream.reader.pids) > 0)
    (pid,) = upstream.reader.pids

    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading

    assert upstream.reader.pids == frozenset()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_failed_report_is_tried_again_by_the_next_run_only(upstream: ErpUpstream) -> None:
    upstream.emulator.fault("failed")
    erp = upstream.erp(clock=HurriedClock())

    assert type(await refusal_of(erp)) is Transient
    assert records_of(await read_all(erp, CUSTOMERS)) == upstream.truth("customers")


async def test_check_says_what_a_report_holds(upstream: ErpUpstream) -> None:
    check = await upstream.erp().check("orders")

    assert (check.ok, check.count) == (True, 12)
    assert "its sums hold" in check.message
    assert check.first_item_keys[:3] == ("id", "number", "date")
