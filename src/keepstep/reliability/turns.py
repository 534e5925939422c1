"""The requests of one process that wait for their turn, under a grant that holds for a moment.

``SharedPacer`` fetches the grants; this is the rest of it, and knows of no database. All times are the event loop's.
"""

import asyncio
from collections import deque
from dataclasses import dataclass, field

from keepstep.reliability.news import News
from keepstep.reliability.pacing import Outcome, Verdict
from keepstep.reliability.politeness import AHEAD, Ask, Cause, Wait

RENEW = 2.0
"""Seconds after which one who waits or has requests in flight shows that it lives."""
LAZY = 1.0
"""Seconds for which good news may wait."""
LEAD = 0.05
"""Seconds before the end of a grant at which the next one is asked for."""
LINGER = 0.15
"""Seconds without a request after which the places are given back."""


@dataclass(slots=True, eq=False)
class Waiter:
    """A request that wants to leave. ``first``: when it came to the head of the queue."""

    patience: float
    queued: float
    start: "asyncio.Future[float]"
    first: float | None = None

    def left(self, now: float) -> float:
        """Seconds for which it may still wait."""
        return self.patience - (0.0 if self.first is None else now - self.first)


@dataclass(slots=True)
class Lease:
    """What was granted. ``starts`` None: whenever one likes."""

    places: int = 0
    until: float = 0.0
    starts: deque[float] | None = field(default_factory=deque)
    watched: bool = False


