"""What upstream's headers say is left: no more requests than that until the moment they name."""

from msgspec import Struct
from msgspec.structs import replace

EARLY = 1.0
"""Headers count in whole seconds: a window may end so much later than they say."""
UNSEEN = 60.0
"""Seconds until a new window is taken as another one, if no answer has said anything of it."""
SAME = 2.5
"""Moments that differ by fewer seconds are the end of the same window."""


class Budget(Struct, frozen=True):
    """One window of upstream's: ``remaining`` is what may still be sent before ``reset`` (seconds since 1970)."""

    limit: int
    remaining: int
    reset: float

    def at(self, now: float) -> "Budget":
        """As it is now: when its window is over, a new one has begun."""
        return self if now < self.reset else Budget(self.limit, self.limit, now + UNSEEN)


Budgets = tuple[Budget, ...]


def noted(
    budgets: Budgets, limit: int | None, remaining: int | None, reset_in: float | None, pending: int, now: float
) -> Budgets:
    """With what an answer said. Requests on their way may not be counted in it, so they are taken off.

    Windows are told apart by their limits. An answer that does not say what is left changes nothing.
    """
    if remaining is None:
        return budgets
    reset = now + (UNSEEN if reset_in is None else reset_in + EARLY)
    told = Budget(limit if limit is not None else max(remaining, 1), max(remaining - pending, 0), reset)
    kept = []
    for known in budgets:
        if limit is not None and known.limit != limit:
            kept.append(known)
        elif abs(known.reset - reset) < SAME:
            # Answers come out of order: within one window less is the truth.
            told = replace(told, remaining=min(told.remaining, known.remaining))
    return (*kept, told)


def spent(budgets: Budgets, count: int) -> Budgets:
    """After so many requests were let go, or came back unused (negative)."""
    if not count:
        return budgets
    return tuple(replace(b, remaining=min(max(b.remaining - count, 0), b.limit)) for b in budgets)


def current(budgets: Budgets, now: float) -> Budgets:
    """As they are now. One that has said nothing for a day is forgotten."""
    return tuple(budget.at(now) for budget in budgets if now - budget.reset < 24 * 3600)


def tightest(budgets: Budgets) -> Budget | None:
    """The one that leaves the least."""
    return min(budgets, key=lambda budget: (budget.remaining, -budget.reset), default=None)


def moved(budgets: Budgets, seconds: float) -> Budgets:
    """With all times so much later."""
    return tuple(replace(budget, reset=budget.reset + seconds) for budget in budgets)
