"""Reading what changed at DoorLoop."""

from contextlib import aclosing
from datetime import UTC, datetime

import pytest

from keepstep.integrations.doorloop.order import OVERLAP, RECHECK_SORT
from keepstep.integrations.doorloop.reading import CURSOR_LOST, NOT_HONOURED, UNDECIDED
from keepstep.model.errors import NotData
from keepstep.model.integration import Mode, Page, Reading
from tests.integrations.doorloop.account import LEASES, UNITS, DoorLoopUpstream, delta, entity
from tests.integrations.upstream import keys_of, read_all, records_of
from tests.support.clock import HurriedClock


async def test_it_stops_at_the_watermark_less_the_overlap(upstream: DoorLoopUpstream) -> None:
    times = sorted(datetime.fromisoformat(lease["updatedAt"]) for lease in upstream.emulator.records("leases"))
    since = times[-50] + OVERLAP

    pages = await read_all(upstream.doorloop(), LEASES, delta(since))

    assert [len(page.records) for page in pages] == [20, 20, 20]
    assert set(upstream.asked("sort_by")) == {"updatedAt"}
    assert set(upstream.asked("sort_descending")) == {"true"}


async def test_the_first_page_proves_the_sort_without_another_request(upstream: DoorLoopUpstream) -> None:
    pages = await read_all(upstream.doorloop(), LEASES, delta())

    assert upstream.requests() == 1
    assert pages[0].facts is not None
    assert pages[0].facts["sort_honoured"] is True


async def test_where_the_page_proves_nothing_a_probe_in_the_other_direction_does(upstream: DoorLoopUpstream) -> None:
    pages = await read_all(upstream.doorloop(page_size=3), LEASES, delta())

    assert upstream.asked("sort_descending") == ["true", "false"]
    assert [page.requests for page in pages] == [2]
    assert pages[0].facts is not None
    assert pages[0].facts["sort_honoured"] is True


async def test_nothing_is_probed_where_one_page_holds_everything(upstream: DoorLoopUpstream) -> None:
    pages = await read_all(upstream.doorloop(), entity("owners"), delta())

    assert upstream.requests() == 1
    assert [(page.last, page.facts) for page in pages] == [(True, None)]


@pytest.mark.parametrize("sort", ["ignored", "ascending"])
async def test_without_a_sort_it_reads_everything_and_says_so(upstream: DoorLoopUpstream, sort: str) -> None:
    upstream.emulator.switch(sort=sort)

    pages = await read_all(upstream.doorloop(), LEASES, delta())

    assert set(records_of(pages)) == set(upstream.truth("leases"))
    assert [page.notes for page in pages if page.notes] == [(NOT_HONOURED,)]
    assert pages[0].facts is not None
    assert pages[0].facts["sort_honoured"] is False
    assert pages[-1].last
    assert sum(page.last for page in pages) == 1


async def test_once_known_not_to_work_the_sort_is_not_tried_again_for_a_week(upstream: DoorLoopUpstream) -> None:
    upstream.emulator.switch(sort="ignored")
    facts = (await read_all(upstream.doorloop(), LEASES, delta()))[0].facts
    assert facts is not None
    upstream.forget()

    pages = await read_all(upstream.doorloop(), LEASES, delta(facts=facts))

    assert set(upstream.asked("sort_by")) == {"createdAt"}
    assert pages[0].notes == (NOT_HONOURED,)
    upstream.emulator.switch(sort="honoured")
    upstream.forget()
    later = HurriedClock()
    later.slept = RECHECK_SORT.total_seconds() + 60

    healed = await read_all(upstream.doorloop(clock=later), LEASES, delta(facts=facts))

    assert upstream.requests() == 1
    assert healed[0].facts is not None
    assert healed[0].facts["sort_honoured"] is True


async def test_a_sort_that_stops_working_is_noticed_by_its_first_page_out_of_order(upstream: DoorLoopUpstream) -> None:
    facts = (await read_all(upstream.doorloop(), LEASES, delta()))[0].facts
    assert facts is not None
    upstream.emulator.switch(sort="ignored")

    pages = await read_all(upstream.doorloop(), LEASES, delta(facts=facts))

    assert set(records_of(pages)) == set(upstream.truth("leases"))
    assert pages[0].facts is not None
    assert pages[0].facts["sort_honoured"] is False


async def test_both_listings_of_units_are_read_again_when_the_second_is_out_of_order(
    upstream: DoorLoopUpstream,
) -> None:
    upstream.emulator.switch(filter_active_false="all")
    pages: list[Page] = []
    async with aclosing(upstream.doorloop().read(UNITS, delta())) as reading:
        async for page in reading:
            if not pages:
                upstream.emulator.switch(sort="ignored")
            pages.append(page)

    assert set(records_of(pages)) == set(upstream.truth("units"))
    assert pages[1].facts is not None
    assert [page.part for page in pages[:2]] == [0, 0]