class Turns:
    """Queue, lease and news of one process. ``looked`` is set when whoever fetches grants should look again."""

    def __init__(self) -> None:
        self.looked = asyncio.Event()
        self.news = News()
        self.waiters: deque[Waiter] = deque()
        self.busy = 0
        self.frozen = False
        """Set while a question is under way: what it said must stay true."""
        self.longest_wait = 0.0
        self._lease = Lease()
        self._shut: Wait | None = None
        self._urgent = False
        self.held = False
        """Whether places may be ours by the last answer."""
        self._revoked = self._unused = self._started = 0
        self._news_since = self._asked = self._active = 0.0
        self._lead = LEAD

    # What a request goes through

    async def start(self, patience: float) -> None:
        """Wait until a request may leave. ``ended`` must follow. Raises what ``refuse`` and ``fail`` were given."""
        loop = asyncio.get_running_loop()
        arrived = loop.time()
        again = False
        while True:
            if not self.waiters and self._ready(loop.time()):
                start = self._take(loop.time())
            else:
                start = await self._queued(Waiter(patience, arrived, loop.create_future()), front=again)
            revoked = self._revoked
            try:
                if start > loop.time():
                    await asyncio.sleep(start - loop.time())
            except asyncio.CancelledError:
                self._give_back()
                raise
            if revoked == self._revoked and loop.time() <= start + AHEAD:
                self.longest_wait = max(self.longest_wait, loop.time() - arrived)
                return
            self._give_back()
            again = True

    def ended(self, outcome: Outcome | None) -> None:
        """A request is over. One without an outcome may have been sent."""
        now = asyncio.get_running_loop().time()
        outcome = outcome or Outcome(Verdict.UNCLEAR)
        self._news_since = self._news_since if self.news else now
        self.news.add(outcome, now)
        self.busy -= 1
        self._active = now
        bad = outcome.verdict in (Verdict.FAILED, Verdict.LIMITED)
        if bad or self._lease.watched or (outcome.heard is not None and self._lease.starts is None):
            self._urgent = True
            self._revoke()
        else:
            self._serve(now)
        if self._urgent or self.waiters or not self.busy:
            self.looked.set()

    async def _queued(self, waiter: Waiter, *, front: bool) -> float:
        if front:
            self.waiters.appendleft(waiter)
        else:
            self.waiters.append(waiter)
        self.looked.set()
        try:
            return await waiter.start
        except asyncio.CancelledError:
            if waiter in self.waiters:
                self.waiters.remove(waiter)
            elif waiter.start.done() and not waiter.start.cancelled() and waiter.start.exception() is None:
                self._give_back()
            raise

    def _ready(self, now: float) -> bool:
        lease = self._lease
        if self.frozen or self.busy >= lease.places or now >= lease.until:
            return False
        while lease.starts and lease.starts[0] + AHEAD < now:
            lease.starts.popleft()
            self._unused += 1
        return lease.starts is None or bool(lease.starts)

    def _take(self, now: float) -> float:
        self.busy += 1
        self._started += 1
        self._active = now
        return self._lease.starts.popleft() if self._lease.starts is not None else now

    def _serve(self, now: float) -> None:
        while self.waiters and self._ready(now):
            waiter = self.waiters.popleft()
            if not waiter.start.done():
                waiter.start.set_result(self._take(now))
        if self.waiters and self.waiters[0].first is None:
            self.waiters[0].first = now

    def _give_back(self) -> None:
        self.busy -= 1
        self._unused += 1
        self._active = asyncio.get_running_loop().time()
        self.looked.set()

    def _revoke(self) -> None:
        self._revoked += 1
        self._unused += len(self._lease.starts or ())
        self._lease = Lease()
        self._shut = None

    # What whoever fetches grants goes through

    def must_ask(self, now: float) -> bool:
        """Whether it is time for a question."""
        if self._urgent:
            return True
        if self.waiters and self._lease.starts is None and now >= self._lease.until - self._lead:
            return True
        if self.waiters and not self._ready(now):
            if self._shut is not None:
                return now >= min(self._shut.until, self._asked + RENEW)
            return now >= self._lease.until or self.busy < self._lease.places
        if self.busy:
            return now >= self._asked + RENEW or (bool(self.news) and now >= self._news_since + LAZY)
        return not self.waiters and (self.held or bool(self.news)) and now >= self._active + LINGER

    def look_at(self, now: float) -> float:
        """When to look again if nothing happens before."""
        if self.waiters:
            if self._shut is not None:
                return min(self._shut.until, self._asked + RENEW)
            return self._lease.until - (self._lead if self._lease.starts is None else 0.0)
        if self.busy:
            return min(self._asked + RENEW, self._news_since + LAZY if self.news else now + RENEW)
        return self._active + LINGER if self.held or self.news else now + RENEW

    def question(self, holder: str, number: int, delay: float, now: float) -> Ask:
        """What to ask. Nothing may start until the answer is there, but for what an open grant still allows."""
        lease, busy, unused = self._lease, self.busy, self._unused
        if self.waiters and lease.starts is None and now < lease.until and not self._urgent:
            busy = max(busy, lease.places)
        else:
            unused += len(lease.starts or ())
            self._lease, self.frozen = Lease(), True
        starts = len(self.waiters) + min(self._started, 1000)
        self._unused = self._started = 0
        self._urgent, self._asked, self._lead = False, now, LEAD + delay
        return Ask(holder, number, len(self.waiters), busy, max(starts, 1), unused, delay, self.news.taken(now))

    def granted(self, lease: Lease, now: float) -> None:
        """The answer is a grant. It is void where bad news have come since the question."""
        self.frozen, self._shut = False, None
        self.held = lease.places > 0
        self._lease = lease
        if self._urgent:
            self._revoke()
        self._serve(now)

    def shut(self, wait: Wait, now: float) -> list[Waiter]:
        """The answer is to wait; gives those who may not wait so long, out of the queue."""
        self.frozen, self._shut, self._lease, self.held = False, wait, Lease(), True
        self._serve(now)
        hopeless = [w for w in self.waiters if wait.cause is Cause.BREAKER or wait.until - now > w.left(now)]
        self.waiters = deque(w for w in self.waiters if w not in hopeless)
        self._serve(now)
        return hopeless

    def fail(self, error: Exception | None) -> None:
        """Nobody gets an answer any more: those who wait get the error, or are cancelled."""
        self.frozen, self._lease, self._shut, self.held = False, Lease(), None, False
        waiters, self.waiters = self.waiters, deque()
        for waiter in waiters:
            if waiter.start.done():
                continue
            if error is None:
                waiter.start.cancel()
            else:
                waiter.start.set_exception(error)
