"""When the next sync comes, in words."""

import pytest

from keepstep.reliability.span import ahead

HOUR = 3600.0


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-5, "now"), (0, "now"), (5, "in less than a minute"), (30, "in 1 minute"), (100, "in 2 minutes"),
        (33 * 60, "in 33 minutes"), (59 * 60, "in 59 minutes"), (HOUR - 20, "in 1 hour"), (23.2 * HOUR, "in 23 hours"),
        (24 * HOUR, "in 24 hours"), (47 * HOUR, "in 47 hours"), (48 * HOUR, "in 2 days"), (720 * HOUR, "in 30 days"),
    ],
)  # fmt: skip
def test_a_span_ahead_reads_as_people_say_it(seconds: float, words: str) -> None:
    assert ahead(seconds) == words
