"""Invented people, as the People API gives them."""

import json
from typing import Any

from msgspec import Raw


def person(key: str = "people/c1", **more: Any) -> dict[str, Any]:
    """A person with a name and an e-mail address, with some fields replaced; None takes one away."""
    found = {
        "resourceName": key,
        "etag": "%EgUBAi43",
        "metadata": {
            "sources": [{"type": "CONTACT", "id": "6150a1", "updateTime": "2026-11-02T10:15:30.123456Z"}],
            "objectType": "PERSON",
        },
        "names": [{"metadata": {"primary": True}, "displayName": "Mario Rossi", "givenName": "Mario"}],
        "emailAddresses": [{"metadata": {"primary": True}, "value": "mario@example.test", "type": "work"}],
        **more,
    }
    return {name: value for name, value in found.items() if value is not None}


def deleted(key: str) -> dict[str, Any]:
    """What is left of a deleted person."""
    return {"resourceName": key, "metadata": {"deleted": True}}


def raw(value: Any) -> Raw:
    """A record as it came."""
    return Raw(json.dumps(value).encode())
