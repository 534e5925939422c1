"""One reading of one entity: everything, or what changed.

::

    backfill ──────────────────────────────► everything: createdAt ascending, pages in flight, to the end
    delta, no watermark ───────────────────►
    delta, sort known not to work ─────────►   ▲
    delta ──► changes: updatedAt descending,   │
              page by page, to the watermark ──┘ where a page is out of order, or a probe fails

A position (the cursor) names the listing, the page, the page size it was counted in, and upstream's clock at the
beginning, so that a resumed reading goes on under the conditions it began with. Where everything is read it also marks
the last page read of each part: a resumed reading first looks whether these pages still hold the same records. If not,
the listing has moved in the meantime, records may have slipped past unread, and it is read from the start.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from msgspec import Raw

from keepstep.integrations.doorloop.answers import FACTS
from keepstep.integrations.doorloop.order import (
    OVERLAP,
    Heads,
    aware,
    created_times,
    falls,
    judge_probe,
    newest,
    proves_sort,
    sort_fact,
    sort_known,
)
from keepstep.integrations.doorloop.position import CREATED, UPDATED, Position, mark_of
from keepstep.integrations.http import Response
from keepstep.integrations.paging import effective_size, end_after, in_order, is_end, repeats
from keepstep.model.errors import Answer, NotData, Permanent, UpstreamError
from keepstep.model.integration import Json, Mode, Page, Reading
from keepstep.reliability.clock import Clock

PROBE_RECORDS = 10
MAX_STEP_BACKS = 10
NOT_HONOURED = "DoorLoop does not honour sort_by=updatedAt; reading everything"
UNDECIDED = "all records have the same update time, so the order proves nothing; reading everything"
MOVED = "the listing has moved since the reading was interrupted; reading from the start"
CURSOR_LOST = "the stored position is not one of this integration's; reading from the start"
SHIFTING = "records keep disappearing while the changes are read; some may be picked up by the next backfill only"


@dataclass(frozen=True, slots=True)
class Listing:
    """One decoded answer of a list endpoint. ``shown`` gives what an error may show of it."""

    number: int
    records: Sequence[Raw]
    heads: Heads
    total: int
    response: Response
    shown: Callable[[], Answer]

    def repeats(self, other: "Listing") -> bool:
        """Whether both hold the same records: the same keys, and the same bytes where there is no key."""
        keys = self.heads.keys
        if not repeats(keys, other.heads.keys):
            return False
        nameless = [n for n, key in enumerate(keys) if key is None]
        return all(bytes(self.records[n]) == bytes(other.records[n]) for n in nameless)


Params = Mapping[str, str | int]
Ask = Callable[[Params], Awaitable[Listing]]
"""Sends one listing's parameters and decodes what comes back."""


