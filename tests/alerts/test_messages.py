"""What messages say, and that Teams takes them whatever their size."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from keepstep.alerts.messages import Message, compose
from keepstep.alerts.teams import MOST_BYTES, masked, payload

NOW = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
LINK = "https://keepstep.example.test/systems/integrations"


def alert(number: int = 1, **changes: Any) -> dict[str, Any]:
    return {
        "id": number, "rule": "breaker", "severity": "warning", "title": f"Account {number}: the breaker is open",
        "detail": "5 requests failed.", "impact": "It grows older.", "fix": "Wait.", "since": NOW - timedelta(hours=3),
        "started_at": NOW - timedelta(hours=2), "ended_at": None, **changes,
    }  # fmt: skip


def test_a_message_says_what_since_when_what_it_means_what_to_do_and_where_to_look() -> None:
    message = compose("start", "breaker", [alert()], link=LINK, now=NOW)

    assert (message.title, message.text) == ("Account 1: the breaker is open", "5 requests failed.")
    assert dict(message.facts) == {
        "Since": "2026-05-04 09:00 UTC (3 h ago)", "What it means": "It grows older.", "What to do": "Wait.",
    }  # fmt: skip
    assert (message.link, message.mood) == (LINK, "warning")
    assert Message.from_json(json.loads(json.dumps(message.as_json()))) == message


def test_an_end_says_how_long_it_lasted_and_a_reminder_that_it_is_still_so() -> None:
    ended = compose("end", "breaker", [alert(ended_at=NOW)], link=LINK, now=NOW)
    reminder = compose("reminder", "breaker", [alert(started_at=NOW - timedelta(days=3))], link=LINK, now=NOW)

    assert (ended.title, ended.mood) == ("Over: Account 1: the breaker is open", "good")
    assert "It lasted 120 min" in ended.text or "It lasted 2 h" in ended.text
    assert reminder.title.startswith("Still so after 3 d: ")


def test_a_hundred_alerts_of_a_rule_are_one_message_that_names_some_and_counts_the_rest() -> None:
    message = compose("start", "breaker", [alert(n) for n in range(1, 101)], link=LINK, now=NOW)

    assert message.title == "100 connections have an open circuit breaker"
    assert "Account 10:" in message.text
    assert "Account 11:" not in message.text
    assert "… and 90 more." in message.text


@settings(deadline=None)
@given(st.text(max_size=200), st.sampled_from(["x", "é", "\U0001f600", "\\", '"', "\0"]), st.integers(0, 60000))
def test_no_message_is_too_large_for_teams(title: str, letter: str, length: int) -> None:
    message = Message(title, letter * length, "attention", (("Name", letter * length),) * 30, LINK)

    for legacy in (False, True):
        body = payload(message, legacy=legacy)
        assert len(body) < MOST_BYTES
        assert json.loads(body)


@pytest.mark.parametrize(
    "secret", ["https://hook.example.test/w?sp=x&sig=abc123def456", "sp=x&sig=abc123def456", "abc123def456"]
)
def test_an_answer_that_repeats_the_address_is_masked(secret: str) -> None:
    webhook = "https://hook.example.test/w?sp=x&sig=abc123def456"

    assert "abc123def456" not in masked(f"bad request: {secret}", webhook)
