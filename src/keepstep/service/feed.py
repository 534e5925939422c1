"""News for browsers: one reader, one ring of encoded events for all, a place in it for each browser::

    commit --NOTIFY--> listener --wakes--> reader --lines--> ring --wakes--> browser's own task --> its socket
                                             |                                   ^
                                        the table  -- what left the ring, what a browser missed --

A browser that is slow holds up nobody: it reads its own way through the ring, and through the table where the ring has
gone on without it. Whatever it was given ends with its position, so it goes on from there at any process.
"""

import asyncio
import contextlib
import math
import random
from collections.abc import AsyncGenerator, AsyncIterator, Iterable
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass

from keepstep.model.errors import Busy, StoreError
from keepstep.reliability.loop import Loop
from keepstep.service.position import Position
from keepstep.service.ring import Line, Ring, Wanted, block
from keepstep.service.tail import AT_ONCE, Tail
from keepstep.store import feed as store
from keepstep.store.db import Database

_CATCHING_UP_AT_ONCE = 3
_BATCH = 500
_SHARE = 90e-6
"""Seconds between rounds for each browser. Telling one takes about 30 µs, so all take at most a third of a core."""
_GOODBYE_PATIENCE = 1.0
_PLACES = 64
"""Chunks kept for browsers that are at the same place."""


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds. ``tick``: between rounds that had news; ``soon`` and ``poll``: to the next look when nobody calls."""

    tick: float = 0.05
    soon: float = 0.3
    poll: float = 1.0
    heartbeat: float = 14.0


class Feed:
    """The feed of one process: at most ``most`` browsers, the newest ``kept`` events in memory."""

    def __init__(self, database: Database, *, most: int = 1000, kept: int = 4000, pace: Pace | None = None) -> None:
        self.database = database
        self.ring = Ring(kept)
        self.catching_up = asyncio.Semaphore(_CATCHING_UP_AT_ONCE)
        self._closing = False
        self.begun = self.done = 0
        self._most = most
        self._pace = pace or Pace()
        self._audiences: dict[Wanted, Audience] = {}
        self._browsers: set[Browser] = set()
        self._newcomers: set[Browser] = set()
        self._tail = Tail()
        self._reading = store.Reading(database)
        self._reader = Loop("feed", self._round)
        self._background: list[asyncio.Task[None]] = []
        self._listener: asyncio.Task[None] | None = None

    @property
    def browsers(self) -> int:
        """How many listen now."""
        return len(self._browsers)

    @asynccontextmanager
    async def joined(self, wanted: Wanted, last_event_id: str | None = None) -> AsyncIterator["Browser"]:
        """A place for one browser. Raises ``Busy`` when there is none, or the process is on its way down."""
        if self._closing:
            raise Busy("This process is going down.", fix="Try again in a few seconds.")
        if len(self._browsers) >= self._most:
            raise Busy(
                f"All {self._most} places of the live feed are taken.",
                fix="Close pages that are not needed, or run another keepstep web.",
            )
        audience = self._audiences.setdefault(wanted, Audience(self.ring, wanted))
        browser = Browser(self, audience, last_event_id)
        audience.browsers.add(browser)
        self._browsers.add(browser)
        self._newcomers.add(browser)
        self._go_on()
        try:
            yield browser
        finally:
            browser.leave()
            self._browsers.discard(browser)
            self._newcomers.discard(browser)
            audience.browsers.discard(browser)
            if not audience.browsers:
                self._audiences.pop(wanted, None)

    async def aclose(self) -> None:
        """Say goodbye to every browser, so that a server can end without waiting for them."""
        self._closing = True
        self._reader.stop()
        for browser in self._browsers:
            browser.leave()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_GOODBYE_PATIENCE):
                while self._browsers:  # noqa: ASYNC110 - those that read leave within a turn or two
                    await asyncio.sleep(0.01)
        await _end([*self._background, *([self._listener] if self._listener else [])])
        await self._reading.aclose()

    def _go_on(self) -> None:
        if not self._background:
            heart = Loop("feed heartbeat", self._beat)
            self._background = [asyncio.create_task(loop.run()) for loop in (self._reader, heart)]
        if self._listener is None:
            self._listener = asyncio.create_task(Loop("feed listener", self._listen).run())
        self._reader.wake()

    async def _listen(self) -> float:
        async with aclosing(store.told(self.database)) as told:
            async for _ in told:
                self._reader.wake()
        return self._pace.poll

    async def _beat(self) -> float:
        for browser in self._browsers:
            browser.beat()
        return self._pace.heartbeat

    async def _round(self) -> float:
        """Read what is new and tell everyone; with nobody there, stop reading."""
        if not self._browsers:
            await self._rest()
            return math.inf
        self.begun += 1
        news = False
        async with self._reading.connection() as connection:
            if await self._tail.begin(connection):
                self.ring.begin(self._tail.position)
            more = True
            while more:
                read = await self._tail.read(connection)
                self._publish([Line.of(row, position) for row, position in read], self._tail.position)
                news, more = news or bool(read), len(read) == AT_ONCE
        self.done = self.begun
        for browser in [one for one in self._newcomers if one.awaits <= self.done]:
            self._newcomers.discard(browser)
            browser.wake()
        if not news:
            return self._pace.poll
        await asyncio.sleep(max(self._pace.tick, _SHARE * len(self._browsers)))
        return self._pace.soon

    def _publish(self, lines: list[Line], position: Position) -> None:
        before = self.ring.end
        self.ring.add(lines, position)
        for audience in list(self._audiences.values()) if lines else ():
            audience.tell(lines, before)

    async def _rest(self) -> None:
        listener, self._listener, self._tail = self._listener, None, Tail()
        await _end([listener] if listener else [])
        await self._reading.aclose()


class Audience:
    """Browsers that want the same: what is put together for one of them is there for all."""

    def __init__(self, ring: Ring, wanted: Wanted) -> None:
        self.wanted = wanted
        self.browsers: set[Browser] = set()
        self._ring = ring
        self._chunks: dict[int, tuple[bytes, int, Position]] = {}

    def tell(self, lines: list[Line], before: int) -> None:
        """There are new lines, from this number on."""
        self._chunks.clear()
        if any(self.wanted.takes(line) for line in lines):
            for browser in self.browsers:
                browser.wake()
        else:
            for browser in self.browsers:
                browser.skip(before, self._ring.end)

    def chunk(self, cursor: int) -> tuple[bytes, int, Position]:
        """Their lines from a number on, as bytes, and the number and the position to go on from."""
        found = self._chunks.get(cursor)
        if found is None:
            chunk, end = self._ring.chunk(cursor, self.wanted)
            found = chunk, end, self._ring.before(end)
            if len(self._chunks) < _PLACES:
                self._chunks[cursor] = found
        return found


class Browser:
    """One browser's place in the feed. ``awaits``: the first round that knows all that the browser may know."""

    def __init__(self, feed: Feed, audience: Audience, last_event_id: str | None) -> None:
        self.awaits = feed.begun + 1
        self._audience = audience
        self._wanted = audience.wanted
        self._feed = feed
        self._note = ""
        self._seen = None if last_event_id is None else Position.parse(last_event_id.strip())
        if last_event_id is not None and self._seen is None:
            self._note = "Last-Event-ID is not one of ours: starting from now"
        self._cursor: int | None = None
        self._woken = asyncio.Event()
        self._beating = False
        self._gone = False

    def wake(self) -> None:
        """There is something to do."""
        self._woken.set()

    def beat(self) -> None:
        """Time for a sign of life."""
        self._beating = True
        self._woken.set()

    def leave(self) -> None:
        """Nobody reads any more."""
        self._gone = True
        self._woken.set()

    def skip(self, start: int, end: int) -> None:
        """The lines between two numbers are none for this browser."""
        if self._cursor == start:
            self._cursor = end

    async def chunks(self) -> AsyncGenerator[bytes, None]:
        """What goes over the wire, until the browser leaves or the feed ends."""
        ring, audience = self._feed.ring, self._audience
        yield b"retry: %d\n\n" % random.randint(1000, 3000)  # noqa: S311 - so that not all come back at once
        while not self._gone and self._feed.done < self.awaits:
            if self._beating:
                yield self._sign_of_life()
            await self._wait()
        if not self._gone:
            yield self._begin()
        while not self._gone:
            if self._cursor is None or self._cursor < ring.first:
                async for chunk in self._catch_up():
                    yield chunk
                continue
            chunk, self._cursor, self._seen = audience.chunk(self._cursor)
            if self._beating:
                chunk += self._sign_of_life()
            if chunk:
                yield chunk
            if self._cursor == ring.end:
                await self._wait()

    async def _wait(self) -> None:
        await self._woken.wait()
        self._woken.clear()

    def _begin(self) -> bytes:
        """Where the browser is: where it says, or now. Told at once, so that it can come back before any event."""
        ring = self._feed.ring
        if self._seen is not None and self._seen.high > ring.position.high:
            self._seen, self._note = None, "Last-Event-ID is ahead of this database: starting from now"
        if self._seen is None:
            self._seen, self._cursor = ring.position, ring.end
        note = f": {self._note}\n" if self._note else ""
        return note.encode() + block(self._seen)

    def _sign_of_life(self) -> bytes:
        self._beating = False
        where = b"" if self._cursor is None else block(self._feed.ring.before(self._cursor), b"")
        return b": still here\n" + where + b"\n"

    async def _catch_up(self) -> AsyncIterator[bytes]:
        """What the feed has seen so far and this browser has not: from the ring, or from the table."""
        ring = self._feed.ring
        seen = self._seen if self._seen is not None else Position()
        target, end = ring.position, ring.end
        if ring.holds_all_after(seen):
            if chunk := _told(ring.missed(seen, self._wanted), seen, target):
                yield chunk
        else:
            async for lines in self._missed(seen, target):
                if chunk := _told(lines, seen, target):
                    yield chunk
        self._seen, self._cursor = target, end

    async def _missed(self, seen: Position, target: Position) -> AsyncIterator[list[Line]]:
        after, more = 0, True
        while more and not self._gone:
            try:
                async with self._feed.catching_up, self._feed.database.connection() as connection:
                    rows = await store.missed(
                        connection, seen_high=seen.high, seen_gaps=seen.gaps, high=target.high, gaps=target.gaps,
                        after=after, run=self._wanted.run_id, entity=self._wanted.entity, levels=self._wanted.levels,
                        limit=_BATCH, scope=self._wanted.scope,
                    )  # fmt: skip
            except StoreError:  # the reader says so in the log
                await asyncio.sleep(1)
                continue
            yield [Line.of(row, seen.towards(target, row["id"])) for row in rows]
            more = len(rows) == _BATCH
            after = rows[-1]["id"] if rows else after


def _told(lines: Iterable[Line], seen: Position, target: Position) -> bytes:
    """Lines by id, for somebody on the way from one position to another, who has arrived after the last of them."""
    return b"".join(line.at(seen.towards(target, line.id)) for line in lines)


async def _end(tasks: Iterable["asyncio.Task[None]"]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
