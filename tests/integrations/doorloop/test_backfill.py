"""Reading everything from DoorLoop."""

from contextlib import aclosing
from datetime import UTC, datetime, timedelta

import pytest

from keepstep.model.errors import NotData
from keepstep.model.integration import Mode, Page, Reading
from tests.integrations.doorloop.account import LEASES, UNITS, DoorLoopUpstream, delta, entity
from tests.integrations.upstream import keys_of, read_all, records_of, watermark


async def test_it_is_asked_in_the_order_of_creation(upstream: DoorLoopUpstream) -> None:
    await read_all(upstream.doorloop(), LEASES)

    assert upstream.asked("page_number") == ["1", "2", "3", "4", "5"]
    assert set(upstream.asked("sort_by")) == {"createdAt"}
    assert set(upstream.asked("sort_descending")) == {"false"}
    assert set(upstream.asked("page_size")) == {"20"}


async def test_inactive_units_are_a_second_listing(upstream: DoorLoopUpstream) -> None:
    pages = await read_all(upstream.doorloop(page_size=100), UNITS)

    assert [(page.part, page.number, page.last) for page in pages] == [(0, 1, False), (1, 1, True)]
    assert upstream.asked("filter_active") == ["true", "false"]


async def test_a_second_listing_that_holds_everything_does_no_harm(upstream: DoorLoopUpstream) -> None:
    upstream.emulator.switch(filter_active_false="all")

    pages = await read_all(upstream.doorloop(), UNITS)

    assert set(records_of(pages)) == set(upstream.truth("units"))


async def test_an_empty_entity_is_one_empty_last_page(upstream: DoorLoopUpstream) -> None:
    upstream.emulator.reset(leases=0)

    pages = await read_all(upstream.doorloop(), LEASES)

    assert [(len(page.records), page.total, page.last) for page in pages] == [(0, 0, True)]


async def test_a_smaller_page_than_asked_becomes_the_page_size(upstream: DoorLoopUpstream) -> None:
    upstream.emulator.switch(max_page_size=15)

    pages = await read_all(upstream.doorloop(page_size=40), LEASES)

    assert sorted(records_of(pages)) == sorted(upstream.truth("leases"))
    assert len(pages) == 7
    assert upstream.asked("page_size") == ["40"] + ["15"] * 6


async def test_a_resumed_reading_keeps_the_page_size_and_the_clock_it_began_with(upstream: DoorLoopUpstream) -> None:
    first = (await read_all(upstream.doorloop(page_size=30), LEASES))[0]
    upstream.forget()

    await read_all(upstream.doorloop(page_size=50), LEASES, Reading(Mode.BACKFILL, cursor=first.cursor))
    cursors = [p.cursor for p in await read_all(upstream.doorloop(), LEASES, Reading(Mode.BACKFILL, first.cursor))]

    assert set(upstream.asked("page_size")) == {"30"}
    assert {cursor["began"] for cursor in cursors} == {first.cursor["began"]}


async def test_records_that_appear_while_reading_are_read_too(upstream: DoorLoopUpstream) -> None:
    doorloop = upstream.doorloop(max_concurrency=1)
    pages: list[Page] = []
    async with aclosing(doorloop.read(LEASES, Reading(Mode.BACKFILL))) as reading:
        async for page in reading:
            if not pages:
                upstream.emulator.change("leases", create=30)
            pages.append(page)

    assert sorted(records_of(pages)) == sorted(upstream.truth("leases"))
    assert pages[-1].total == 125


async def test_a_listing_that_shrinks_ends_where_it_ends_now(upstream: DoorLoopUpstream) -> None:
    doorloop = upstream.doorloop(max_concurrency=1)
    newest = sorted(upstream.emulator.records("leases"), key=lambda lease: lease["createdAt"])[-50:]
    pages: list[Page] = []
    async with aclosing(doorloop.read(LEASES, Reading(Mode.BACKFILL))) as reading:
        async for page in reading:
            if not pages:
                upstream.emulator.change("leases", delete=[lease["id"] for lease in newest])
            pages.append(page)

    assert pages[-1].last
    assert pages[-1].total == 45
    assert set(upstream.truth("leases")) <= set(records_of(pages))


