"""The pacer that all processes share: it fetches the right to send from one desk, many requests at a time.

A grant is good for a quarter of a second at most, so an unlimited connection costs four questions a second however many
requests it sends. Bad news (a fault, a 429, a first header) void the grant at once and are told before anything else is
sent. Without the desk nothing is sent.
"""

import asyncio
import contextlib
import uuid
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Protocol

from keepstep.model.diagnosis import said
from keepstep.model.errors import BreakerOpen, KeepstepError, RateLimited
from keepstep.reliability.pacing import Turn
from keepstep.reliability.politeness import Ask, Cause, Grant, Rules, Wait
from keepstep.reliability.retry import LONGEST_SLEEP
from keepstep.reliability.sharing import TTL
from keepstep.reliability.standing import code_of, reason
from keepstep.reliability.turns import Lease, Turns, Waiter

IDLE = 10.0
"""Seconds without a request after which the desk is closed."""
NOTICEABLE = 0.02
"""Seconds within which an answer is usual."""
LONGEST_CLOSE = 5.0
_BREAKER = (Cause.BREAKER, Cause.PROBE)


@dataclass(frozen=True, slots=True)
class Reply:
    """The desk's answer: ``now`` is its clock, in seconds since 1970, ``asked`` the loop's time when the question left.

    ``counted`` are the requests by status code that it has written down, ``sampled`` whether it noted the wait.
    """

    answer: Grant | Wait
    now: float
    asked: float
    counted: Counter[str]
    sampled: bool


class Desk(Protocol):
    """Where the state is kept and questions are decided, one at a time."""

    async def ask(self, question: Ask, rules: Rules, codes: Counter[str], waited: float) -> Reply:
        """Decide about a question. ``waited``: the longest wait of a request lately. Raises ``KeepstepError``."""
        ...

    async def close(self) -> None:
        """Give back what it holds open; a later question opens it again."""
        ...


class SharedPacer:
    """The limits of one connection, held by all processes together. ``title`` names upstream in messages.

    Used by one event loop. It opens nothing before the first request, and closes by itself what it no longer needs.
    ``rules`` may be replaced at any time.
    """

    def __init__(self, desk: Desk, rules: Rules, *, title: str) -> None:
        self.rules = rules
        self._desk = desk
        self._title = title
        self._turns = Turns()
        self._holder = uuid.uuid4().hex[:12]
        self._number = 0
        self._delay = 0.0
        self._fetching: asyncio.Task[None] | None = None
        self._closing = False

    @property
    def max_concurrency(self) -> int:
        """How many requests may be in flight at best."""
        return self.rules.max_concurrency

    @asynccontextmanager
    async def turn(self, *, patience: float = LONGEST_SLEEP) -> AsyncIterator[Turn]:
        """The right to have one request in flight; waits for it. Cancelling the wait gives everything back.

        Raises ``RateLimited`` instead of waiting longer than ``patience`` seconds, ``BreakerOpen`` while the circuit
        breaker is open, the desk's error when it stays away. No request has left then.
        """
        if self._fetching is None:
            self._fetching = asyncio.create_task(self._fetch())
        await self._turns.start(patience)
        turn = Turn()
        try:
            yield turn
        finally:
            self._turns.ended(turn.outcome)

    async def aclose(self) -> None:
        """Report what is left to report and give everything back. Requests in flight must have ended."""
        fetching = self._fetching
        if fetching is None:
            return
        self._closing = True
        self._turns.looked.set()
        await asyncio.wait({fetching}, timeout=LONGEST_CLOSE)
        fetching.cancel()
        await asyncio.gather(fetching, return_exceptions=True)
        self._closing = False

    async def _fetch(self) -> None:
        """Ask when there is something to ask, until nothing has happened for a while."""
        loop, turns = asyncio.get_running_loop(), self._turns
        idle_since = loop.time()
        try:
            while not self._closing:
                now = loop.time()
                if turns.waiters or turns.busy or turns.held or turns.news:
                    idle_since = now
                elif now >= idle_since + IDLE:
                    return
                turns.looked.clear()
                if turns.must_ask(now):
                    await self._ask()
                else:
                    await self._nap(min(turns.look_at(now), idle_since + IDLE) - now)
            if turns.news or turns.held:
                await self._ask()
        except Exception as error:
            turns.fail(error)
            if not isinstance(error, KeepstepError):
                raise
        finally:
            self._fetching = None
            turns.fail(None)
            await self._desk.close()

    async def _nap(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(max(seconds, 0.001)):
                await self._turns.looked.wait()

    async def _ask(self) -> None:
        loop, turns = asyncio.get_running_loop(), self._turns
        self._number += 1
        question = turns.question(self._holder, self._number, self._delay, loop.time())
        reply = await self._desk.ask(question, self.rules, Counter(turns.news.codes), turns.longest_wait)
        now, answer = loop.time(), reply.answer
        turns.news.codes -= reply.counted
        if reply.sampled:
            turns.longest_wait = 0.0
        took = now - reply.asked
        self._delay = took if took > NOTICEABLE else 0.0
        if isinstance(answer, Grant):
            starts = None if answer.starts is None else deque(now + start - reply.now for start in answer.starts)
            until = now + answer.until - reply.now if took < TTL / 2 else now
            turns.granted(Lease(answer.places, until, starts, answer.watched), now)
            return
        until = now + answer.until - reply.now
        if answer.cause is Cause.RATE:
            until -= self._delay  # a start of its own can be fetched a little before
        shut = Wait(until, answer.cause, answer.window)
        for waiter in turns.shut(shut, now):
            self._refuse(waiter, shut, now)

    def _refuse(self, waiter: Waiter, wait: Wait, now: float) -> None:
        if waiter.start.done():
            return
        after = max(wait.until - now, 1.0)
        code = code_of(wait)
        kind = BreakerOpen if wait.cause in _BREAKER else RateLimited
        refusal = kind(reason(wait, self.rules, self._title, after), after=after, fix=said(code, title=self._title).fix)
        refusal.code = code
        waiter.start.set_exception(refusal)
