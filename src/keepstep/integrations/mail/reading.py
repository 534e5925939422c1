"""One reading of a mailbox by IMAP: everything, or what changed. Each folder is a part.

::

    backfill ──► every folder: all numbers, in batches
    delta ─────► every folder, as it was read last: numbers and the folder's modification sequence (CONDSTORE)
                   UIDVALIDITY changed ──► the folder anew; a message that is met again keeps its row
                   new numbers, changed flags ──► read
                   numbers that are gone (the set of them against the known ones) ──► their rows are gone

What is known of the folders is the entity's facts. They come with every page, so that they commit with its rows: an
interrupted delta goes on from them alone. The cursor of a full reading adds how far it has come.

Rows that are gone in a delta are named; in a full reading it is the engine that finds them, with its guard. Where more
than half of the mailbox is gone at once a delta does not act on it: everything is read instead (``ChangesLost``).
"""

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from msgspec import Raw

from keepstep.integrations.mail.entities import Envelope, record_of, split_flags
from keepstep.integrations.mail.folders import Folder, chosen
from keepstep.integrations.mail.imap_answers import Head, State
from keepstep.integrations.mail.known import Known, Mailbox, identity_of
from keepstep.integrations.mail.message import Limits, Message, header_of, parse_message
from keepstep.integrations.mail.position import Position
from keepstep.integrations.mail.refusals import FACTS
from keepstep.integrations.mail.session import CHUNK, Session
from keepstep.integrations.mail.structure import attachments_in
from keepstep.model.errors import ChangesLost, NotData, Permanent
from keepstep.model.integration import Json, Mode, Page, Reading
from keepstep.reliability.clock import Clock

BATCH_BYTES = 8 * 1024 * 1024
BEGINNING_BYTES = 256 * 1024
IDENTITY_BYTES = 64 * 1024
GUARD_SHARE, GUARD_FLOOR = 0.5, 20
ROWS_WITHOUT_FACTS = 10_000
"""A page more without facts for so many messages that are known."""
CURSOR_LOST = "the stored position is not of these folders; reading from the start"
RENUMBERED = "{name}: the server has numbered its messages anew (UIDVALIDITY); reading the folder anew"
ANOTHERS = "what is known is of another mailbox"
MANY_GONE = "more than half of its messages are gone at once"
VANISHED = "gone_while_reading"
FOLDER_GONE = "{name}: the folder is not there, or not chosen, any more"


@dataclass(frozen=True, slots=True)
class Batch:
    """Messages that were fetched together. ``missing``: numbers that were there a moment ago. ``uid``: the last number.

    ``ended``: the folder is read.
    """

    records: Sequence[Raw] = ()
    keys: Sequence[str] = ()
    missing: Sequence[int] = ()
    uid: int = 0
    number: int = 1
    ended: bool = False


