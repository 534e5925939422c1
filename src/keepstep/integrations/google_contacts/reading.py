"""Reading the connections of an account: everything, or what changed since a sync token.

::

    everything   no token ──► page, page, ... ──► last page: a sync token for the next reading
    changes      sync token ──► page, page, ... ──► last page: the next sync token
                     └── expired, of another mask, or none: ChangesLost, and whoever reads asks for everything
"""

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

from keepstep.integrations.google_contacts.answers import FACTS
from keepstep.integrations.google_contacts.envelope import Envelope
from keepstep.integrations.google_contacts.people import People, sorted_out
from keepstep.integrations.google_contacts.position import Mark, Position
from keepstep.integrations.http import Response
from keepstep.model.errors import Answer, ChangesLost, NotData, Permanent
from keepstep.model.integration import Json, Mode, Reading
from keepstep.reliability.clock import Clock

OVERLAP = timedelta(seconds=2)
"""So far ahead of Google's clock an update time may be; one further ahead is a fault of its record."""
MOVED = "the listing has moved since the reading was interrupted; reading from the start"
PLACE_LOST = "the reading cannot go on where it was interrupted; reading from the start"
CURSOR_LOST = "the stored position is not one of this integration's; reading from the start"
UNMARKED = "Google gave no sync token; the next run reads everything"


@dataclass(frozen=True, slots=True)
class Listing:
    """One decoded answer. ``shown`` gives what an error may show of it."""

    envelope: Envelope
    response: Response
    shown: Callable[[], Answer]


@dataclass(frozen=True, slots=True)
class Sheet:
    """One page of people, read and sorted out: what a page of either entity is made of.

    ``began`` from which sync token, empty for everything; ``facts`` only on the last one.
    """

    people: People
    number: int
    cursor: Json
    last: bool
    changes: bool
    total: int | None
    high: datetime | None
    response: Response | None
    requests: int
    facts: Json | None = None
    notes: tuple[str, ...] = ()
    anew: bool = False


Ask = Callable[[Position], Awaitable[Listing]]
"""Sends what a position asks for and decodes what comes back."""


class Order:
    """Numbers the beginnings and ends of one reader's readings."""

    def __init__(self) -> None:
        self.reader = uuid4().hex
        self._last = 0

    def next(self) -> int:
        """The next number."""
        self._last += 1
        return self._last


