"""What is written down of what somebody sent."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from keepstep.reliability.masking import MASK, MOST_VALUES, is_secret, masked_text, summary


@pytest.mark.parametrize(
    "name",
    [
        "apiKey", "api_key", "DOORLOOP_API_KEY", "key", "keys", "token", "ADMIN_SYNC_TOKEN", "newPassword",
        "passwordAgain", "secret", "client_secret", "secretKey", "INTEGRATIONS_TEAMS_WEBHOOK", "webhookUrl",
        "credentials", "Authorization", "cookie", "SECRET_KEY",
    ],
)  # fmt: skip
def test_a_name_says_that_a_value_is_secret(name: str) -> None:
    assert is_secret(name)


@pytest.mark.parametrize(
    "name", ["", "recordKey", "tokenId", "token_name", "entity", "keyboard", "monkey", "keyed", "reason"]
)
def test_other_names_do_not(name: str) -> None:
    assert not is_secret(name)


def test_secrets_are_masked_wherever_they_stand() -> None:
    payload = {
        "integration": "doorloop",
        "credentials": {"apiKey": "abc", "again": ["abc", {"deep": 17}], "empty": "", "none": None, "set": True},
        "note": "my key is hunter2hunter2, and Bearer abcdefgh, and keepstep_0123456789012345678901",
        "url": "postgresql://ana:sesame@db.example.test/x",
        "hunter2hunter2": "as a name",
        "entities": ["owners", "units"],
        "count": 3,
    }
    assert summary(payload, ["hunter2hunter2", "abc"]) == {
        "integration": "doorloop",
        "credentials": {"apiKey": MASK, "again": [MASK, {"deep": MASK}], "empty": "", "none": None, "set": True},
        "note": f"my key is {MASK}, and Bearer {MASK}, and keepstep_{MASK}",
        "url": f"postgresql://ana:{MASK}@db.example.test/x",
        MASK: "as a name",
        "entities": ["owners", "units"],
        "count": 3,
    }


def test_a_longer_secret_goes_before_one_that_is_part_of_it() -> None:
    assert masked_text("password-and-more", ["password", "password-and-more"]) == MASK


def test_a_summary_is_short() -> None:
    short = summary({"ids": list(range(10_000)), "text": "x" * 10_000})
    assert len(short["ids"]) == MOST_VALUES + 1
    assert short["ids"][-1] == f"… {10_000 - MOST_VALUES} more"
    assert len(short["text"]) == 500


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


def texts(value: Any) -> Iterator[str]:
    """Every string within, keys too."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        yield from value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from texts(inner)


@given(st.dictionaries(st.text(), ANYTHING))
@example({"not NUL, but how JSON writes it": "\\u0000"})
def test_a_summary_of_anything_is_json_that_postgresql_takes(payload: dict[str, Any]) -> None:
    text = json.dumps(summary(payload), allow_nan=False)
    assert not any("\0" in found for found in texts(json.loads(text)))
    text.encode()


@given(st.text(alphabet="abcdefgh", min_size=6, max_size=12), ANYTHING)
def test_a_known_secret_is_nowhere_in_a_summary(secret: str, around: Any) -> None:
    payload = {"a": around, "b": f"x{secret}y", "c": [secret, {secret: secret}]}
    assert secret not in json.dumps(summary(payload, [secret]))
