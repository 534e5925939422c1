"""What all processes together may send to one upstream: one value, and the decision about each question put to it.

::

    Ask (a process: so many requests wait, so many are in flight, this is what became of others)
      └─► decide(state, rules, ask, now)
            ├─ hear the report       breaker, ramp, windows, budgets, pause
            ├─ is anything shut?     breaker open, its probe out, a pause asked for        ─► Wait
            ├─ how many places?       ramp, breaker near its threshold, the others' part    ─► Wait
            ├─ how many starts?      budgets of the headers, windows of the vendor         ─► Wait
            └─ when?                 evenly spaced by the ceiling                          ─► Grant or Wait

Pure: ``now`` is handed in, and the new state is given back. Times are seconds since 1970 on one clock.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from keepstep.reliability import budgets as headers
from keepstep.reliability.breaker import Breaker, Phase
from keepstep.reliability.budgets import Budget
from keepstep.reliability.pacing import TIMER_SLACK, Heard, Verdict
from keepstep.reliability.ramp import Ramp
from keepstep.reliability.retry import LONGEST_SLEEP, ceiling
from keepstep.reliability.sharing import TTL, Holder, seated, share
from keepstep.reliability.windows import Sends, Window

AHEAD = 0.25
"""Seconds for which a holder that is alone is told its starts in advance."""
AHEAD_TOGETHER = 0.05
"""The same where others are there, or the ramp is still rising: what one learns all must soon know."""
MOST_DELAY = 1.0
"""Seconds that are added at most for one whose answers take long."""
POLL = 0.1
"""Seconds until one who waits for another holder asks again."""
BACK = 5.0
"""A clock that was set back by more than so many seconds takes all times with it; a smaller step is waited out."""


class Cause(StrEnum):
    """Why a request may not leave yet."""

    BREAKER = "breaker"
    PROBE = "probe"
    PAUSE = "retry-after"
    CONCURRENCY = "concurrency"
    HEADERS = "headers"
    WINDOW = "window"
    RATE = "rate"


@dataclass(frozen=True, slots=True)
class Rules:
    """What was configured for a connection, and what its vendor allows. ``per_second`` 0: no ceiling of ours."""

    max_concurrency: int = 2
    per_second: float = 0.0
    windows: tuple[Window, ...] = ()
    breaker_threshold: int = 5
    breaker_cooldown: float = 60.0


@dataclass(frozen=True, slots=True)
class Report:
    """What became of requests since the last question, in order: verdicts with their counts.

    ``sent`` counts what went over the wire, ``refused`` the answers 429. ``pause`` is the longest Retry-After.
    """

    outcomes: tuple[tuple[Verdict, int], ...] = ()
    sent: int = 0
    refused: int = 0
    pause: float | None = None
    heard: tuple[Heard, ...] = ()


@dataclass(frozen=True, slots=True)
class Ask:
    """A question of one holder. ``number`` counts its questions: a report is heard once under each.

    ``starts`` is how many starts it can use soon, ``unused`` how many of those it was given it did not use, ``delay``
    how many seconds an answer takes.
    """

    holder: str
    number: int
    waiting: int = 0
    busy: int = 0
    starts: int = 1
    unused: int = 0
    delay: float = 0.0
    report: Report = field(default_factory=Report)


@dataclass(frozen=True, slots=True)
class Grant:
    """Up to ``places`` requests in flight until ``until``, started at ``starts`` (None: whenever; late ones are void).

    ``watched``: the outcome of each is to be reported at once.
    """

    places: int
    until: float
    starts: tuple[float, ...] | None = None
    watched: bool = False


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing may start before ``until``. ``window`` is the vendor's limit that is used up."""

    until: float
    cause: Cause
    window: Window | None = None


