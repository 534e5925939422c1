"""Where a request comes from, as its headers tell it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepstep.web.guard import bearer, foreign, session_cookie

HOST = {"host": "keepstep.example.test"}


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"sec-fetch-site": "same-origin"},
        {"sec-fetch-site": "none"},
        {"sec-fetch-site": "same-origin", "origin": "https://keepstep.example.test"},
        {"origin": "http://keepstep.example.test"},
        {"origin": "https://keepstep.example.test:443"},
        {"origin": "https://KEEPSTEP.example.test"},
        {"host": "inner:8787", "x-forwarded-host": "keepstep.example.test", "origin": "https://keepstep.example.test"},
        {"host": "127.0.0.1:8787", "origin": "http://127.0.0.1:8787"},
        {"host": "[::1]:8787", "origin": "http://[::1]:8787"},
    ],
)
def test_our_own_page_and_programs_may_change_things(headers: dict[str, str]) -> None:
    assert foreign("POST", {**HOST, **headers}) == ""


@pytest.mark.parametrize(
    "headers",
    [
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "something new"},
        {"sec-fetch-site": "cross-site", "origin": "https://keepstep.example.test"},
        {"sec-fetch-site": "same-origin", "origin": "https://evil.example.test"},
        {"origin": "https://evil.example.test"},
        {"origin": "https://keepstep.example.test.evil.example.test"},
        {"origin": "https://keepstep.example.test:8443"},
        {"origin": "https://keepstep.example.test@evil.example.test"},
        {"origin": "null"},
        {"origin": "file://keepstep.example.test"},
        {"origin": "keepstep.example.test"},
        {"origin": "https://keepstep.example.test:notaport"},
        {"origin": "https://[::1"},
        {"host": "", "origin": "https://"},
    ],
)
def test_another_sites_page_may_not(headers: dict[str, str]) -> None:
    assert foreign("POST", {**HOST, **headers})
    assert foreign("DELETE", {**HOST, **headers})
    assert foreign("GET", {**HOST, **headers}) == ""


@given(st.text(max_size=40), st.text(max_size=40))
def test_no_header_can_break_the_check(origin: str, host: str) -> None:
    foreign("POST", {"origin": origin, "host": host, "x-forwarded-host": host})


@given(
    st.from_regex(r"[a-z0-9]{1,8}(\.[a-z0-9]{1,8}){0,2}", fullmatch=True),
    st.from_regex(r"[a-z0-9.]{1,12}", fullmatch=True),
)
def test_only_the_same_host_is_ours(ours: str, theirs: str) -> None:
    assert bool(foreign("POST", {"origin": f"https://{theirs}", "host": ours})) == (ours != theirs)


def test_only_the_bearer_scheme_is_ours() -> None:
    assert bearer({"authorization": "Bearer abc"}) == "abc"
    assert bearer({"authorization": "bearer  abc "}) == "abc"
    assert bearer({"authorization": "Basic abc"}) is None
    assert bearer({"authorization": "Bearer"}) == ""
    assert bearer({}) is None


def test_the_session_is_found_among_other_cookies() -> None:
    assert session_cookie({"cookie": "theme=dark; keepstep_session=abc; x=y"}) == "abc"
    assert session_cookie({"cookie": "xkeepstep_session=abc"}) is None
    assert session_cookie({}) is None