class MailboxReading:
    """Gives the pages of one mailbox, once."""

    def __init__(
        self, session: Session, reading: Reading, *, wanted: Sequence[str], limits: Limits, page_size: int, clock: Clock
    ) -> None:
        self._session = session
        self._reading = reading
        self._wanted = wanted
        self._limits = limits
        self._page_size = page_size
        self._clock = clock
        self._mailbox = Mailbox(reading.facts)
        self._notes: list[str] = []
        self._gone: list[str] = []
        self._anew = False
        self._durable: Position | None = None
        self._told = reading.facts
        self._since_facts = 0
        self._counted = session.requests

    async def pages(self) -> AsyncGenerator[Page, None]:
        """The pages in order. Raises ``UpstreamError``."""
        if self._reading.mode is Mode.DELTA and self._reading.facts and "folders" not in self._reading.facts:
            facts = {**FACTS, "path": "the mailbox", "detail": ANOTHERS}
            raise ChangesLost.named("changes-lost", facts=facts)
        began = self._clock.now()
        folders = await self._folders()
        position = self._start([folder.name for folder in folders], began)
        self._durable = position
        self._gone += self._left_out(folders)
        if position.done:
            yield self._page(Batch(number=position.number), position, last=True)
            return
        full = self._reading.mode is Mode.BACKFILL
        if full and position.uidvalidity:
            self._durable = position = await self._still_the_same(folders, position)
        read = self._everything if full else self._changes
        for at in range(position.at, len(folders)):
            if at > position.at:
                position = Position(position.folders, position.began, at)
            async for page in read(folders[at], position):
                yield page

    async def _folders(self) -> list[Folder]:
        facts = {**FACTS, "host": self._session.account.host}
        listed = await self._session.folders()
        if not listed:
            raise NotData.named("not-imap", facts=facts)
        if not (folders := chosen(listed, self._wanted)):
            names = ", ".join(self._wanted) or "any folder"
            raise Permanent.named("folder-refused", facts={**facts, "path": names, "detail": "there is none"})
        return folders

    def _start(self, names: Sequence[str], began: datetime) -> Position:
        fresh = Position(tuple(names), began.isoformat())
        if self._reading.cursor is None:
            return fresh
        position = Position.stored(self._reading.cursor, names)
        if position is None:
            self._notes.append(CURSOR_LOST)
            self._anew = True
        return position or fresh

    async def _still_the_same(self, folders: Sequence[Folder], position: Position) -> Position:
        """The position, or the very beginning where the numbers that it is about mean something else now."""
        folder = folders[position.at]
        if (await self._session.select(folder)).uidvalidity == position.uidvalidity:
            return position
        self._notes.append(RENUMBERED.format(name=folder.name))
        self._anew = True
        return Position(position.folders, self._clock.now().isoformat())

    def _left_out(self, folders: Sequence[Folder]) -> list[str]:
        """Forget folders that are not read any more; in a delta, gives the keys of their rows."""
        here = {folder.name for folder in folders}
        gone: list[str] = []
        for name in self._mailbox.names:
            if name in here:
                continue
            if self._reading.mode is Mode.BACKFILL:
                self._mailbox.drop(name)
            else:
                self._refuse_many(self._mailbox.folder(name).size)
                self._notes.append(FOLDER_GONE.format(name=name))
                gone += self._mailbox.drop(name)
        return gone

    # Everything

    async def _everything(self, folder: Folder, position: Position) -> AsyncGenerator[Page, None]:
        """One folder, from a position to its end."""
        state, known = await self._opened(folder)
        if position.uidvalidity == 0:
            uids = sorted(await self._numbers(folder, state))
            position = replace(
                position, uidvalidity=state.uidvalidity, end=uids[-1] if uids else 0, total=len(uids),
                modseq=state.modseq,
            )  # fmt: skip
        else:
            found = await self._numbers(folder, state, first=position.uid + 1)
            uids = sorted(uid for uid in found if uid <= position.end)
        async for batch in self._read(folder, known, uids, position.number):
            onward = replace(position, number=batch.number + 1, uid=batch.uid or position.uid)
            missing = [known.key_at(uid) or f"{state.uidvalidity}.{uid}" for uid in batch.missing]
            if batch.ended:
                await self._settle(folder, state, known, position)
            page = self._of_folder(batch, onward)
            yield replace(page, skipped={VANISHED: missing}) if missing else page

    async def _settle(self, folder: Folder, state: State, known: Known, position: Position) -> None:
        """The folder has been read to its end. Rows that were not met are for the engine to find, with its guard."""
        known.upto, known.modseq = max(known.upto, position.end), position.modseq
        known.orphans.clear()
        if len(known.rows) > position.total:
            known.forget(known.rows.keys() - await self._numbers(folder, state))

    # Changes

    async def _changes(self, folder: Folder, position: Position) -> AsyncGenerator[Page, None]:
        """What has come, changed and gone in one folder. Where nothing has, there is a page only if it is the last."""
        state, known = await self._opened(folder)
        if _untouched(known, state):
            if position.at == len(position.folders) - 1 or self._notes or self._gone:
                yield self._of_folder(Batch(number=position.number, ended=True), position)
            return
        new, gone = await self._come_and_gone(folder, state, known)
        changed = await self._changed(folder, state, known)
        self._refuse_many(len(gone))
        self._gone += known.forget(gone)
        uids = [*sorted(changed - gone), *sorted(new)]
        async for batch in self._read(folder, known, uids, position.number):
            if batch.ended:
                known.upto = max(known.upto, (state.uidnext or 1) - 1, *new, 0)
                known.modseq = state.modseq
                self._refuse_many(len(known.orphans))
                self._gone += sorted(known.orphans)
                known.orphans.clear()
            yield self._of_folder(batch, replace(position, number=batch.number + 1))

    async def _come_and_gone(self, folder: Folder, state: State, known: Known) -> tuple[set[int], set[int]]:
        """The numbers that are not known yet, and the known ones that are not there any more."""
        new = await self._numbers(folder, state, first=known.upto + 1) if _may_have_new(known, state) else set()
        if len(known.rows) + len(new) == state.exists:
            return new, set()
        there = await self._numbers(folder, state)
        missing = sorted(known.rows.keys() - there)
        # Asked once more by name: a list that came incomplete must not delete anything.
        still_there = await self._session.among(folder, missing)
        return there - known.rows.keys(), set(missing) - still_there

    async def _changed(self, folder: Folder, state: State, known: Known) -> set[int]:
        """The known messages whose flags have changed."""
        if not known.rows:
            return set()
        if state.modseq is not None and known.modseq is not None:
            if state.modseq == known.modseq:
                return set()
            return await self._session.changed(folder, known.modseq) & known.rows.keys()
        flags = await self._session.flags(folder, sorted(known.rows))
        return {uid for uid, words in flags.items() if uid in known.rows and known.flags_differ(uid, words)}

    # Both

    async def _opened(self, folder: Folder) -> tuple[State, Known]:
        state, known = await self._session.select(folder), self._mailbox.folder(folder.name)
        if known.uidvalidity != state.uidvalidity:
            if known.uidvalidity:
                self._notes.append(RENUMBERED.format(name=folder.name))
            known.renew(state.uidvalidity)
        return state, known

    async def _numbers(self, folder: Folder, state: State, first: int = 1) -> set[int]:
        """The numbers in a folder from ``first`` on, as of when it was selected."""
        found = await self._session.numbers(folder, first) if state.exists else set()
        return {uid for uid in found if state.uidnext is None or uid < state.uidnext}

    def _are_many(self, gone: int) -> bool:
        """Whether so many are gone that a delta must not act on it."""
        return gone > GUARD_FLOOR and gone > GUARD_SHARE * self._mailbox.size

    def _refuse_many(self, gone: int) -> None:
        if self._are_many(gone):
            facts = {**FACTS, "path": "the mailbox", "detail": MANY_GONE}
            raise ChangesLost.named("changes-lost", facts=facts)

    async def _read(
        self, folder: Folder, known: Known, uids: Sequence[int], number: int
    ) -> AsyncGenerator[Batch, None]:
        """The messages of these numbers, in this order; at least one batch, and the last one says that it is."""
        missing: list[int] = []
        for place in range(0, len(uids), CHUNK):
            chunk = uids[place : place + CHUNK]
            heads = await self._session.heads(folder, chunk)
            missing += [uid for uid in chunk if uid not in heads]
            batches = self._batches([uid for uid in chunk if uid in heads], heads)
            for n, batch in enumerate(batches):
                records, keys, gone = await self._records(folder, known, batch, heads)
                ended = place + CHUNK >= len(uids) and n == len(batches) - 1
                yield Batch(records, keys, (*missing, *gone), batch[-1], number, ended=ended)
                number, missing = number + 1, []
                if ended:
                    return
        yield Batch(missing=missing, number=number, ended=True)

    def _batches(self, uids: Sequence[int], heads: dict[int, Head]) -> list[list[int]]:
        """Numbers that are fetched together: at most a page, and not too many bytes."""
        batches: list[list[int]] = []
        size = 0
        for uid in uids:
            own = min(heads[uid].size, self._limits.message_bytes)
            if not batches or len(batches[-1]) >= self._page_size or size + own > BATCH_BYTES:
                batches.append([])
                size = 0
            batches[-1].append(uid)
            size += own
        return batches

    async def _records(
        self, folder: Folder, known: Known, uids: Sequence[int], heads: dict[int, Head]
    ) -> tuple[list[Raw], list[str], list[int]]:
        small = [uid for uid in uids if heads[uid].size <= self._limits.message_bytes]
        whole = await self._session.messages(folder, small) if small else {}
        parts = {uid: await self._session.beginning(folder, uid, BEGINNING_BYTES) for uid in uids if uid not in small}
        records: list[Raw] = []
        keys: list[str] = []
        missing: list[int] = []

        def take_apart() -> None:
            for uid in uids:
                if uid in whole:
                    raw, message = whole[uid], parse_message(whole[uid], self._limits)
                elif (part := parts.get(uid)) is not None:
                    raw, message = part[0], self._part_of_message(*part)
                else:
                    missing.append(uid)
                    continue
                head = heads[uid]
                key = known.met(uid, identity_of(folder.name, header_of(raw)[:IDENTITY_BYTES]), head.flags)
                records.append(record_of(key, message, _envelope(folder, uid, head)))
                keys.append(key)

        await asyncio.to_thread(take_apart)  # a large message takes a while
        return records, keys, missing

    def _part_of_message(self, raw: bytes, structure: Any) -> Message:
        """A message that is too large: its text as far as it was fetched, its attachments as the server tells them."""
        message = parse_message(raw, self._limits, whole=False)
        message.attachments = attachments_in(structure) or message.attachments
        message.defects = [*(one for one in message.defects if one != "is malformed"), "is too large to be read whole"]
        return message

    def _of_folder(self, batch: Batch, position: Position) -> Page:
        """The page of a batch, after which reading goes on at ``position``, or with the next folder."""
        last = batch.ended and position.at == len(position.folders) - 1
        onward = position
        if last:
            onward = replace(position, done=True)
        elif batch.ended:
            onward = Position(position.folders, position.began, position.at + 1)
        full = self._reading.mode is Mode.BACKFILL
        return self._page(batch, onward, last=last, part=position.at, total=position.total if full else None)

    def _page(
        self, batch: Batch, onward: Position, *, last: bool, part: int | None = None, total: int | None = None
    ) -> Page:
        # Facts of a large mailbox are large: they do not come with every page. The cursor never goes beyond them.
        self._since_facts += 1
        facts: Json | None = None
        if batch.ended or last or self._since_facts > self._mailbox.size // ROWS_WITHOUT_FACTS:
            known, self._durable, self._since_facts = self._mailbox.facts(), onward, 0
            facts = None if known == self._told else known
            self._told = known
        assert self._durable is not None  # noqa: S101 - set when reading began
        sent = self._session.requests
        page = Page(
            records=batch.records,
            keys=batch.keys,
            number=batch.number,
            cursor=self._durable.cursor(),
            last=last,
            part=onward.at if part is None else part,
            total=onward.total if part is None else total,
            high=datetime.fromisoformat(onward.began),
            requests=sent - self._counted,
            facts=facts,
            notes=tuple(self._notes),
            anew=self._anew,
            # Of two messages that are alike one may go and one may come: then the row has not gone.
            gone=tuple(key for key in self._gone if key not in batch.keys),
        )
        self._counted, self._notes, self._gone, self._anew = sent, [], [], False
        return page


def _untouched(known: Known, state: State) -> bool:
    """Whether nothing can have happened in a folder since it was read: no answer to any question would be news."""
    same_numbers = state.uidnext == known.upto + 1 and state.exists == len(known.rows) and not known.orphans
    return same_numbers and (not known.rows or (state.modseq is not None and state.modseq == known.modseq))


def _may_have_new(known: Known, state: State) -> bool:
    return state.uidnext is None or state.uidnext > known.upto + 1


def _envelope(folder: Folder, uid: int, head: Head) -> Envelope:
    flags, words = split_flags(head.flags)
    labels = sorted({*words, *head.labels})
    return Envelope(folder.name, uid, head.thread_id, head.received_at, flags, labels, head.size)
