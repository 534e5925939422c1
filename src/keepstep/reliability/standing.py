"""How a connection's politeness stands, for people to read."""

from dataclasses import dataclass
from datetime import UTC, datetime

from keepstep.model.diagnosis import said
from keepstep.model.integration import RateLimit
from keepstep.reliability import budgets as headers
from keepstep.reliability.politeness import Cause as Why
from keepstep.reliability.politeness import Politeness, Rules, Wait

_MINUTE = 60.0


@dataclass(frozen=True, slots=True)
class BreakerStanding:
    """``state``: closed, open or half-open. ``failures``: hard ones in a row."""

    state: str
    opened_at: datetime | None
    reopens_at: datetime | None
    failures: int


def breaker_standing(state: Politeness, now: float) -> BreakerStanding:
    """The breaker now."""
    breaker = state.breaker
    return BreakerStanding(
        breaker.phase(now).value, _moment(breaker.opened_at), _moment(breaker.reopens_at), breaker.failures
    )


def rate_standing(state: Politeness, rules: Rules, now: float) -> RateLimit | None:
    """What is left: by upstream's headers, else by our count within the vendor's windows; None when neither holds."""
    budget = headers.tightest(headers.current(state.budgets, now))
    if budget is not None:
        return RateLimit(budget.limit, budget.remaining, _moment(budget.reset))
    held = []
    for sends, window in zip(state.sends, rules.windows, strict=False):
        if sends.holds(now):
            used = sends.count(now)
            first = next((end for end, _ in sends.log if end + sends.seconds > now), None)
            reset = None if first is None else _moment(first + sends.seconds)
            held.append(RateLimit(window.limit, max(window.limit - used, 0), reset))
    return min(held, key=lambda limit: limit.remaining or 0, default=None)


def reason(wait: Wait, rules: Rules, title: str, seconds: float) -> str:
    """Why nothing is sent, as a sentence."""
    until = f"the next request may leave in {duration(seconds)}"
    match wait.cause:
        case Why.BREAKER | Why.PROBE:
            return said("breaker-open", title=title, count=duration(seconds)).message
        case Why.PAUSE:
            return f"{title} asked for a pause: {until}."
        case Why.HEADERS:
            return f"{title} says that its limit of requests is used up: {until}."
        case Why.WINDOW if wait.window is not None:
            limit = f"{wait.window.limit} requests in {duration(wait.window.seconds)}"
            return f"{title} allows {limit}, and they are used up: {until}."
        case Why.CONCURRENCY:
            return f"Every request that {title} may have in flight is in use by other processes."
        case _:
            return f"The ceiling of {rules.per_second:g} requests a second leaves no room now: {until}."


def code_of(wait: Wait) -> str:
    """What ``model/diagnosis.py`` calls it."""
    if wait.cause in (Why.BREAKER, Why.PROBE):
        return "breaker-open"
    if wait.window is None:
        return "rate-limited"
    return "rate-limited-minute" if wait.window.seconds <= _MINUTE else "rate-limited-hour"


def duration(seconds: float) -> str:
    """Seconds, minutes or hours in words."""
    if seconds < 120:
        return f"{max(seconds, 1):.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _moment(seconds: float | None) -> datetime | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC)
