"""Where a numbered listing ends, whether it repeats, and pages in flight."""

import asyncio
from contextlib import aclosing

import pytest

from keepstep.integrations.paging import effective_size, end_after, in_order, is_end, last_page, repeats


@pytest.mark.parametrize(("total", "size", "last"), [(0, 100, 1), (1, 100, 1), (100, 100, 1), (101, 100, 2), (7, 2, 4)])
def test_the_last_page_follows_from_the_total(total: int, size: int, last: int) -> None:
    assert last_page(total, size) == last


@pytest.mark.parametrize(
    ("asked", "got", "total", "size"),
    [
        (100, 100, 500, 100),
        (100, 30, 30, 100),  # the only page
        (2000, 1000, 5000, 1000),  # clamped
        (100, 50, 51, 50),
        (100, 250, 250, 250),  # everything at once, whatever was asked
        (100, 250, 900, 250),
        (100, 0, 0, 100),
    ],
)
def test_page_1_tells_which_page_size_upstream_uses(asked: int, got: int, total: int, size: int) -> None:
    assert effective_size(asked, got, total) == size


@pytest.mark.parametrize(
    ("number", "size", "got", "total", "ends"),
    [
        (1, 100, 100, 250, False),
        (3, 100, 50, 250, True),
        (1, 100, 100, 100, True),
        (1, 100, 0, 0, True),
        (2, 100, 0, 250, True),  # shrunk
        (2, 100, 40, 250, False),  # short, but more is said to come
        (1, 100, 100, 0, False),  # the total is wrong: a full page may have a successor
        (2, 100, 20, 50, True),
    ],
)
def test_the_total_and_the_page_say_whether_it_ends(number: int, size: int, got: int, total: int, ends: bool) -> None:
    assert is_end(number, size, got, total) is ends
    assert (end_after(number, size, got, total) == number) is ends


def test_pages_repeat_when_they_hold_the_same_records_and_any_at_all() -> None:
    assert repeats(["a", "b"], ["a", "b"])
    assert not repeats(["a", "b"], ["b", "a"])
    assert not repeats([], [])


async def test_pages_come_in_order_whatever_the_order_of_the_answers() -> None:
    arrived = {number: asyncio.Event() for number in range(1, 7)}

    async def fetch(number: int) -> int:
        await arrived[number].wait()
        return number

    async def answer_backwards() -> None:
        arrived[1].set()
        for number in (4, 3, 2, 6, 5):
            await asyncio.sleep(0)
            arrived[number].set()

    answering = asyncio.create_task(answer_backwards())
    assert [page async for page in in_order(fetch, 1, lambda _page: 6, 3)] == [1, 2, 3, 4, 5, 6]
    await answering


async def test_the_next_pages_are_on_their_way_while_a_page_is_worked_on() -> None:
    asked: list[int] = []

    async def fetch(number: int) -> int:
        asked.append(number)
        return number

    async with aclosing(in_order(fetch, 1, lambda _page: 9, 3)) as pages:
        assert await anext(pages) == 1
        assert asked == [1, 2, 3, 4]
        assert await anext(pages) == 2
        assert asked == [1, 2, 3, 4, 5]


async def test_the_end_may_move_both_ways() -> None:
    ends = {1: 2, 2: 4, 3: 3}

    async def fetch(number: int) -> int:
        return number

    assert [page async for page in in_order(fetch, 1, lambda page: ends.get(page, 0), 1)] == [1, 2, 3]


async def test_a_failed_page_is_raised_in_its_turn() -> None:
    async def fetch(number: int) -> int:
        if number == 3:
            raise LookupError(number)
        return number

    async with aclosing(in_order(fetch, 1, lambda _page: 5, 4)) as pages:
        assert [await anext(pages), await anext(pages)] == [1, 2]
        with pytest.raises(LookupError):
            await anext(pages)


async def test_closing_cancels_what_is_on_its_way() -> None:
    cancelled: list[int] = []

    async def fetch(number: int) -> int:
        if number == 1:
            return number
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(number)
            raise
        return number

    async with aclosing(in_order(fetch, 1, lambda _page: 5, 2)) as pages:
        await anext(pages)

    assert cancelled == [2, 3]
