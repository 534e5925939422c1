"""Which failures are asked again, and after how long."""

import random

import pytest

from keepstep.model.errors import AuthFailed, NotData, Permanent, RateLimited, Transient, UpstreamError
from keepstep.reliability.retry import (
    BASE_SECONDS,
    CAP_SECONDS,
    FACTOR,
    LONGEST_SLEEP,
    MAX_ATTEMPTS,
    backoff,
    decide_retry,
)


class Highest(random.Random):
    """Jitter that always falls on the upper end."""

    def uniform(self, a: float, b: float) -> float:
        return b


def test_the_ceiling_of_the_wait_starts_at_half_a_second_and_grows_to_the_cap() -> None:
    ceilings = [backoff(attempt, Highest()) for attempt in range(1, 20)]

    assert ceilings[:3] == pytest.approx([BASE_SECONDS, BASE_SECONDS * FACTOR, BASE_SECONDS * FACTOR**2])
    assert ceilings == sorted(ceilings)
    assert ceilings[-1] == CAP_SECONDS


def test_the_jitter_is_full() -> None:
    waits = [backoff(3, random.Random(seed)) for seed in range(300)]

    assert min(waits) < 0.1
    assert max(waits) > 1.5
    assert all(0 <= wait <= BASE_SECONDS * FACTOR**2 for wait in waits)


@pytest.mark.parametrize("error", [Transient("x"), RateLimited("x", after=None), RateLimited("x", after=2.0)])
def test_passing_failures_are_asked_again_until_the_attempts_are_used_up(error: UpstreamError) -> None:
    rng = random.Random(1)

    assert all(decide_retry(error, attempt, rng) is not None for attempt in range(1, MAX_ATTEMPTS))
    assert decide_retry(error, MAX_ATTEMPTS, rng) is None


@pytest.mark.parametrize("error", [AuthFailed("x"), NotData("x"), Permanent("x"), UpstreamError("x")])
def test_nothing_else_is_asked_again(error: UpstreamError) -> None:
    assert decide_retry(error, 1, random.Random(1)) is None


def test_the_wait_that_upstream_names_wins() -> None:
    assert decide_retry(RateLimited("x", after=12.5), 1, random.Random(1)) == 12.5
    assert decide_retry(RateLimited("x", after=0.0), 1, random.Random(1)) == 0.0
    assert decide_retry(RateLimited("x", after=LONGEST_SLEEP), 1, random.Random(1)) == LONGEST_SLEEP


def test_a_longer_wait_is_left_to_the_caller() -> None:
    assert decide_retry(RateLimited("x", after=LONGEST_SLEEP + 0.1), 1, random.Random(1)) is None
