"""How fresh a report is, of what is known of it."""

from datetime import UTC, datetime, timedelta

import pytest

from keepstep.reliability.freshness import Freshness, Reading, freshness

NOW = datetime(2026, 11, 27, 8, 0, tzinfo=UTC)
INTERVAL = timedelta(minutes=10)


def reading(minutes: float | None, *, enabled: bool = True, failures: int = 0, held: bool = False) -> Reading:
    last = None if minutes is None else NOW - timedelta(minutes=minutes)
    return Reading(enabled, INTERVAL, last, failures, held)


@pytest.mark.parametrize(
    ("known", "state"),
    [
        (reading(None), "never"),
        (reading(0), "fresh"),
        (reading(21), "fresh"),
        (reading(21.1), "late"),
        (reading(5, failures=1), "retrying"),
        (reading(5, failures=2), "retrying"),
        (reading(5, failures=3), "failing"),
        (reading(None, failures=3), "failing"),
        (reading(5, failures=3, held=True), "held"),
        (reading(500, enabled=False, failures=9, held=True), "off"),
    ],
)
def test_a_report_is_as_fresh_as_what_is_known_of_it_says(known: Reading, state: str) -> None:
    assert freshness(known, NOW) == state


def test_what_waits_for_somebody_is_worse_than_what_is_tried_again() -> None:
    ordered = sorted(Freshness, key=lambda state: state.weight)

    assert ordered == ["held", "failing", "retrying", "late", "never", "fresh", "off"]
    assert [state for state in ordered if state.is_bad] == ["held", "failing", "retrying", "late"]
