"""Rate headers of every dialect, read into one structure."""

from datetime import UTC, datetime, timedelta

import pytest

from keepstep.model.integration import RateLimit
from keepstep.reliability.rate_headers import RateAnswer, http_date, parse_rate_headers

NOW = datetime(2026, 11, 21, 12, 0, 0, tzinfo=UTC)
EPOCH = int(NOW.timestamp())


def read(**headers: str) -> RateAnswer:
    return parse_rate_headers({name.replace("_", "-"): value for name, value in headers.items()}, NOW)


def test_an_answer_without_such_headers_says_nothing() -> None:
    assert read(content_type="application/json", date="Sat, 21 Nov 2026 12:00:00 GMT") == RateAnswer()


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("120", 120),
        ("0", 0),
        (" 7 ", 7),
        ("1.5", 1.5),
        ("Sat, 21 Nov 2026 12:02:00 GMT", 120),
        ("Saturday, 21-Nov-26 12:02:00 GMT", 120),
        ("Sat Nov 21 12:02:00 2026", 120),
        ("2026-11-21T12:02:00Z", 120),
        ("2026-11-21T14:02:00+02:00", 120),
        ("Sat, 21 Nov 2026 11:00:00 GMT", 0),
        (str(EPOCH + 30), 30),
    ],
)
def test_retry_after_is_seconds_a_date_or_a_unix_time(text: str, seconds: float) -> None:
    assert read(Retry_After=text).retry_after == seconds


@pytest.mark.parametrize(
    "text",
    ["", "soon", "-5", "1e3", "nan", "inf", "٣", "99999999", "99999999999999999999", "Sat, 99 Nov 2026 12:02:00 GMT",
     "Fri, 31 Dec 9999 23:59:59 GMT", "1;2", "5, 10"],
)  # fmt: skip
def test_a_malformed_or_absurd_retry_after_is_ignored(text: str) -> None:
    assert read(Retry_After=text).retry_after is None


def test_dates_are_relative_to_upstreams_own_clock() -> None:
    answer = read(
        Date="Sat, 21 Nov 2026 09:00:00 GMT",
        Retry_After="Sat, 21 Nov 2026 09:00:40 GMT",
        X_RateLimit_Remaining="0",
        X_RateLimit_Reset=str(EPOCH - 3 * 3600 + 40),
    )

    assert answer.retry_after == 40
    assert answer.rate_limit == RateLimit(None, 0, NOW + timedelta(seconds=40))


@pytest.mark.parametrize("prefix", ["X-RateLimit", "x-ratelimit", "X-Rate-Limit", "RateLimit"])
@pytest.mark.parametrize("reset", ["30", str(EPOCH + 30), "2026-11-21T12:00:30Z", "Sat, 21 Nov 2026 12:00:30 GMT"])
def test_limit_remaining_and_reset_are_read_in_every_spelling(prefix: str, reset: str) -> None:
    headers = {f"{prefix}-Limit": "50", f"{prefix}-Remaining": "49", f"{prefix}-Reset": reset}

    found = parse_rate_headers(headers, NOW)

    assert found == RateAnswer(RateLimit(50, 49, NOW + timedelta(seconds=30)))


def test_of_several_windows_the_tightest_counts() -> None:
    found = read(
        X_RateLimit_Limit_Minute="50",
        X_RateLimit_Remaining_Minute="12",
        X_RateLimit_Limit_Hour="500",
        X_RateLimit_Remaining_Hour="3",
        X_RateLimit_Limit_Day="9",
    )

    assert found.rate_limit == RateLimit(500, 3, None)


def test_a_limit_followed_by_its_policies_is_the_first_number() -> None:
    found = read(RateLimit_Limit="10, 10;w=1, 50;w=60", RateLimit_Remaining="9", RateLimit_Reset="1")

    assert found.rate_limit == RateLimit(10, 9, NOW + timedelta(seconds=1))


def test_structured_fields_join_policy_and_state_by_name() -> None:
    found = read(
        RateLimit_Policy='"burst";q=100;w=60,"daily, with a comma";q=1000;w=86400;pk=:cHsdsRa894==:',
        RateLimit='"burst";r=50;t=30, "daily, with a comma";r=2;t=600',
    )

    assert found.rate_limit == RateLimit(1000, 2, NOW + timedelta(seconds=600))


def test_a_policy_alone_still_names_the_limit() -> None:
    assert read(RateLimit_Policy='"default";q=50;w=60').rate_limit == RateLimit(50)


def test_the_form_of_the_older_drafts_is_read_too() -> None:
    found = read(RateLimit="limit=100, remaining=0, reset=5")

    assert found == RateAnswer(RateLimit(100, 0, NOW + timedelta(seconds=5)), retry_after=5)


def test_an_empty_allowance_with_a_reset_means_to_wait_until_then() -> None:
    assert read(X_RateLimit_Remaining="0", X_RateLimit_Reset="45").retry_after == 45
    assert read(X_RateLimit_Remaining="0").retry_after is None
    assert read(X_RateLimit_Remaining="1", X_RateLimit_Reset="45").retry_after is None


def test_retry_after_takes_precedence() -> None:
    assert read(Retry_After="3", X_RateLimit_Remaining="0", X_RateLimit_Reset="45").retry_after == 3


@pytest.mark.parametrize(
    "text",
    ['"default";r=50;t=', '"default', '"default";r="50"', "default r=50", '"a";r=1 "b";r=2', ",", ";", "()",
     '"a";r=1;;',
     '"a";r=999999999999999999999', "limit=x, remaining=1"],
)  # fmt: skip
def test_malformed_structured_fields_are_ignored(text: str) -> None:
    assert read(RateLimit=text, RateLimit_Policy=text) == RateAnswer()


@pytest.mark.parametrize("text", ["", "many", "-1", "0x10", "1" * 40])
def test_malformed_numbers_are_ignored(text: str) -> None:
    assert read(X_RateLimit_Limit=text, X_RateLimit_Remaining=text, X_RateLimit_Reset=text) == RateAnswer()


def test_an_http_date_that_is_none_gives_nothing() -> None:
    assert http_date("yesterday") is None
    assert http_date("") is None
