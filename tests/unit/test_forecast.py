"""Whether upstream's limit is enough for a full run, and how it is asked, in words."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepstep.reliability.forecast import forecast, strategy
from keepstep.reliability.politeness import Rules
from keepstep.reliability.windows import Window


@pytest.mark.parametrize(
    ("needed", "left", "enough", "words"),
    [
        (None, 380, None, "known once each entity was read in full"),
        (140, None, None, "named no limit"),
        (140, 380, True, "needs about 140 requests, 380 are left this hour"),
        (140, 140, True, "goes through at once"),
        (1400, 380, False, "will wait about 3 h"),
    ],
)
def test_it_says_what_a_full_run_needs_and_what_is_left(
    needed: int | None, left: int | None, enough: bool | None, words: str
) -> None:
    found = forecast(needed, left, 500)

    assert found.enough is enough
    assert words in found.words


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(1, 1000))
def test_less_left_is_never_better(needed: int, left: int, fewer: int) -> None:
    less = forecast(needed, max(left - fewer, 0), 500)

    assert not (less.enough and not forecast(needed, left, 500).enough)


def test_the_strategy_is_told_from_the_numbers_in_effect() -> None:
    rules = Rules(3, 4.0, (Window(50, 60), Window(500, 3600)), 7, 90.0)
    words = " ".join(strategy(rules))

    for part in ("4 requests a second and 3 at a time", "50 in a minute and 500 in an hour", "0.5 s", "1.8 times",
                 "20 s at most", "Retry-After wins", "more than 30 s", "After 7 failures", "for 90 s"):  # fmt: skip
        assert part in words
