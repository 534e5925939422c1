"""Whether to ask again after a failed request, and when."""

import random

from keepstep.model.errors import RateLimited, Transient, UpstreamError

BASE_SECONDS = 0.5
FACTOR = 1.8
CAP_SECONDS = 20.0
MAX_ATTEMPTS = 6
LONGEST_SLEEP = 30.0
"""A longer pause is not slept: the caller gives its worker back and lets the run wait in the database."""


def backoff(attempt: int, rng: random.Random) -> float:
    """Seconds to wait after the given failed attempt (counted from 1): full jitter under a growing ceiling."""
    ceiling = min(CAP_SECONDS, BASE_SECONDS * FACTOR ** (attempt - 1))
    return rng.uniform(0.0, ceiling)


def decide_retry(
    error: UpstreamError, attempt: int, rng: random.Random, *, max_attempts: int = MAX_ATTEMPTS
) -> float | None:
    """Seconds to wait before the next attempt, or None when the error is the final answer.

    ``attempt`` counts the attempts made, from 1. Only ``Transient`` and ``RateLimited`` are asked again: an answer that
    is not data would most likely come again, and each repetition spends upstream's quota.
    """
    if attempt >= max_attempts:
        return None
    if isinstance(error, RateLimited):
        if error.after is None:
            return backoff(attempt, rng)
        return error.after if error.after <= LONGEST_SLEEP else None
    if isinstance(error, Transient):
        return backoff(attempt, rng)
    return None
