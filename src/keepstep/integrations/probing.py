"""Looking at an upstream for somebody who waits: what came of it becomes a ``Ping`` or a ``Check``, in words."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import msgspec
from msgspec import Raw

from keepstep.integrations.drift import types_of
from keepstep.integrations.http import Response
from keepstep.model.diagnosis import said
from keepstep.model.errors import BreakerOpen, Permanent, RateLimited, UpstreamError
from keepstep.model.integration import Check, Ping, RateLimit
from keepstep.reliability.clock import Clock

SLOW_SECONDS = 5.0
PING_SECONDS = 20.0
PING_PATIENCE = 5.0
"""Seconds that somebody who looks on waits for our own limits."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What came of a look that went well. ``words`` say so; ``count``: how many records there were to see."""

    words: str
    count: int = 0
    response: Response | None = None


async def ping(
    look: Callable[[], Awaitable[Seen]], *, base_url: str, facts: Mapping[str, object], clock: Clock
) -> Ping:
    """Look, and say how it went. Never raises for what upstream does."""
    started = clock.monotonic()
    try:
        async with asyncio.timeout(PING_SECONDS):
            seen = await look()
    except TimeoutError:
        return _failed(Permanent.named("answer-timeout", facts=facts), base_url, _elapsed_ms(clock, started))
    except UpstreamError as error:
        return _failed(error, base_url, _elapsed_ms(clock, started))
    elapsed = _elapsed_ms(clock, started)
    slow = elapsed > SLOW_SECONDS * 1000
    slowly = said("upstream-slow", count=f"{elapsed / 1000:.1f}", **facts)
    date = seen.response.date if seen.response else None
    return Ping(
        ok=True,
        state="degraded" if slow else "ok",
        reason=slowly.message if slow else seen.words,
        base_url=base_url,
        authenticated=True,
        sample_count=seen.count,
        elapsed_ms=elapsed,
        rate_limit=seen.response.rate_limit if seen.response else None,
        fix=slowly.fix if slow else "",
        code=slowly.code if slow else "",
        clock_ahead=None if date is None else (date - clock.now()).total_seconds(),
    )


def failed_check(error: UpstreamError, endpoint: str) -> Check:
    """What an endpoint answers that gave no data."""
    status = error.answer.status if error.answer else None
    return Check(status, endpoint, (), None, error.message, False, error.fix, error.code)


def good_check(endpoint: str, status: int | None, records: Sequence[Raw], total: int | None, message: str) -> Check:
    """What an endpoint answers that gave some of its records."""
    return Check(
        status, endpoint, _keys_of(records), total, message, True, sampled=len(records), types=types_of(records)
    )


def _failed(error: UpstreamError, base_url: str, elapsed: int) -> Ping:
    limited = isinstance(error, RateLimited) and not isinstance(error, BreakerOpen)
    return Ping(
        ok=limited,
        state="degraded" if limited else "failing",
        reason=error.message,
        base_url=base_url,
        authenticated=False,
        sample_count=0,
        elapsed_ms=elapsed,
        rate_limit=RateLimit(remaining=0) if limited else None,
        fix=error.fix,
        code=error.code,
    )


def _elapsed_ms(clock: Clock, started: float) -> int:
    return round((clock.monotonic() - started) * 1000)


def _keys_of(records: Sequence[Raw]) -> tuple[str, ...]:
    """The keys of the first record; none where it cannot be decoded."""
    if not records:
        return ()
    try:
        return tuple(msgspec.json.decode(records[0], type=dict[str, Raw]))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ()
