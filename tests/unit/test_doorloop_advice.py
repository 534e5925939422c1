"""The usual mistakes in DoorLoop's settings."""

from base64 import urlsafe_b64encode
from datetime import UTC, datetime

import pytest

from keepstep.integrations.doorloop.advice import (
    config_warnings,
    key_fits_header,
    normal_api_key,
    normal_base_url,
    normal_page_size,
)

URL = "https://app.doorloop.com/api"
KEY = "dl_api_key_Q7W3E9R2T5Y1U8I4O6P0"


def problems(base_url: str = URL, api_key: str = KEY, page_size: int = 100, now: datetime | None = None) -> str:
    found = config_warnings(base_url, api_key, page_size, now=now)
    assert all(problem.endswith(".") and fix.endswith(".") for problem, fix in found)
    assert api_key.strip() == "" or all(api_key.strip() not in problem + fix for problem, fix in found)
    return " ".join(problem for problem, _fix in found)


def test_good_settings_have_no_warning() -> None:
    assert problems() == ""
    assert problems(page_size=1) == ""
    assert problems(page_size=1000) == ""


@pytest.mark.parametrize("url", ["http://127.0.0.1:9090/api", "http://localhost:9090/api", "http://[::1]:9090/api"])
def test_plain_http_to_this_machine_is_fine(url: str) -> None:
    assert problems(url) == ""


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("https://api.doorloop.com", "documentation site"),
        ("https://api.doorloop.com/v1", "documentation site"),
        ("https://API.doorloop.com/api", "documentation site"),
        ("http://app.doorloop.com/api", "uses http"),
        ("https://app.doorloop.com/api/v1", "has a version"),
        ("https://app.doorloop.com/v1", "has a version"),
        ("https://app.doorloop.com", "does not end in /api"),
        ("https://app.doorloop.com/app", "does not end in /api"),
        ("https://user:word@app.doorloop.com/api", "user name or password"),
        ("https://app.doorloop.com/api?x=1", "after ? or #"),
        ("app.doorloop.com/api", "not a web address"),
        ("", "not a web address"),
        ("https://", "not a web address"),
        ("https://[bad/api", "not a web address"),
        ("https://app.doorloop.com:port/api", "not a web address"),
        ("ftp://app.doorloop.com/api", "not a web address"),
    ],
)
def test_each_mistake_in_the_address_is_named(url: str, says: str) -> None:
    assert says in problems(url)


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("", "is empty"),
        ("  \n", "is empty"),
        ("bearer ", "is empty"),
        (f" {KEY}\n", "around it"),
        (f"Bearer {KEY}", "word bearer"),
        (f'"{KEY}"', "quotes"),
        (f"'{KEY}'", "quotes"),
        (f"{KEY[:10]} {KEY[10:]}", "inside"),
        (f"{KEY[:10]}\n{KEY[10:]}", "inside"),
        (f"{KEY}ü", "never has"),
        ("your_api_key_goes_here", "placeholder"),
        ("<DOORLOOP_API_KEY_HERE>", "placeholder"),
        ("dl_api_key_A11I3S...", "placeholder"),
        ("changeme", "placeholder"),
        ("abc123", "only 6 characters"),
    ],
)
def test_each_mistake_in_the_key_is_named(key: str, says: str) -> None:
    assert says in problems(api_key=key)


def token(claims: bytes) -> str:
    return ".".join(urlsafe_b64encode(part).decode().rstrip("=") for part in (b'{"alg":"HS256"}', claims, b"signature"))


def test_an_expired_token_is_named_by_its_day() -> None:
    key = token(b'{"typ":"API","exp":1767225600}')

    assert "expired on 2026-01-01" in problems(api_key=key, now=datetime(2026, 6, 1, tzinfo=UTC))
    assert problems(api_key=key, now=datetime(2025, 6, 1, tzinfo=UTC)) == ""


@pytest.mark.parametrize("claims", [b"{}", b"[]", b"nonsense", b'{"exp":"soon"}', b'{"exp":1e300}', b"\xff"])
def test_a_token_without_a_readable_end_is_left_alone(claims: bytes) -> None:
    assert problems(api_key=token(claims), now=datetime(2026, 6, 1, tzinfo=UTC)) == ""


@pytest.mark.parametrize(("size", "says", "used"), [(1001, "at most 1000", 1000), (0, "1 is used", 1), (-5, "1 is", 1)])
def test_a_page_size_out_of_range_is_named_and_moved_into_it(size: int, says: str, used: int) -> None:
    assert says in problems(page_size=size)
    assert normal_page_size(size) == used


def test_what_is_safe_is_put_right() -> None:
    assert normal_api_key(f"  bearer   {KEY}\r\n") == KEY
    assert normal_api_key("bearerness-of-keys") == "bearerness-of-keys"
    assert normal_base_url(f" {URL}// ") == URL
    assert normal_base_url("https://user:word@app.doorloop.com/api/") == URL
    assert normal_base_url("https://[bad/api") == "https://[bad/api"


def test_only_printable_ascii_without_blanks_can_be_sent() -> None:
    assert key_fits_header(KEY)
    for bad in ("", "a b", "a\nb", "ü", "a\x00"):
        assert not key_fits_header(bad)
