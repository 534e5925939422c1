"""Whether what upstream allows is enough for the next full run, and how we ask it, in words. Pure."""

from dataclasses import dataclass

from keepstep.reliability.politeness import Rules
from keepstep.reliability.retry import BASE_SECONDS, CAP_SECONDS, FACTOR, LONGEST_SLEEP, MAX_ATTEMPTS


@dataclass(frozen=True, slots=True)
class Forecast:
    """``needed``: requests of the last full reading of each entity, None before there is one;
    ``left``: of this hour, None: unlimited.

    ``enough``: None where it cannot be told.
    """

    needed: int | None
    left: int | None
    enough: bool | None
    words: str


def forecast(needed: int | None, left: int | None, per_hour: int | None) -> Forecast:
    """What the next full run meets. ``per_hour``: what upstream allows in an hour, where it says."""
    if needed is None:
        words = "How many requests a full run needs is known once each entity was read in full."
        return Forecast(None, left, None, words)
    about = f"A full run needs about {needed:,} requests"
    if left is None:
        return Forecast(needed, None, None, f"{about}; upstream has named no limit.")
    if needed <= left:
        return Forecast(needed, left, True, f"{about}, {left:,} are left this hour: it goes through at once.")
    hours = "" if not per_hour else f" about {-(-(needed - left) // per_hour):,} h"
    return Forecast(
        needed,
        left,
        False,
        f"{about}, {left:,} are left this hour: it will wait{hours} for upstream's limit and go on.",
    )


def strategy(rules: Rules) -> list[str]:
    """How politely upstream is asked, from the numbers in effect."""
    windows = " and ".join(f"{window.limit:,} in {_span(window.seconds)}" for window in rules.windows)
    pace = f"{rules.per_second:g} requests a second and " if rules.per_second else ""
    return [
        f"At most {pace}{rules.max_concurrency} at a time, all workers together.",
        *([f"Upstream allows {windows}; below that, what its answers say is left holds."] if windows else []),
        f"A failed request is tried again up to {MAX_ATTEMPTS - 1} times: after a random pause of up to "
        f"{BASE_SECONDS:g} s, {FACTOR:g} times as long each time, {CAP_SECONDS:g} s at most. Retry-After wins.",
        f"A pause of more than {LONGEST_SLEEP:g} s gives the worker back: the run waits in the database.",
        f"After {rules.breaker_threshold} failures in a row nothing is sent for {rules.breaker_cooldown:g} s; then one "
        "request decides.",
    ]


def _span(seconds: float) -> str:
    named = {60: "a minute", 3600: "an hour", 86400: "a day"}
    return named.get(int(seconds), f"{seconds:g} s")
