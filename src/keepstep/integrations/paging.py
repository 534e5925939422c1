"""Reading a numbered listing: where it ends, whether it repeats, and several pages in flight given in order."""

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable, Coroutine, Hashable, Sequence
from typing import Any, TypeVar

T = TypeVar("T")


def last_page(total: int, size: int) -> int:
    """The number of the last page; an empty listing still has page 1."""
    return max(1, -(-total // size))


def effective_size(asked: int, got: int, total: int) -> int:
    """The page size upstream really uses, judged by page 1.

    A page 1 that holds another number of records than asked, while more exist, tells that upstream has its own idea.
    """
    return got if got and got != asked and got < total else max(asked, got)


def is_end(number: int, size: int, got: int, total: int) -> bool:
    """Whether page ``number`` with ``got`` records closes the listing.

    The total decides; where the records themselves prove it too low, a page that is not full does. An empty page always
    closes: the listing has shrunk.
    """
    if got == 0:
        return True
    if (number - 1) * size + got > total:
        return got < size
    return number * size >= total


def repeats(ids: Sequence[Hashable], other: Sequence[Hashable]) -> bool:
    """Whether a page holds the very same records as another one."""
    return len(ids) > 0 and ids == other


def end_after(number: int, size: int, got: int, total: int) -> int:
    """The last page as far as page ``number`` can tell."""
    return number if is_end(number, size, got, total) else max(number + 1, last_page(total, size))


async def in_order(
    fetch: Callable[[int], Coroutine[Any, Any, T]], first: int, end_seen: Callable[[T], int], ahead: int
) -> AsyncGenerator[T, None]:
    """Fetch the pages from ``first`` on, up to ``ahead`` of them on their way or waiting, and give them in order.

    ``end_seen`` is told each page before it is given and says which page is the last one now; nothing but ``first`` is
    fetched before it has spoken. The fetches that follow a page overlap whatever its receiver does with it. A failed
    page is raised in its turn, after the pages before it. Closing the iterator cancels what is on its way.
    """
    waiting: deque[asyncio.Task[T]] = deque([asyncio.create_task(fetch(first))])
    number = first + 1
    try:
        while waiting:
            page = await waiting[0]
            waiting.popleft()
            end = end_seen(page)
            while len(waiting) < ahead and number <= end:
                waiting.append(asyncio.create_task(fetch(number)))
                number += 1
            if waiting:
                # A new task first runs when this one waits; the receiver may compute for long before it does.
                await asyncio.sleep(0)
            yield page
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
