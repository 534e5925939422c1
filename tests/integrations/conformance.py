"""What every integration must do, whatever it reads from.

A test file subclasses ``Conformance`` and gives it an ``upstream`` fixture: the integration's emulator, behind the few
questions that the suite asks. The suite itself knows no vendor.
"""

import asyncio
import logging
from datetime import UTC, datetime, timedelta

import pytest

from keepstep.model.errors import UpstreamError
from keepstep.model.integration import Json, Mode, Page, Reading
from tests.integrations.upstream import (
    FAULTS,
    PASSING,
    Upstream,
    keys_of,
    opened,
    read_all,
    records_of,
    skipped_by,
    until,
    watermark,
)
from tests.support.clock import HurriedClock


class Conformance:
    """The suite."""

    async def test_a_backfill_gives_every_record_once_byte_for_byte(self, upstream: Upstream) -> None:
        integration = upstream.integration()
        for entity in integration.entities:
            pages = await read_all(integration, entity)

            assert sorted(records_of(pages)) == sorted(upstream.truth(entity.name)), entity.name
            assert [page.last for page in pages] == [False] * (len(pages) - 1) + [True]
            assert all(len(page.keys) == len(page.records) for page in pages)
            assert None not in keys_of(pages)
            assert len(set(keys_of(pages))) == len(keys_of(pages))
        await integration.aclose()

    async def test_pages_are_numbered_in_order_and_their_totals_add_up(self, upstream: Upstream) -> None:
        integration = upstream.integration()
        for entity in integration.entities:
            pages = await read_all(integration, entity)
            for part in range(upstream.parts(entity.name)):
                of_part = [page for page in pages if page.part == part]

                assert [page.number for page in of_part] == list(range(1, len(of_part) + 1))
                came = sum(len(page.records) for page in of_part) + len(skipped_by(of_part))
                assert {page.total for page in of_part} == {came}
        await integration.aclose()

    async def test_reading_goes_on_from_every_cursor_with_exactly_the_rest(self, upstream: Upstream) -> None:
        integration = upstream.integration()
        whole = await read_all(integration, upstream.entity(integration))
        assert len(whole) > 3
        for done, page in enumerate(whole, start=1):
            # A cursor outlives the process and the page size it was made with.
            later = upstream.integration(page_size=33)
            rest = await read_all(later, upstream.entity(later), Reading(Mode.BACKFILL, cursor=page.cursor))

            assert records_of(rest) == records_of(whole[done:])
            assert rest[-1].last
            assert {p.high <= watermark(whole) for p in rest if p.high} <= {True}
            await later.aclose()
        await integration.aclose()

    async def test_a_cursor_that_makes_no_sense_starts_over(self, upstream: Upstream) -> None:
        integration = upstream.integration()
        entity = upstream.entity(integration)
        nonsense: list[Json] = [{}, {"page": "two"}, {"page": -1, "part": 9}, {"unheard": "of"}]
        for cursor in nonsense:
            pages = await read_all(integration, entity, Reading(Mode.BACKFILL, cursor=cursor))

            assert sorted(records_of(pages)) == sorted(upstream.truth(entity.name))
        await integration.aclose()

    @pytest.mark.parametrize("ceiling", [1, 2, 5])
    async def test_no_more_requests_are_in_flight_than_allowed(self, upstream: Upstream, ceiling: int) -> None:
        integration = upstream.integration(page_size=10, max_concurrency=ceiling)
        upstream.forget()

        await asyncio.gather(*(read_all(integration, entity) for entity in integration.entities))

        assert upstream.most_in_flight() <= ceiling
        await integration.aclose()

    async def test_the_requests_that_pages_report_are_the_requests_that_were_sent(self, upstream: Upstream) -> None:
        integration = upstream.integration()
        upstream.forget()

        pages = await read_all(integration, upstream.entity(integration))

        assert sum(page.requests for page in pages) == upstream.requests()
        await integration.aclose()

    async def test_a_delta_with_nothing_new_costs_one_request_a_listing(self, upstream: Upstream) -> None:
        integration = upstream.integration()
        for entity in integration.entities:
            pages = await read_all(integration, entity)
            since = watermark(pages)
            learned = await read_all(integration, entity, Reading(Mode.DELTA, since=since))
            facts: Json = next((page.facts for page in reversed(learned) if page.facts is not None), {})
            upstream.forget()

            again = await read_all(integration, entity, Reading(Mode.DELTA, since=since, facts=facts))

            assert upstream.requests() == upstream.parts(entity.name), entity.name
            assert again[-1].last
            assert watermark(again) == since
        await integration.aclose()

    async def test_a_delta_brings_what_changed_and_moves_the_watermark(self, upstream: Upstream) -> None:
        integration = upstream.integration()
        for entity in integration.entities:
            since = watermark(await read_all(integration, entity))
            changed = upstream.change(entity.name)

            pages = await read_all(integration, entity, Reading(Mode.DELTA, since=since))

            assert changed <= set(keys_of(pages)), entity.name
            assert set(records_of(pages)) <= set(upstream.truth(entity.name))
            assert watermark(pages) >= since
        await integration.aclose()

    async def test_a_delta_without_a_watermark_reads_everything(self, upstream: Upstream) -> None:
        integration = upstream.integration()
        entity = upstream.entity(integration)

        pages = await read_all(integration, entity, Reading(Mode.DELTA))

        assert sorted(records_of(pages)) == sorted(upstream.truth(entity.name))
        await integration.aclose()

    async def test_the_watermark_is_never_later_than_upstreams_clock_at_the_beginning(self, upstream: Upstream) -> None:
        integration = upstream.integration()
        upstream.change(upstream.many)
        before = datetime.now(UTC)

        pages = await read_all(integration, upstream.entity(integration))

        assert watermark(pages) <= before + timedelta(seconds=1)
        await integration.aclose()

    @pytest.mark.parametrize("fault", FAULTS)
    async def test_each_fault_has_its_error_with_a_fix_and_without_a_secret(
        self, upstream: Upstream, fault: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.DEBUG)
        integration = upstream.integration(clock=HurriedClock())
        upstream.arm(fault)

        with pytest.raises(UpstreamError) as raised:
            await read_all(integration, upstream.entity(integration))

        error = raised.value
        assert type(error) is upstream.expected(fault)
        assert error.message.endswith(".")
        assert error.fix
        assert error.answer is not None
        assert len(error.answer.snippet.encode()) <= 2048
        seen = f"{error} {error!r} {error.fix} {error.answer} {integration!r} {caplog.text}"
        assert upstream.secret not in seen
        await integration.aclose()

    @pytest.mark.parametrize("fault", FAULTS)
    async def test_pages_before_a_fault_still_arrive(self, upstream: Upstream, fault: str) -> None:
        integration = upstream.integration(max_concurrency=1, clock=HurriedClock())
        upstream.arm(fault, after=2)
        pages: list[Page] = []

        with pytest.raises(upstream.expected(fault)):
            async with opened(integration, upstream.entity(integration)) as reading:
                async for page in reading:
                    pages.append(page)  # noqa: PERF401 - what came before the error is the point

        assert [page.number for page in pages] == [1, 2]
        assert not any(page.last for page in pages)
        await integration.aclose()

    @pytest.mark.parametrize("fault", PASSING)
    async def test_a_passing_fault_is_not_noticed_but_counted(self, upstream: Upstream, fault: str) -> None:
        integration = upstream.integration(clock=HurriedClock())
        entity = upstream.entity(integration)
        upstream.arm(fault, once=True, after=1)
        upstream.forget()

        pages = await read_all(integration, entity)

        assert sorted(records_of(pages)) == sorted(upstream.truth(entity.name))
        assert sum(page.requests for page in pages) == upstream.requests() > len(pages)
        await integration.aclose()

    async def test_a_cancelled_reading_leaves_nothing_behind(self, upstream: Upstream) -> None:
        before = asyncio.all_tasks()
        integration = upstream.integration()
        upstream.hang()
        reading = asyncio.create_task(read_all(integration, upstream.entity(integration)))
        await until(lambda: upstream.in_flight() > 0)

        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading

        await until(lambda: upstream.in_flight() == 0)
        await integration.aclose()
        await until(lambda: asyncio.all_tasks() <= before)

    async def test_a_reading_closed_in_the_middle_leaves_nothing_behind(self, upstream: Upstream) -> None:
        before = asyncio.all_tasks()
        integration = upstream.integration(page_size=10)
        async with opened(integration, upstream.entity(integration)) as pages:
            await anext(pages)
            upstream.hang()
            await until(lambda: upstream.in_flight() > 0)

        await until(lambda: upstream.in_flight() == 0)
        await integration.aclose()
        await until(lambda: asyncio.all_tasks() <= before)

    async def test_ping_says_that_all_is_well(self, upstream: Upstream) -> None:
        integration = upstream.integration()
        upstream.forget()

        ping = await integration.ping()

        assert (ping.ok, ping.state, ping.authenticated, ping.fix) == (True, "ok", True, "")
        assert ping.reason
        assert upstream.requests() == 1
        await integration.aclose()

    @pytest.mark.parametrize("fault", [*FAULTS, *PASSING])
    async def test_ping_and_check_never_raise(self, upstream: Upstream, fault: str) -> None:
        integration = upstream.integration(clock=HurriedClock())
        upstream.arm(fault)

        ping = await integration.ping()
        check = await integration.check(upstream.many)

        assert ping.state in {"ok", "degraded", "failing"}
        assert ping.ok == (ping.state != "failing")
        assert ping.reason
        assert check.message
        assert ping.fix or ping.state == "ok"
        assert upstream.secret not in f"{ping} {check}"
        await integration.aclose()

    async def test_a_refused_secret_is_said_and_not_shown(self, upstream: Upstream) -> None:
        wrong = "wrong-but-secret-0123456789-abcdef"
        integration = upstream.integration(secret=wrong)

        ping = await integration.ping()

        assert (ping.ok, ping.state, ping.authenticated) == (False, "failing", False)
        assert ping.fix
        assert wrong not in str(ping)
        await integration.aclose()

    async def test_check_names_the_keys_of_the_first_record(self, upstream: Upstream) -> None:
        integration = upstream.integration()

        check = await integration.check(upstream.many)

        assert check.ok
        assert check.count
        assert upstream.entity(integration).key in check.first_item_keys
        await integration.aclose()

    @pytest.mark.parametrize(
        "endpoint", ["", "../secrets", "a?b=c", "http://example.test/x", "leases\r\nX: y", "no such"]
    )
    async def test_check_asks_nothing_for_what_is_no_endpoint(self, upstream: Upstream, endpoint: str) -> None:
        integration = upstream.integration()
        upstream.forget()

        check = await integration.check(endpoint)

        assert not check.ok
        assert check.message
        assert upstream.requests() == 0
        await integration.aclose()

    async def test_a_closed_integration_may_be_closed_again(self, upstream: Upstream) -> None:
        integration = upstream.integration()
        await integration.ping()

        await integration.aclose()
        await integration.aclose()
