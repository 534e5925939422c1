"""One reading of a Gmail mailbox: everything, or what its history says.

::

    everything   where the history is now ──► the identifiers of all messages ──► the messages, newest first, in batches
    changes      history since the last reading ──► deleted: gone; added or relabelled: read in batches
                     └── too old (404), or none: ChangesLost, and whoever reads asks for everything

The number of the history that a reading began at is learned with its last page, so that what happens while it reads is
read by the next one. Messages that lie in spam, bin or drafts are none of ours: they are told as skipped.
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from msgspec import Raw

from keepstep.integrations.mail.entities import Envelope, record_of
from keepstep.integrations.mail.gmail.answers import FACTS
from keepstep.integrations.mail.gmail.api import Fetched, GmailApi
from keepstep.integrations.mail.gmail.position import Learned, Position
from keepstep.integrations.mail.gmail.wire import LEFT_OUT, RawMessage, age_of
from keepstep.integrations.mail.message import Limits, parse_message
from keepstep.integrations.paging import in_order
from keepstep.model.errors import ChangesLost, NotData
from keepstep.model.integration import Json, Mode, Page, Reading
from keepstep.reliability.clock import Clock

SKIPPED, VANISHED = "in_spam_bin_or_drafts", "gone_while_reading"
LARGE = 512 * 1024
FUTURE = timedelta(minutes=5)
CURSOR_LOST = "the stored position is not one of this integration's; reading from the start"


@dataclass(frozen=True, slots=True)
class _Changes:
    """What the history says: of each message the number of its last change, and whether that was its end."""

    last: dict[str, int]
    deleted: set[str]
    history: int
    requests: int
    date: datetime | None


class GmailReading:
    """Gives the pages of one reading, once."""

    def __init__(
        self, api: GmailApi, reading: Reading, *, page_size: int, ahead: int, limits: Limits, clock: Clock
    ) -> None:
        self._api = api
        self._reading = reading
        self._page_size = page_size
        self._ahead = ahead
        self._limits = limits
        self._clock = clock
        self._learned = Learned.of(reading.facts)
        self._high: datetime | None = None
        self._asked = 0
        self._notes: list[str] = []

    async def pages(self) -> AsyncGenerator[Page, None]:
        """The pages in order. Raises ``ChangesLost`` and other ``UpstreamError``."""
        position = self._start()
        if position is not None and position.done:
            yield await self._page(position, position, Fetched(), [], last=True)
            return
        read = self._everything if self._reading.mode is Mode.BACKFILL else self._changes
        async with aclosing(read(position)) as pages:
            async for page in pages:
                yield page

    def _start(self) -> Position | None:
        changes = self._reading.mode is Mode.DELTA
        if self._reading.cursor is None:
            return None
        position = Position.stored(self._reading.cursor)
        if position is None or position.changes is not changes:
            self._notes.append(CURSOR_LOST)
            return None
        return position

    # Everything

    async def _everything(self, position: Position | None) -> AsyncGenerator[Page, None]:
        if position is None:
            profile, response = await self._api.profile()
            self._asked += response.requests
            began = response.date or self._clock.now()
            position = Position(began.isoformat(), profile.historyId)
        ids = sorted((one for one in await self._all_ids() if position.is_left(one)), key=age_of, reverse=True)
        if position.total is None:
            position = replace(position, total=len(ids), newest=ids[0] if ids else "")
        async with aclosing(self._read(position, ids, [])) as pages:
            async for page in pages:
                yield page

    async def _all_ids(self) -> set[str]:
        ids: set[str] = set()
        token: str | None = None
        while True:
            answer, response = await self._api.listed(token)
            self._asked += response.requests
            found = {ref.id for ref in answer.messages or ()}
            if found and found <= ids:
                raise NotData.named("page-repeats", facts={**FACTS, "path": response.path, "count": 2, "detail": 1})
            ids |= found
            if not answer.nextPageToken:
                return ids
            token = answer.nextPageToken

    # Changes

    async def _changes(self, position: Position | None) -> AsyncGenerator[Page, None]:
        learned = self._learned
        if learned is None:
            raise _lost("there is no history id of an earlier reading")
        since = self._reading.since
        if self._reading.asked_for and since is not None and (learned.high is None or _utc(since) < learned.high):
            raise _lost("its history begins after the moment that was asked for")
        start = learned.history if position is None else position.start
        changes = await self._happened(start)
        self._asked += changes.requests
        if position is None:
            began = changes.date or self._clock.now()
            position = Position(began.isoformat(), changes.history, changes=True, start=start)
        left = [
            one for one, number in changes.last.items() if position.is_left(one) or number > position.history
        ]  # fmt: skip
        ids = sorted((one for one in left if one not in changes.deleted), key=age_of, reverse=True)
        async with aclosing(self._read(position, ids, sorted(changes.deleted))) as pages:
            async for page in pages:
                yield page

    async def _happened(self, start: int) -> _Changes:
        """Everything since a number. What comes later than the first answer is read again by the next reading."""
        last: dict[str, int] = {}
        deleted: set[str] = set()
        history, requests, date = 0, 0, None
        token: str | None = None
        tokens: set[str] = set()
        while True:
            answer, response = await self._api.history(start, token)
            requests += response.requests
            history, date = history or answer.historyId, date or response.date
            for record in answer.history:
                for one in (*record.messagesAdded, *record.labelsAdded, *record.labelsRemoved):
                    last[one.message.id] = record.id
                    deleted.discard(one.message.id)
                for one in record.messagesDeleted:
                    last[one.message.id] = record.id
                    deleted.add(one.message.id)
            token = answer.nextPageToken
            if not token:
                return _Changes(last, deleted, history, requests, date)
            if token in tokens:
                raise NotData.named("page-repeats", facts={**FACTS, "path": response.path, "count": 2, "detail": 1})
            tokens.add(token)

    # Both

    async def _read(self, position: Position, ids: Sequence[str], deleted: Sequence[str]) -> AsyncGenerator[Page, None]:
        """The messages of these identifiers, several batches on their way."""
        batches = [ids[place : place + self._page_size] for place in range(0, len(ids), self._page_size)]
        if not batches:
            yield await self._page(position, replace(position, done=True), Fetched(), deleted, last=True)
            return

        async def fetch(number: int) -> Fetched:
            return await self._api.messages(batches[number - 1])

        count = 0
        async with aclosing(in_order(fetch, 1, lambda _fetched: len(batches), self._ahead)) as answers:
            async for fetched in answers:
                batch, count = batches[count], count + 1
                last = count == len(batches)
                onward = replace(position, number=position.number + 1, last=batch[-1], done=last)
                yield await self._page(position, onward, fetched, deleted, last=last)
                position, deleted = onward, ()

    async def _page(
        self, position: Position, onward: Position, fetched: Fetched, deleted: Sequence[str], *, last: bool
    ) -> Page:
        ours = [message for message in fetched.messages.values() if not LEFT_OUT & set(message.labelIds)]
        records = await self._records(ours)
        self._note_times(ours, datetime.fromisoformat(position.began))
        apart = sorted(fetched.messages.keys() - {message.id for message in ours})
        skipped = {SKIPPED: apart} if apart else {}
        gone = [*deleted]
        if position.changes:
            gone += fetched.gone
        elif fetched.gone:
            skipped[VANISHED] = list(fetched.gone)
        requests, self._asked = fetched.requests + self._asked, 0
        notes, self._notes = tuple(self._notes), []
        return Page(
            records=records,
            keys=[message.id for message in ours],
            number=position.number,
            cursor=onward.cursor(),
            last=last,
            total=position.total,
            high=self._watermark(),
            requests=requests,
            facts=self._facts(position) if last else None,
            notes=notes,
            gone=tuple(gone),
            skipped=skipped,
        )

    async def _records(self, messages: Sequence[RawMessage]) -> list[Raw]:
        def take_apart() -> list[Raw]:
            return [self.record(message) for message in messages]

        # A large message takes a while: that is done beside the event loop.
        large = sum(len(message.raw) for message in messages) > LARGE
        return await asyncio.to_thread(take_apart) if large else take_apart()

    def _note_times(self, messages: Sequence[RawMessage], began: datetime) -> None:
        """A time clearly in the future is a fault of its message and does not count."""
        times = [time for message in messages if (time := message.received_at) is not None]
        fit = [min(time, began) for time in times if time <= began + FUTURE]
        self._high = max([*fit, *([self._high] if self._high else [])], default=None)

    def _watermark(self) -> datetime | None:
        known = [moment for moment in (self._high, self._before()) if moment is not None]
        return max(known, default=None)

    def _before(self) -> datetime | None:
        """The watermark that there was; only in a reading of changes, which adds to it."""
        since = self._reading.since
        return _utc(since) if since is not None and self._reading.mode is Mode.DELTA else None

    def _facts(self, position: Position) -> Json | None:
        known = self._learned.high if self._learned is not None and position.changes else None
        moments = [moment for moment in (known, self._high) if moment is not None]
        learned = Learned(position.history, max(moments, default=None))
        return None if learned == self._learned else learned.facts()

    def record(self, message: RawMessage) -> Raw:
        """The record of a message."""
        content = message.content
        envelope = Envelope(
            thread_id=message.threadId or None,
            received_at=message.received_at,
            flags=message.flags,
            labels=sorted(message.labelIds),
            size=len(content),
        )
        return record_of(message.id, parse_message(content, self._limits), envelope)


def _lost(detail: str) -> ChangesLost:
    return ChangesLost.named("changes-lost", facts={**FACTS, "path": "the mailbox", "detail": detail})


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