class EntityReading:
    """Gives the pages of one entity, once. ``parts`` are the extra parameters of each listing that it needs."""

    def __init__(
        self,
        ask: Ask,
        parts: Sequence[Mapping[str, str]],
        reading: Reading,
        *,
        page_size: int,
        ahead: int,
        clock: Clock,
    ) -> None:
        self._ask = ask
        self._parts = parts
        self._reading = reading
        self._page_size = page_size
        self._ahead = ahead
        self._clock = clock
        self._began: datetime | None = None
        self._sort = sort_known(reading.facts, clock.now())
        self._changes_read = False
        self._sortable = True
        self._facts: Json | None = None
        self._notes: list[str] = []
        self._untold = 0  # requests for a page that everything else replaced

    async def pages(self) -> AsyncGenerator[Page, None]:
        """The pages in order. Raises ``UpstreamError``."""
        position = self._start()
        if position.order == UPDATED:
            if position.done:
                yield _nothing_left(position)
                return
            async with aclosing(self._changes(position)) as changes:
                async for page in changes:
                    yield page
            if self._changes_read:
                return
            position = Position(size=self._page_size, began=self._began_text())
        async with aclosing(self._everything(position)) as everything:
            async for page in everything:
                yield page

    def _start(self) -> Position:
        reading = self._reading
        position = None
        if reading.cursor is not None:
            position = Position.stored(reading.cursor, len(self._parts))
            if position is None or (reading.mode is Mode.BACKFILL and position.order == UPDATED):
                self._notes.append(CURSOR_LOST)
                position = None
        if position is None:
            changes = reading.mode is Mode.DELTA and reading.since is not None
            if changes and self._sort is False:
                self._notes.append(NOT_HONOURED)
            position = Position(size=self._page_size, order=UPDATED if changes and self._sort is not False else CREATED)
        self._began = datetime.fromisoformat(position.began) if position.began else None
        return position

    # Everything

    async def _everything(self, position: Position) -> AsyncGenerator[Page, None]:
        moved, asked = await self._has_moved(position)
        if moved:
            self._notes.append(MOVED)
            self._began, position = None, Position(size=self._page_size)
        if position.done:
            yield replace(_nothing_left(position), requests=asked)
            return
        marks = position.marks
        for part in range(position.part, len(self._parts)):
            if part > position.part:
                position = Position(part=part, size=position.size, marks=marks)
            async with aclosing(self._listing(position)) as pages:
                async for page in pages:
                    marks = page.cursor["marks"]
                    if asked:
                        page, asked = replace(page, anew=moved, requests=page.requests + asked), 0
                    yield page

    async def _has_moved(self, position: Position) -> tuple[bool, int]:
        """Whether a page that was read last holds other records now, and the requests it took to see that."""
        asked = 0
        for part, number, records, digest in position.marks:
            listing = await self._list(part, number, position.size, CREATED)
            asked += listing.response.requests
            if mark_of(part, number, listing.heads.keys[:records]) != (part, number, records, digest):
                return True, asked
        return False, asked

    async def _listing(self, start: Position) -> AsyncGenerator[Page, None]:
        """One part from a page to its end, several pages in flight."""
        size = start.size
        earlier = tuple(mark for mark in start.marks if mark[0] < start.part)

        def end_seen(listing: Listing) -> int:
            nonlocal size
            if listing.number == 1:
                size = self._true_size(size, listing)
            return end_after(listing.number, size, len(listing.records), listing.total)

        def fetch(number: int) -> Any:
            return self._list(start.part, number, size, CREATED)

        first: Listing | None = None
        previous: Listing | None = None
        async with aclosing(in_order(fetch, start.page, end_seen, self._ahead)) as listings:
            async for listing in listings:
                extra = await self._refuse_repetition(listing, (previous, first), start.part, size, CREATED)
                ended = is_end(listing.number, size, len(listing.records), listing.total)
                marks = (*earlier, mark_of(start.part, listing.number, listing.heads.keys))
                here = Position(start.part, listing.number + 1, size, CREATED, total=listing.total, marks=marks)
                yield self._page(listing, start.part, here, ended=ended, requests=listing.response.requests + extra)
                if ended:
                    return
                first, previous = first or listing, listing

    # Changes

    async def _changes(self, position: Position) -> AsyncGenerator[Page, None]:
        """What changed since the watermark. Ends early, without a last page, where everything must be read instead."""
        for part in range(position.part, len(self._parts)):
            start = position if part == position.part else Position(part=part, size=position.size, order=UPDATED)
            async with aclosing(self._changes_of(start)) as pages:
                async for page in pages:
                    yield page
            if not self._changes_read:
                return

    async def _changes_of(self, position: Position) -> AsyncGenerator[Page, None]:
        """One part, newest first, a page at a time: one asked for beyond the watermark would be a wasted request."""
        self._changes_read = False
        previous: Listing | None = None
        while True:
            try:
                listing = await self._list(position.part, position.page, position.size, UPDATED)
            except Permanent as error:
                if not _refuses_sort(error):
                    raise
                self._learn_sort(False)
                return
            size = self._true_size(position.size, listing) if position.page == 1 else position.size
            requests = listing.response.requests
            requests += await self._refuse_repetition(listing, (previous,), position.part, size, UPDATED)
            ended = is_end(listing.number, size, len(listing.records), listing.total)

            if not falls(listing.heads.known):
                self._learn_sort(False)
            elif self._sort is None and not ended:
                verdict, sent = await self._find_out(listing, position.part)
                self._learn_sort(verdict)
                requests += sent
            if self._sort is False or (self._sort is None and not ended):
                self._untold = requests  # its records come again with everything
                return

            position, ended = self._next(replace(position, size=size), listing, ended)
            self._changes_read = ended
            yield self._page(listing, position.part, position, ended=ended, requests=requests)
            if ended:
                return
            previous = listing if position.page == listing.number + 1 else None

    def _next(self, position: Position, listing: Listing, ended: bool) -> tuple[Position, bool]:
        """Where to go on after a page of changes, and whether this part is read."""
        missing = (position.total or 0) - listing.total
        onward = replace(position, page=listing.number + 1, total=listing.total)
        if missing > 0 and listing.number > 1:
            # Records above were deleted: the ones below moved up, past the page that was to hold them.
            if position.step_backs < MAX_STEP_BACKS:
                back = max(1, listing.number - -(-missing // position.size))
                return replace(onward, page=back, step_backs=position.step_backs + 1), False
            self._notes.append(SHIFTING)
        assert self._reading.since is not None  # noqa: S101 - changes are read only with a watermark
        horizon = aware(self._reading.since) - OVERLAP
        return onward, ended or any(time <= horizon for time in listing.heads.known)

    def _learn_sort(self, honoured: bool | None) -> None:
        self._sort = honoured
        if honoured is not None:
            self._facts = sort_fact(honoured, self._clock.now())
        if not honoured:
            self._notes.append(UNDECIDED if honoured is None else NOT_HONOURED)

    async def _find_out(self, listing: Listing, part: int) -> tuple[bool | None, int]:
        """Whether the order asked for was heard, and how many requests that took."""
        times = listing.heads.known
        if proves_sort(times, created_times(listing.records)):
            return True, 0
        probe = await self._list(part, 1, PROBE_RECORDS, UPDATED, descending=False)
        return judge_probe(times, probe.heads.known), probe.response.requests

    # Both

    async def _list(self, part: int, number: int, size: int, order: str, *, descending: bool | None = None) -> Listing:
        down = order == UPDATED if descending is None else descending
        paging: Params = {**self._parts[part], "page_number": number, "page_size": size}
        sorting: Params = {"sort_by": order, "sort_descending": "true" if down else "false"}
        sortable = self._sortable
        try:
            listing = await self._ask({**paging, **sorting} if sortable else paging)
        except Permanent as error:
            # The order of a full reading only makes it steadier: without one it still reads everything.
            if order == UPDATED or not sortable or not _refuses_sort(error):
                raise
            self._sortable = False
            return await self._list(part, number, size, order)
        if self._began is None:
            self._began = listing.response.date or self._clock.now()
        return replace(listing, number=number)

    def _true_size(self, asked: int, listing: Listing) -> int:
        got = len(listing.records)
        if not got and listing.total:
            raise NotData.named(
                "page-empty",
                facts={**FACTS, "path": listing.response.path, "count": listing.total},
                answer=listing.shown(),
            )
        return effective_size(asked, got, listing.total)

    async def _refuse_repetition(
        self, listing: Listing, others: Sequence[Listing | None], part: int, size: int, order: str
    ) -> int:
        """Raise ``NotData`` where a page comes again under another number; else the requests it took to be sure."""
        for other in others:
            if other is None or not listing.repeats(other):
                continue
            # Records may have moved by just one page in the meantime: only both pages as they are now tell.
            again = await self._list(part, other.number, size, order)
            if listing.repeats(again):
                numbers = {"count": listing.number, "detail": other.number}
                raise NotData.named(
                    "page-repeats",
                    facts={**FACTS, "path": listing.response.path, **numbers},
                    answer=listing.shown(),
                )
            return again.response.requests
        return 0

    def _page(self, listing: Listing, part: int, next_position: Position, *, ended: bool, requests: int) -> Page:
        assert self._began is not None  # noqa: S101 - set by the first answer
        last = ended and part == len(self._parts) - 1
        if ended and not last:
            next_position = replace(next_position, part=part + 1, page=1, total=None, step_backs=0)
        notes, self._notes = tuple(self._notes), []
        facts, self._facts = self._facts, None
        untold, self._untold = self._untold, 0
        return Page(
            records=listing.records,
            keys=listing.heads.keys,
            number=listing.number,
            cursor=replace(next_position, began=self._began_text(), done=last).cursor(),
            last=last,
            part=part,
            total=listing.total,
            high=newest(listing.heads.known, self._began),
            requests=requests + untold,
            rate_limit=listing.response.rate_limit,
            facts=facts,
            notes=notes,
        )

    def _began_text(self) -> str | None:
        return self._began.isoformat() if self._began else None


def _refuses_sort(error: UpstreamError) -> bool:
    """Whether a request was refused for its order: that ``sort_by`` takes these fields is not documented."""
    return error.answer is not None and error.answer.status in (400, 422) and "sort" in error.message


def _nothing_left(position: Position) -> Page:
    return Page(
        (), (), position.page, position.cursor(), last=True, part=position.part, total=position.total, requests=0
    )
