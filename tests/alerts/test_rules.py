"""What is worth an alert, as the rules see it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from keepstep.alerts.rules import Facts, Finding, QuietHours, Thresholds, decide, findings, scheduler

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
FINE = {
    "connection_id": 1, "name": "DoorLoop", "integration": "doorloop", "created_at": NOW - 90 * 24 * HOUR,
    "scheduled": True, "last_state": "succeeded", "last_finished_at": NOW - HOUR, "last_success": NOW - HOUR,
    "pings": ("ok", "ok", "ok"),
}  # fmt: skip


def found(**changes: Any) -> list[Finding]:
    return findings([Facts(**{**FINE, **changes})], Thresholds(), NOW)


def test_a_connection_that_is_well_gives_no_alert() -> None:
    assert found() == []


@pytest.mark.parametrize(
    ("changes", "rule", "words"),
    [
        ({"pings": ("failing", "failing", "failing"), "ping_reason": "It refuses."}, "connectivity", "does not answer"),
        ({"last_state": "failed", "last_code": "auth-failed", "last_message": "Refused."}, "connectivity",
         "credentials are refused"),
        ({"last_success": NOW - 13 * HOUR}, "stale", "no successful run for 12 h"),
        ({"last_success": NOW - 13 * HOUR, "last_state": "failed", "last_message": "HTML."}, "stale",
         "still no successful run after 12 h"),
        ({"last_success": None, "created_at": NOW - 13 * HOUR}, "stale", "no successful run"),
        ({"breaker_opened_at": NOW - HOUR, "breaker_failures": 5}, "breaker", "circuit breaker is open"),
        ({"nightly_state": "failed", "nightly_at": NOW - HOUR, "nightly_message": "HTML."}, "nightly", "run failed"),
        ({"nightly_state": "crashed", "nightly_at": NOW - HOUR}, "nightly", "run failed"),
        ({"nightly_missed_at": NOW - 2 * HOUR}, "nightly", "was missed"),
        ({"held": ("leases",), "held_rows": 600, "held_since": NOW - HOUR}, "held", "wait for a decision"),
        ({"open_letters": 101, "letters_since": NOW - HOUR}, "dead-letters", "cannot be applied"),
    ],
)  # fmt: skip
def test_each_rule_says_what_since_when_what_it_means_and_what_to_do(
    changes: dict[str, Any], rule: str, words: str
) -> None:
    [finding] = found(**changes)

    assert (finding.rule, finding.connection_id) == (rule, 1)
    assert words in finding.title
    assert finding.title.startswith("DoorLoop: ")
    assert finding.detail
    assert finding.impact
    assert finding.fix
    assert finding.since <= NOW


@pytest.mark.parametrize(
    "changes",
    [
        {"pings": ("failing", "failing")},
        {"pings": ("ok", "failing", "failing")},
        {"pings": ("failing", "degraded", "failing")},
        {"last_success": NOW - 12 * HOUR},
        {"last_success": NOW - 100 * HOUR, "scheduled": False},
        {"open_letters": 100},
        {"nightly_state": "stopped"},
        {"last_state": "failed", "last_code": "transient"},
    ],
)
def test_what_is_not_yet_worth_one(changes: dict[str, Any]) -> None:
    assert found(**changes) == []


def test_a_silent_scheduler_is_told_of_where_there_is_something_to_schedule() -> None:
    late = NOW - timedelta(minutes=6)

    assert scheduler(late, NOW, scheduled=False) is None
    assert scheduler(NOW - timedelta(minutes=4), NOW, scheduled=True) is None
    assert scheduler(None, NOW, scheduled=True) is None
    silent = scheduler(late, NOW, scheduled=True)
    assert silent is not None
    assert (silent.connection_id, silent.severity, silent.since) == (None, "critical", late)


def test_what_no_longer_stands_ends_and_the_rest_goes_on() -> None:
    standing = found(breaker_opened_at=NOW, breaker_failures=5)

    decision = decide(standing, [(7, 1, "breaker"), (8, 1, "held"), (9, 2, "breaker"), (10, None, "scheduler")])

    assert (decision.standing, decision.ended) == (tuple(standing), (8, 9, 10))


@pytest.mark.parametrize(
    ("start", "end", "quiet"),
    [(22, 6, {22, 23, 0, 1, 2, 3, 4, 5}), (1, 3, {1, 2}), (0, 0, set()), (0, 24, set(range(24)))],
)
def test_quiet_hours_may_go_over_midnight(start: int, end: int, quiet: set[int]) -> None:
    hours = QuietHours(start, end)

    assert {hour for hour in range(24) if hours.holds(NOW.replace(hour=hour))} == quiet