async def test_a_page_that_only_moved_is_not_taken_for_a_repetition(upstream: DoorLoopUpstream) -> None:
    # Pages of one record: a new first record moves the one just read to the next page.
    upstream.emulator.reset(leases=3)
    doorloop = upstream.doorloop(page_size=1, max_concurrency=1)
    upstream.emulator.switch(sort="ignored")

    assert len(await read_all(doorloop, LEASES)) == 3


async def test_a_listing_that_says_more_than_its_first_page_holds_is_not_believed(upstream: DoorLoopUpstream) -> None:
    for record in upstream.emulator.records("leases")[:1]:
        upstream.emulator.inject("leases", b"", replace=record["id"])
    with pytest.raises(NotData, match="not whole JSON"):
        await read_all(upstream.doorloop(), LEASES)


async def test_bad_records_do_not_stop_the_reading_and_keep_their_key_where_they_have_one(
    upstream: DoorLoopUpstream,
) -> None:
    kinds = ("lone-surrogate", "deep", "deep-mapping", "nul-in-text", "number-out-of-range", "impossible-timestamp",
             "list-record", "text-record", "number-record", "null-record", "missing-id", "number-for-id", "null-id",
             "empty-id", "nul-in-id", "mapping-for-id")  # fmt: skip
    nameless = len(kinds) - 6
    upstream.emulator.poison("leases", *kinds)
    upstream.emulator.inject("leases", b'{"id":"66d7aa0000000000000003ff","n":NaN,"s":"\x01"}')

    pages = await read_all(upstream.doorloop(), LEASES)

    assert sorted(records_of(pages)) == sorted(upstream.truth("leases"))
    keys = keys_of(pages)
    assert keys.count(None) == nameless
    assert "66d7aa0000000000000003ff" in keys
    assert len({key for key in keys if key}) == 95 + 6 + 1


async def test_bytes_that_are_no_text_stay_within_their_record(upstream: DoorLoopUpstream) -> None:
    upstream.emulator.fault("bad-utf8", count=1)

    pages = await read_all(upstream.doorloop(), LEASES)

    assert len(set(keys_of(pages))) == 95


async def test_a_time_in_the_far_future_does_not_move_the_watermark(upstream: DoorLoopUpstream) -> None:
    newest = max(lease["updatedAt"] for lease in upstream.emulator.records("leases"))
    victim = upstream.emulator.records("leases")[0]["id"]
    upstream.emulator.change("leases", patch={victim: {"updatedAt": "9999-12-31T23:59:59.999Z"}})

    pages = await read_all(upstream.doorloop(), LEASES)
    changes = await read_all(upstream.doorloop(), LEASES, delta(watermark(pages)))

    assert watermark(pages) == datetime.fromisoformat(newest)
    assert watermark(changes) == watermark(pages)


async def test_the_watermark_follows_upstreams_clock_not_ours(upstream: DoorLoopUpstream) -> None:
    upstream.emulator.set_clock(offset_s=-7200)
    upstream.emulator.change("leases", update=1)
    upstream.emulator.set_clock(offset_s=-7201.5)

    high = watermark(await read_all(upstream.doorloop(), LEASES))

    assert high.microsecond == 0
    assert timedelta(hours=1, minutes=59) < datetime.now(UTC) - high < timedelta(hours=2, minutes=1)


async def test_an_order_that_is_refused_is_done_without(upstream: DoorLoopUpstream) -> None:
    upstream.emulator.switch(unknown_sort_field="reject")
    doorloop = upstream.doorloop()
    sessions = entity("owners")

    pages = await read_all(doorloop, sessions)

    assert len(keys_of(pages)) == 7
