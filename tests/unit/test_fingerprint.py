"""Which errors count as the same one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepstep.reliability.fingerprint import fingerprint, normalised


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Run 12 failed", "Run 1,024 failed"),
        ("at 2026-03-31T08:00:01.123Z", "at 2025-12-01 23:59:59+02:00"),
        (
            '{"requestId":"7c1e2f0a-3333-4444-8888-0123456789ab"}',
            '{"requestId":"00000000-0000-0000-0000-000000000000"}',
        ),
        ("lease 5f3c9a1b77", "lease 0a0a0a0a0a"),
        ("token eyJhbGciOi1k2NiIsI", "token abcDEF0123456789xyz"),
        ("two  blanks\n", "two blanks"),
    ],
)
def test_what_differs_each_time_makes_no_difference(one: str, other: str) -> None:
    assert normalised(one) == normalised(other)
    assert fingerprint(500, "/leases", one) == fingerprint(500, "/leases", other)


def test_status_path_and_words_tell_errors_apart() -> None:
    kinds = {
        fingerprint(500, "/leases", "down"),
        fingerprint(502, "/leases", "down"),
        fingerprint(500, "/owners", "down"),
        fingerprint(500, "/leases", "busy"),
        fingerprint(None, "/leases", "down"),
    }

    assert len(kinds) == 5


def test_an_id_in_a_path_and_what_is_asked_do_not_matter() -> None:
    assert fingerprint(404, "/leases/5f3c9a1b77?page=2", "x") == fingerprint(404, "/leases/0badc0ffee", "x")


def test_words_are_left_alone() -> None:
    assert normalised("A misconfigured_gateway-address was deadbeefdeadbeef") == (
        "a misconfigured_gateway-address was deadbeefdeadbeef"
    )


@given(st.text(), st.text(), st.integers() | st.none())
def test_any_text_has_a_fingerprint(path: str, text: str, status: int | None) -> None:
    found = fingerprint(status, path, text)

    assert len(found) == 16
    assert found == fingerprint(status, path, text)