class Politeness(Struct, frozen=True, omit_defaults=True):
    """What is known of one upstream. ``limited`` counts answers 429 in a row."""

    at: float = 0.0
    breaker: Breaker = Breaker()
    ramp: Ramp = Ramp()
    sends: tuple[Sends, ...] = ()
    budgets: tuple[Budget, ...] = ()
    holders: dict[str, Holder] = msgspec.field(default_factory=dict)
    next_start: float = 0.0
    pause_until: float = 0.0
    limited: int = 0

    @classmethod
    def stored(cls, text: bytes | str) -> "Politeness":
        """From its JSON. What can't be read is forgotten: limits are learned again."""
        try:
            return msgspec.json.decode(text, type=cls)
        except msgspec.MsgspecError:
            return cls()

    def stored_form(self) -> bytes:
        """As JSON."""
        return msgspec.json.encode(self)


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer to a question, and the state after it. ``fresh``: the report was not heard before."""

    state: Politeness
    answer: Grant | Wait
    fresh: bool


def decide(state: Politeness, rules: Rules, ask: Ask, now: float) -> Decision:
    """Answer one question. Give the state to the next one."""
    state = on_clock(state, now)
    now = state.at
    state = _without_the_dead(state, ask.holder, now)
    known = state.holders.get(ask.holder)
    fresh = known is None or known.number < ask.number
    state = _heard(state, rules, ask, now) if fresh else state
    if not ask.busy:
        state = replace(state, breaker=state.breaker.without(ask.holder))
    mine = replace(
        known or Holder(seen=now), seen=now, number=ask.number, wants=ask.waiting + ask.busy, pending=ask.busy
    )
    others = [holder for name, holder in state.holders.items() if name != ask.holder]
    if not ask.waiting:
        answer: Grant | Wait = Grant(ask.busy, now, ())
        mine = replace(mine, places=ask.busy, turn=mine.turn if ask.busy else None, since=None, reserved=None)
    else:
        state = replace(state, ramp=state.ramp.used(now))
        state, mine, answer = _allot(state, rules, ask, mine, others, now)
    if not mine.pending:
        state = replace(state, breaker=state.breaker.without(ask.holder))
    return Decision(replace(state, holders={**state.holders, ask.holder: mine}), answer, fresh)


def close_breaker(state: Politeness) -> Politeness:
    """The state after somebody closed the breaker by force. Pauses and limits stay."""
    return replace(state, breaker=Breaker())


def on_clock(state: Politeness, now: float) -> Politeness:
    """The state at ``now``. Time does not run backwards in it: a clock that was set back takes everything along."""
    step = now - state.at
    if step >= 0:
        return replace(state, at=now)
    if step >= -BACK:
        return state
    return replace(
        state,
        at=now,
        breaker=state.breaker.moved(step),
        ramp=state.ramp.moved(step),
        sends=tuple(sends.moved(step) for sends in state.sends),
        budgets=headers.moved(state.budgets, step),
        holders={name: holder.moved(step) for name, holder in state.holders.items()},
        next_start=state.next_start + step,
        pause_until=state.pause_until + step,
    )


def _without_the_dead(state: Politeness, asking: str, now: float) -> Politeness:
    """Requests that a dead process had been let go count as sent."""
    dead = {name: h for name, h in state.holders.items() if name != asking and not h.alive(now)}
    if not dead:
        return state
    pending = sum(holder.pending for holder in dead.values())
    breaker = state.breaker
    for name in dead:
        breaker = breaker.without(name)
    return replace(
        state,
        breaker=breaker,
        sends=tuple(sends.added(pending, now) for sends in state.sends),
        holders={name: holder for name, holder in state.holders.items() if name not in dead},
    )


# The report


def _heard(state: Politeness, rules: Rules, ask: Ask, now: float) -> Politeness:
    report = ask.report
    breaker, ramp, limited = state.breaker, state.ramp, state.limited
    for verdict, count in report.outcomes:
        breaker = breaker.heard(
            verdict, count, now,
            holder=ask.holder, threshold=rules.breaker_threshold, cooldown=rules.breaker_cooldown,
        )  # fmt: skip
        if verdict is Verdict.GOOD:
            ramp, limited = ramp.raised(count, rules.max_concurrency), 0
        elif verdict is not Verdict.UNCLEAR:
            ramp, limited = ramp.cut(now), limited + (count if verdict is Verdict.LIMITED else 0)
    pause = report.pause
    if pause is None and any(verdict is Verdict.LIMITED for verdict, _ in report.outcomes):
        pause = ceiling(max(limited, 1))
    pending = ask.busy + sum(holder.pending for name, holder in state.holders.items() if name != ask.holder)
    found = headers.spent(headers.current(state.budgets, now), -ask.unused)
    for heard in report.heard:
        found = headers.noted(found, heard.limit, heard.remaining, heard.reset_in, pending, now)
    return replace(
        state,
        breaker=breaker,
        ramp=ramp,
        limited=limited,
        sends=_told(_counted(state.sends, rules, report.sent, now), rules, report, now),
        budgets=found,
        pause_until=max(state.pause_until, now + pause) if pause is not None else state.pause_until,
    )


def _counted(sends: tuple[Sends, ...], rules: Rules, count: int, now: float) -> tuple[Sends, ...]:
    """What was sent, for each of the vendor's windows, in their order."""
    known = {one.seconds: one for one in sends}
    return tuple(known.get(w.seconds, Sends(w.seconds)).added(count, now) for w in rules.windows)


def _told(sends: tuple[Sends, ...], rules: Rules, report: Report, now: float) -> tuple[Sends, ...]:
    """Whether upstream has shown that its limits are in force. Headers that name another limit show another plan."""
    limits = {window.limit for window in rules.windows}
    if not report.refused and not any(heard.limit in limits for heard in report.heard):
        return sends
    return tuple(one.told(window, now) for one, window in zip(sends, rules.windows, strict=True))


