"""The health score: what counts against a connection, and how much."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepstep.reliability.health import Facts, of_owners, score

NOW = datetime(2026, 5, 6, 7, 8, 9, tzinfo=UTC)
GOOD = Facts(
    NOW, interval=timedelta(minutes=10), stale_after=timedelta(hours=12), last_success=NOW - timedelta(minutes=9),
    runs=20, requests=100,
)  # fmt: skip


def points(**changes: Any) -> list[int]:
    return [deduction.points for deduction in score(replace(GOOD, **changes)).deductions]


def test_a_connection_with_nothing_wrong_has_100() -> None:
    assert (score(GOOD).score, score(GOOD).deductions) == (100, ())


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"last_success": None}, [30]),
        ({"last_success": NOW - timedelta(minutes=20)}, []),
        ({"last_success": NOW - timedelta(minutes=21)}, [1]),
        ({"last_success": NOW - timedelta(minutes=60)}, [15]),
        ({"last_success": NOW - timedelta(minutes=100)}, [30]),
        ({"last_success": NOW - timedelta(days=3)}, [30]),
        ({"last_success": NOW + timedelta(hours=1)}, []),
        ({"interval": None, "last_success": NOW - timedelta(hours=12)}, []),
        ({"interval": None, "last_success": NOW - timedelta(hours=36)}, [15]),
        ({"failed_runs": 20}, [25]),
        ({"failed_runs": 5}, [6]),
        ({"runs": 0}, []),
        ({"failed_requests": 1}, [1]),
        ({"failed_requests": 50}, [15]),
        ({"failed_requests": 100}, [15]),
        ({"breaker": "open"}, [15]),
        ({"breaker": "half-open"}, [10]),
        ({"held": 1}, [5]),
        ({"held": 5}, [10]),
        ({"open_letters": 1}, [2]),
        ({"open_letters": 10}, [5]),
        ({"open_letters": 100}, [10]),
        ({"credentials_failing": True}, [40]),
        ({"held": 1, "breaker": "open", "credentials_failing": True}, [40, 15, 5]),
    ],
)
def test_each_trouble_has_its_price(changes: dict[str, Any], expected: list[int]) -> None:
    assert points(**changes) == expected


def test_the_reasons_are_sentences_with_the_numbers_in_them() -> None:
    health = score(replace(GOOD, last_success=NOW - timedelta(hours=5), failed_runs=3, open_letters=1, held=2))

    assert [deduction.reason for deduction in health.deductions] == [
        "The last success is 5 h ago; every 10 min is planned.",
        "2 entities have deletions that wait for a decision.",
        "3 of the last 20 runs failed.",
        "1 record could not be applied.",
    ]


FACTS = st.builds(
    Facts,
    now=st.just(NOW),
    interval=st.none() | st.timedeltas(timedelta(minutes=1), timedelta(days=30)),
    stale_after=st.timedeltas(timedelta(minutes=6), timedelta(days=365)),
    last_success=st.none() | st.datetimes(timezones=st.just(UTC)),
    runs=st.integers(0, 20),
    failed_runs=st.integers(0, 20),
    requests=st.integers(0, 10**6),
    failed_requests=st.integers(0, 10**6),
    breaker=st.sampled_from(["closed", "open", "half-open"]),
    held=st.integers(0, 1000),
    open_letters=st.integers(0, 10**9),
    credentials_failing=st.booleans(),
)


@given(FACTS)
def test_the_score_is_100_less_its_deductions_and_never_below_0(facts: Facts) -> None:
    health = score(facts)

    assert health.score == max(100 - sum(d.points for d in health.deductions), 0)
    assert all(deduction.points > 0 and deduction.reason.endswith(".") for deduction in health.deductions)


@given(FACTS)
def test_more_trouble_never_raises_the_score(facts: Facts) -> None:
    worse = replace(
        facts, failed_runs=facts.runs, failed_requests=facts.requests, held=facts.held + 1, breaker="open",
        open_letters=facts.open_letters + 1, credentials_failing=True, last_success=None,
    )  # fmt: skip

    if facts.failed_runs <= facts.runs and facts.failed_requests <= facts.requests:
        assert score(worse).score <= score(facts).score


def test_what_each_owner_connects_alone_is_as_well_as_their_share_without_trouble() -> None:
    assert (of_owners(connections=0, refused=0, failing=0).score) == 100
    trouble = of_owners(connections=1000, refused=100, failing=1)

    assert trouble.score == 95
    assert [one.reason for one in trouble.deductions] == [
        "100 of 1,000 accounts must be connected again.",
        "1 of 1,000 accounts fail again and again.",
    ]
    assert of_owners(connections=3, refused=3, failing=0).score == 60


@given(st.integers(0, 10**6), st.integers(0, 10**6), st.integers(0, 10**6))
def test_more_owners_in_trouble_never_raise_the_score(refused: int, failing: int, others: int) -> None:
    of = refused + failing + others + 1

    known = of_owners(connections=of, refused=refused, failing=failing).score
    assert 0 <= of_owners(connections=of, refused=refused, failing=failing + 1).score <= known <= 100
    assert 0 <= of_owners(connections=of, refused=refused + 1, failing=failing).score <= known