class PeopleReading:
    """Gives the sheets of one reading, once. ``mark``: where its changes begin; None where it reads everything."""

    def __init__(self, ask: Ask, reading: Reading, *, page_size: int, clock: Clock, order: Order) -> None:
        self.mark: Mark | None = None
        self._order = order
        self._number = order.next()
        self._ask = ask
        self._reading = reading
        self._page_size = page_size
        self._clock = clock
        self._began: datetime | None = None
        self._high: datetime | None = None
        self._notes: list[str] = []

    async def sheets(self, position: Position) -> AsyncGenerator[Sheet, None]:
        """The sheets in order, from where ``start`` says. Raises ``ChangesLost`` and other ``UpstreamError``."""
        if position.done:
            yield self._nothing_left(position)
            return
        resumed, asked = position.number > 1, 0
        pages = self._pages(position)
        async with aclosing(pages):
            try:
                async for sheet in pages:
                    if resumed and not sheet.changes and sheet.total != position.total:
                        self._notes += [*sheet.notes, MOVED]
                        asked = sheet.requests
                        break
                    resumed = False
                    yield sheet
                else:
                    return
            except Permanent as error:
                # A page token lives for a while only, and nobody says how long.
                if not resumed or error.answer is None or error.answer.status != 400:
                    raise
                if position.sync_token:
                    raise self._lost("its place in them is gone") from None
                self._notes.append(PLACE_LOST)
                asked = 1
        self._began = None
        async with aclosing(self._pages(Position(size=self._page_size), anew=True)) as pages:
            async for sheet in pages:
                yield replace(sheet, requests=sheet.requests + asked)
                asked = 0

    def start(self) -> Position:
        """Where this reading begins. Raises ``ChangesLost`` where changes are asked for and cannot be told."""
        reading = self._reading
        mark = Mark.learned(reading.facts)
        self._high = mark.high if mark else None
        if reading.cursor is not None:
            position = Position.stored(reading.cursor)
            if position is not None and bool(position.sync_token) == (reading.mode is Mode.DELTA):
                self._began = datetime.fromisoformat(position.began) if position.began else None
                return position
            self._notes.append(CURSOR_LOST)
        if reading.mode is Mode.BACKFILL:
            return Position(size=self._page_size)
        if mark is None:
            raise self._lost("there is no sync token of an earlier reading that can be used")
        if reading.asked_for and reading.since is not None and (mark.high is None or _utc(reading.since) < mark.high):
            raise self._lost("its sync token is younger than the moment that was asked for")
        self.mark = mark
        return Position(size=mark.size, sync_token=mark.sync_token)

    async def _pages(self, position: Position, *, anew: bool = False) -> AsyncGenerator[Sheet, None]:
        coming = asyncio.ensure_future(self._ask(position))
        try:
            while True:
                listing = await coming
                following = self._following(position, listing)
                if not following.done:
                    # On its way while the receiver works on this one. A new task first runs when this one waits.
                    coming = asyncio.ensure_future(self._ask(following))
                    await asyncio.sleep(0)
                yield self._sheet(listing, position, following, anew=anew)
                if following.done:
                    return
                position, anew = following, False
        finally:
            coming.cancel()
            await asyncio.gather(coming, return_exceptions=True)

    def _following(self, position: Position, listing: Listing) -> Position:
        """Where reading goes on after a page."""
        envelope = listing.envelope
        if self._began is None:
            self._began = listing.response.date or self._clock.now()
        if envelope.next_page_token and envelope.next_page_token == position.page_token:
            facts = {**FACTS, "path": listing.response.path, "count": position.number, "detail": position.number}
            raise NotData.named("page-repeats", facts=facts, answer=listing.shown())
        return replace(
            position,
            number=position.number + 1,
            page_token=envelope.next_page_token,
            began=self._began.isoformat(),
            total=envelope.total,
            done=not envelope.next_page_token,
        )

    def _sheet(self, listing: Listing, position: Position, following: Position, *, anew: bool) -> Sheet:
        assert self._began is not None  # noqa: S101 - set by the first answer
        envelope, people = listing.envelope, sorted_out(listing.envelope.connections)
        high = newest(people.times, self._began)
        if high is not None and (self._high is None or high > self._high):
            self._high = high
        facts: Json | None = None
        if following.done:
            if envelope.next_sync_token:
                order = self._order.reader, self._number, self._order.next()
                facts = Mark(envelope.next_sync_token, position.size, self._high, *order).facts()
            else:
                facts = {}
                self._notes.append(UNMARKED)
            high = self._high
        notes, self._notes = tuple(self._notes), []
        return Sheet(
            people=people,
            number=position.number,
            cursor=following.cursor(),
            last=following.done,
            changes=bool(position.sync_token),
            total=envelope.total,
            high=high,
            response=listing.response,
            requests=listing.response.requests,
            facts=facts,
            notes=notes,
            anew=anew,
        )

    def _nothing_left(self, position: Position) -> Sheet:
        return Sheet(
            People((), (), ()), position.number, position.cursor(), last=True, changes=bool(position.sync_token),
            total=position.total, high=None, response=None, requests=0,
        )  # fmt: skip

    def _lost(self, detail: str) -> ChangesLost:
        return ChangesLost.named("changes-lost", facts={**FACTS, "path": "connections", "detail": detail})


def newest(times: Sequence[datetime], began: datetime) -> datetime | None:
    """The newest time that may become the watermark: none later than Google's clock when the reading began."""
    fit = [time for time in times if time <= began + OVERLAP]
    return min(max(fit), began) if fit else None


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
