"""Whether to ask again after a failed request, and when."""

import random

from keepstep.model.errors import BreakerOpen, RateLimited, Transient, UpstreamError

BASE_SECONDS = 0.5
FACTOR = 1.8
CAP_SECONDS = 20.0
MAX_ATTEMPTS = 6
LONGEST_SLEEP = 30.0
"""A longer pause is not slept: the caller gives its worker back and lets the run wait in the database."""


def ceiling(attempt: int) -> float:
    """The longest wait after the given failed attempt, counted from 1."""
    growing: float = BASE_SECONDS * FACTOR ** min(attempt - 1, 50)
    return min(CAP_SECONDS, growing)


def backoff(attempt: int, rng: random.Random) -> float:
    """Seconds to wait after the given failed attempt (counted from 1): full jitter under a growing ceiling."""
    return rng.uniform(0.0, ceiling(attempt))


def decide_retry(
    error: UpstreamError, attempt: int, rng: random.Random, *, max_attempts: int = MAX_ATTEMPTS
) -> float | None:
    """Seconds to wait before the next attempt, or None when the error is the final answer.

    ``attempt`` counts the attempts made, from 1. Only ``Transient`` and ``RateLimited`` are asked again: an answer that
    is not data would most likely come again, and each repetition spends upstream's quota. While the breaker is open
    there is nothing to ask.
    """
    if attempt >= max_attempts or isinstance(error, BreakerOpen):
        return None
    if isinstance(error, RateLimited):
        if error.after is None:
            return backoff(attempt, rng)
        return error.after if error.after <= LONGEST_SLEEP else None
    if isinstance(error, Transient):
        return backoff(attempt, rng)
    return None
