"""Several processes that share a desk in memory, and an upstream that counts; all in one event loop."""

import asyncio
import random
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass, field

from keepstep.model.errors import RateLimited
from keepstep.reliability.pacing import Heard, Outcome, Verdict
from keepstep.reliability.politeness import Ask, Politeness, Rules, decide
from keepstep.reliability.shared_pacer import Reply, SharedPacer
from keepstep.reliability.windows import Window

EPOCH = 1_800_000_000.0


class MemoryDesk:
    """The state in memory, stored as JSON between two questions as the database stores it."""

    def __init__(self, *, latency: float = 0.004) -> None:
        self.text = b"{}"
        self.latency = latency
        self.questions = 0
        self.turn_back = 0.0
        self.codes: Counter[str] = Counter()
        self._lock = asyncio.Lock()

    def now(self) -> float:
        """The desk's clock."""
        return EPOCH + asyncio.get_running_loop().time() - self.turn_back

    @property
    def state(self) -> Politeness:
        """The state as it is stored."""
        return Politeness.stored(self.text)

    async def ask(self, question: Ask, rules: Rules, codes: Counter[str], waited: float) -> Reply:
        """Decide, one question at a time."""
        asked = asyncio.get_running_loop().time()
        await asyncio.sleep(self.latency / 2)
        async with self._lock:
            now = self.now()
            decision = decide(self.state, rules, question, now)
            self.text = decision.state.stored_form()
            self.questions += 1
        await asyncio.sleep(self.latency / 2)
        self.codes += codes
        return Reply(decision.answer, now, asked, codes, sampled=True)

    async def close(self) -> None:
        """Nothing is open."""


@dataclass
class Arrival:
    """A request as upstream saw it."""

    at: float
    status: int


@dataclass
class Counting:
    """An upstream with windows that open with their first request, or slide. ``headers``: it tells what is left."""

    windows: tuple[Window, ...] = ()
    sliding: bool = False
    headers: bool = False
    latency: tuple[float, float] = (0.01, 0.2)
    status: Callable[[float], int] = lambda _now: 200
    rng: random.Random = field(default_factory=lambda: random.Random(1))
    arrivals: list[Arrival] = field(default_factory=list)
    in_flight: int = 0
    most: int = 0
    _opened: dict[Window, tuple[float, int]] = field(default_factory=dict)
    _log: dict[Window, deque[float]] = field(default_factory=dict)

    async def request(self) -> Outcome:
        """One request and its answer."""
        loop = asyncio.get_running_loop()
        self.in_flight += 1
        self.most = max(self.most, self.in_flight)
        try:
            await asyncio.sleep(self.rng.uniform(*self.latency) / 2)
            outcome = self._answer(loop.time())
            await asyncio.sleep(self.rng.uniform(*self.latency) / 2)
            return outcome
        finally:
            self.in_flight -= 1

    def _answer(self, now: float) -> Outcome:
        status, left = self.status(now), [(w, *self._left(w, now)) for w in self.windows]
        full = [reset for _, room, reset in left if room <= 0]
        if status == 200 and full:
            status = 429
        self.arrivals.append(Arrival(now, status))
        if status == 429:
            return Outcome(Verdict.LIMITED, 429, retry_after=float(int(max(full, default=0.0)) + 1))
        if status >= 500:
            return Outcome(Verdict.FAILED, status)
        for window in self.windows:
            self._log.setdefault(window, deque()).append(now)
            opened, used = self._opened.get(window, (now, 0))
            self._opened[window] = (now, 1) if now >= opened + window.seconds else (opened, used + 1)
        heard = None
        if self.headers and left:
            window, room, reset = min(left, key=lambda entry: entry[1])
            heard = Heard(window.limit, room - 1, float(int(reset)))
        return Outcome(Verdict.GOOD, 200, heard)

    def _left(self, window: Window, now: float) -> tuple[int, float]:
        """How many requests still fit in, and the seconds until the next does if none."""
        if self.sliding:
            log = self._log.setdefault(window, deque())
            while log and log[0] <= now - window.seconds:
                log.popleft()
            return window.limit - len(log), log[0] + window.seconds - now if log else window.seconds
        opened, used = self._opened.get(window, (now, 0))
        if now >= opened + window.seconds:
            return window.limit, window.seconds
        return window.limit - used, opened + window.seconds - now


async def worker(pacer: SharedPacer, upstream: Counting, count: int, ahead: int) -> int:
    """Send ``count`` requests, up to ``ahead`` of them at a time; sit long waits out. Gives how many came through."""
    left = done = 0

    async def one() -> None:
        nonlocal done
        while True:
            try:
                async with pacer.turn() as turn:
                    outcome = await upstream.request()
                    turn.ended(outcome)
            except RateLimited as error:
                await asyncio.sleep(error.after or 1.0)
                continue
            if outcome.verdict is Verdict.GOOD:
                done += 1
                return

    left = count
    running: set[asyncio.Task[None]] = set()
    while left or running:
        while left and len(running) < ahead:
            running.add(asyncio.create_task(one()))
            left -= 1
        _, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
    return done
