"""Whether Keepstep does its work, judged from facts alone."""

from datetime import UTC, datetime, timedelta

import pytest

from keepstep.service.readiness import NO_TICK, Readiness, Signs, judge

NOW = datetime(2026, 3, 29, 1, 30, tzinfo=UTC)


def signs(**changes: object) -> Signs:
    """All is well, but for the changes."""
    known: dict[str, object] = {
        "now": NOW,
        "missing": 0,
        "newer": False,
        "tick": NOW - timedelta(seconds=4),
        "workers": 2,
    }
    return Signs(**{**known, **changes})  # type: ignore[arg-type]


def wrong(found: Readiness) -> list[str]:
    """The checks that failed; each has a fix, and none that passed has one."""
    assert found.ok is all(check.ok for check in found.checks)
    assert all((check.fix is None) is check.ok for check in found.checks)
    return [check.name for check in found.checks if not check.ok]


def test_all_is_well() -> None:
    found = judge(signs())
    assert wrong(found) == []
    assert [check.name for check in found.checks] == ["database", "migrations", "worker", "scheduler"]


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"workers": 0}, ["worker"]),
        ({"tick": None}, ["scheduler"]),
        ({"tick": NOW - NO_TICK}, []),
        ({"tick": NOW - NO_TICK - timedelta(seconds=1)}, ["scheduler"]),
        ({"tick": NOW + timedelta(minutes=1)}, []),  # the clock was set back
        ({"workers": 0, "tick": None}, ["worker", "scheduler"]),
        ({"newer": True}, ["migrations"]),
        ({"missing": 3, "tick": None, "workers": 0}, ["migrations"]),  # there are no tables to ask about the rest
    ],
)
def test_what_is_wrong_is_named(changes: dict[str, object], expected: list[str]) -> None:
    assert wrong(judge(signs(**changes))) == expected


def test_a_silent_scheduler_says_since_when() -> None:
    [check] = [c for c in judge(signs(tick=NOW - timedelta(hours=2))).checks if c.name == "scheduler"]
    assert "7,200 s ago" in check.message