async def test_equal_times_prove_nothing_so_everything_is_read(upstream: DoorLoopUpstream) -> None:
    same = {lease["id"]: {"updatedAt": "2026-01-01T00:00:00.000Z"} for lease in upstream.emulator.records("leases")}
    upstream.emulator.change("leases", patch=same)

    pages = await read_all(upstream.doorloop(), LEASES, delta())

    assert set(records_of(pages)) == set(upstream.truth("leases"))
    assert pages[0].notes == (UNDECIDED,)
    assert {page.facts for page in pages} == {None}


async def test_a_fallback_that_was_interrupted_goes_on_as_a_full_read(upstream: DoorLoopUpstream) -> None:
    upstream.emulator.switch(sort="ignored")
    pages = await read_all(upstream.doorloop(), LEASES, delta())

    for done in range(1, len(pages)):
        rest = await read_all(upstream.doorloop(), LEASES, delta(cursor=pages[done - 1].cursor))
        assert records_of(rest) == records_of(pages[done:])


async def test_changes_go_on_from_every_cursor(upstream: DoorLoopUpstream) -> None:
    since = datetime(2020, 1, 1, tzinfo=UTC)
    pages = await read_all(upstream.doorloop(), LEASES, delta(since))
    assert len(pages) == 5

    for done in range(1, len(pages) + 1):
        rest = await read_all(upstream.doorloop(), LEASES, delta(since, cursor=pages[done - 1].cursor))
        assert records_of(rest) == records_of(pages[done:])


async def test_a_position_among_changes_is_none_in_a_backfill(upstream: DoorLoopUpstream) -> None:
    page = (await read_all(upstream.doorloop(), LEASES, delta(datetime(2020, 1, 1, tzinfo=UTC))))[1]

    pages = await read_all(upstream.doorloop(), LEASES, Reading(Mode.BACKFILL, cursor=page.cursor))

    assert sorted(records_of(pages)) == sorted(upstream.truth("leases"))
    assert pages[0].notes == (CURSOR_LOST,)


async def test_no_change_is_missed_when_records_disappear_between_pages(upstream: DoorLoopUpstream) -> None:
    doorloop = upstream.doorloop()
    order = sorted(upstream.emulator.records("leases"), key=lambda lease: lease["updatedAt"], reverse=True)
    pages: list[Page] = []
    async with aclosing(doorloop.read(LEASES, delta(datetime(2020, 1, 1, tzinfo=UTC)))) as reading:
        async for page in reading:
            if len(pages) == 1:
                upstream.emulator.change("leases", delete=[lease["id"] for lease in order[:25]])
            pages.append(page)

    assert set(upstream.truth("leases")) <= set(records_of(pages))
    assert pages[-1].last


async def test_records_that_never_stop_disappearing_do_not_keep_it_from_ending(upstream: DoorLoopUpstream) -> None:
    doorloop = upstream.doorloop(page_size=5)
    count = 0
    async with aclosing(doorloop.read(LEASES, delta(datetime(2020, 1, 1, tzinfo=UTC)))) as reading:
        async for page in reading:
            count += 1
            if not page.last:
                upstream.emulator.change("leases", delete=1)

    assert count < 60


async def test_changes_that_push_records_onto_the_next_page_are_no_repetition(upstream: DoorLoopUpstream) -> None:
    doorloop = upstream.doorloop(page_size=10)
    oldest = sorted(upstream.emulator.records("leases"), key=lambda lease: lease["updatedAt"])[:10]
    pages: list[Page] = []
    async with aclosing(doorloop.read(LEASES, delta(datetime(2020, 1, 1, tzinfo=UTC)))) as reading:
        async for page in reading:
            if not pages:
                upstream.emulator.change("leases", touch=[lease["id"] for lease in oldest])
            pages.append(page)

    assert keys_of(pages[:1]) == keys_of(pages[1:2])
    assert pages[-1].last


async def test_a_page_number_that_is_not_heard_is_noticed_in_changes_too(upstream: DoorLoopUpstream) -> None:
    upstream.emulator.fault("repeat", count=None)

    with pytest.raises(NotData, match="Page 2 of /leases repeats page 1"):
        await read_all(upstream.doorloop(), LEASES, delta(datetime(2020, 1, 1, tzinfo=UTC)))


async def test_records_without_a_time_do_not_disturb_the_order(upstream: DoorLoopUpstream) -> None:
    bare = [lease["id"] for lease in upstream.emulator.records("leases")[:3]]
    upstream.emulator.change("leases", unset={bare[0]: ["updatedAt"]}, silent=True)
    upstream.emulator.change("leases", patch={bare[1]: {"updatedAt": "soon"}, bare[2]: {"updatedAt": 12}})
    changed = upstream.change("leases")

    pages = await read_all(upstream.doorloop(), LEASES, delta())

    assert changed <= set(keys_of(pages))
    assert pages[0].facts is not None
    assert pages[0].facts["sort_honoured"] is True