# The answer


def _allot(
    state: Politeness, rules: Rules, ask: Ask, mine: Holder, others: Sequence[Holder], now: float
) -> tuple[Politeness, Holder, Grant | Wait]:
    held = replace(mine, places=ask.busy)
    phase = state.breaker.phase(now)
    if phase is Phase.OPEN:
        return state, held, Wait(state.breaker.reopens_at or now, Cause.BREAKER)
    if phase is Phase.HALF_OPEN and (ask.busy or state.breaker.probe or any(other.places for other in others)):
        return state, held, Wait(now + POLL, Cause.PROBE)
    if state.pause_until > now:
        return state, held, Wait(state.pause_until, Cause.PAUSE)

    total = _slots(state, rules, phase)
    allowed = share(mine, others, total, now)
    mine = seated(mine, allowed, ask.busy, now)
    if not allowed:
        return state, mine, Wait(now + POLL, Cause.CONCURRENCY)

    careful = state.breaker.failures > 0
    room, shut = _room(state, rules, ask.busy + sum(other.pending for other in others), now)
    count = ask.starts if room is None else min(ask.starts, room)
    if careful:
        count = min(count, max(allowed - ask.busy, 0))
    if shut is not None:
        return state, replace(mine, places=ask.busy), shut
    alone = not any(other.wants for other in others)
    until = now + (AHEAD if alone and total >= rules.max_concurrency else AHEAD_TOGETHER) + min(ask.delay, MOST_DELAY)
    if phase is Phase.HALF_OPEN:
        state = replace(state, breaker=state.breaker.probing(ask.holder))
    if not careful and room is None and not rules.per_second:
        return state, replace(mine, pending=mine.places), Grant(allowed, until)
    return _timed(state, rules, mine, allowed, count, until, free=allowed > ask.busy)


def _slots(state: Politeness, rules: Rules, phase: Phase) -> int:
    """Requests in flight at most, of all holders. Near the threshold of the breaker no more than may still fail."""
    total = state.ramp.places(rules.max_concurrency)
    if phase is Phase.HALF_OPEN:
        return 1
    if state.breaker.failures:
        return max(1, min(total, rules.breaker_threshold - state.breaker.failures))
    return total


def _room(state: Politeness, rules: Rules, pending: int, now: float) -> tuple[int | None, Wait | None]:
    """How many requests budgets and windows still let go (None: they say nothing), and the wait if it is none."""
    room: int | None = None
    shut: Wait | None = None
    for budget in headers.current(state.budgets, now):
        room = budget.remaining if room is None else min(room, budget.remaining)
        if not budget.remaining and (shut is None or budget.reset > shut.until):
            shut = Wait(budget.reset, Cause.HEADERS)
    for sends, window in zip(state.sends, rules.windows, strict=False):
        if not sends.holds(now):
            continue
        left = max(window.limit - sends.count(now) - pending, 0)
        room = left if room is None else min(room, left)
        free_at = sends.free_at(window, pending, now)
        until = now + POLL if free_at is None else free_at
        if not left and (shut is None or until > shut.until):
            shut = Wait(until, Cause.WINDOW, window)
    return room, shut


def _timed(
    state: Politeness, rules: Rules, mine: Holder, allowed: int, count: int, until: float, *, free: bool
) -> tuple[Politeness, Holder, Grant | Wait]:
    """Starts for up to ``count`` requests, evenly spaced. One further ahead is reserved, and asked for again."""
    now, interval = state.at, 1 / rules.per_second if rules.per_second else 0.0
    starts: list[float] = []
    reserved, next_start = mine.reserved, state.next_start
    if reserved is not None and (reserved <= until or reserved > now + LONGEST_SLEEP):
        if count and now - TTL < reserved <= until:
            starts.append(max(now, reserved))
        reserved = None
    while reserved is None and len(starts) < count:
        start = max(now, next_start)
        if start > until:
            break
        starts.append(start)
        next_start = max(next_start, now - TIMER_SLACK) + interval
    wait = None
    if not starts and count and free:
        if reserved is None and next_start <= now + LONGEST_SLEEP:
            reserved, next_start = next_start, next_start + interval
        wait = Wait(reserved if reserved is not None else next_start, Cause.RATE)
    mine = replace(mine, pending=mine.pending + len(starts), reserved=reserved)
    state = replace(
        state, next_start=next_start, budgets=headers.spent(headers.current(state.budgets, now), len(starts))
    )
    return state, mine, wait or Grant(allowed, until, tuple(starts), watched=state.breaker.failures > 0)
