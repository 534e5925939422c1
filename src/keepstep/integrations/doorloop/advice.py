"""The usual mistakes in DoorLoop's settings, found without asking DoorLoop."""

import binascii
import re
from base64 import urlsafe_b64decode
from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec

from keepstep.integrations.doorloop.answers import DOCS, USE_DEFAULT_URL
from keepstep.integrations.http import is_loopback, split_url, without_credentials

MAX_PAGE_SIZE = 1000
SHORTEST_KEY = 20
LONGEST_PLACEHOLDER = 60

Warnings = list[tuple[str, str]]
"""Pairs of a problem and what to do about it, each one sentence; never with the key in it."""

_BEARER = re.compile(r"bearer(?:\s+|$)", re.IGNORECASE)
_PLACEHOLDER = re.compile(r"your|change.?me|replace|example|placeholder|todo|secret|xxx|\.\.\.|…|[<>{}]", re.IGNORECASE)


def normal_base_url(base_url: str) -> str:
    """The address without what is safe to drop: spaces around it, slashes at its end, and credentials in it."""
    return without_credentials(base_url.strip().rstrip("/"))


def normal_api_key(api_key: str) -> str:
    """The key without what is safe to drop: spaces around it and the word ``bearer`` before it."""
    return _BEARER.sub("", api_key.strip(), count=1) if _BEARER.match(api_key.strip()) else api_key.strip()


def normal_page_size(page_size: int) -> int:
    """The nearest page size that DoorLoop accepts."""
    return min(max(page_size, 1), MAX_PAGE_SIZE)


def key_fits_header(api_key: str) -> bool:
    """Whether the key can be sent at all: printable ASCII without blanks."""
    return re.fullmatch(r"[!-~]+", api_key) is not None


def config_warnings(base_url: str, api_key: str, page_size: int, *, now: datetime | None = None) -> Warnings:
    """The mistakes in these settings, worst first; empty when none is seen. ``now`` lets an expired key be named."""
    return [*_url_warnings(base_url), *_key_warnings(api_key, now), *_page_size_warnings(page_size)]


def _url_warnings(base_url: str) -> Iterator[tuple[str, str]]:
    parts = split_url(base_url.strip())
    host = (parts.hostname or "").lower()
    if parts.scheme not in ("http", "https") or not host:
        yield "DOORLOOP_BASE_URL is not a web address.", USE_DEFAULT_URL
        return
    if host == "api.doorloop.com":
        yield "DOORLOOP_BASE_URL is the documentation site api.doorloop.com, not the API.", USE_DEFAULT_URL
        return
    if parts.scheme == "http" and not is_loopback(host):
        yield "DOORLOOP_BASE_URL uses http; DoorLoop answers only https.", "Write https:// instead of http://."
    segments = [segment for segment in parts.path.split("/") if segment]
    if any(re.fullmatch(r"v[0-9]+", segment) for segment in segments):
        yield "DOORLOOP_BASE_URL has a version in it; DoorLoop's addresses have none.", USE_DEFAULT_URL
    elif segments[-1:] != ["api"]:
        yield "DOORLOOP_BASE_URL does not end in /api.", USE_DEFAULT_URL
    if parts.username is not None or parts.password is not None:
        yield "DOORLOOP_BASE_URL contains a user name or password, which is left out.", "Take it out of the address."
    if parts.query or parts.fragment:
        yield "DOORLOOP_BASE_URL has something after ? or #.", USE_DEFAULT_URL


def _key_warnings(api_key: str, now: datetime | None) -> Iterator[tuple[str, str]]:
    key = normal_api_key(api_key)
    if not key:
        yield "DOORLOOP_API_KEY is empty.", f"Create a key in DoorLoop and set it ({DOCS}/authentication)."
        return
    if api_key != api_key.strip():
        yield (
            "DOORLOOP_API_KEY has blanks or a line break around it, which are left out.",
            "Take them out of the setting.",
        )
    if _BEARER.match(api_key.strip()):
        yield "DOORLOOP_API_KEY begins with the word bearer, which is left out.", "Set only the key itself."
    if key[0] in "\"'`" or key[-1] in "\"'`":
        yield "DOORLOOP_API_KEY has quotes around it.", "Set the key without quotes."
    if re.search(r"\s", key):
        yield "DOORLOOP_API_KEY has a blank or a line break inside.", "Copy the key again, in one piece."
    elif not key_fits_header(key):
        yield "DOORLOOP_API_KEY has characters that a key never has.", "Copy the key again from DoorLoop."
    if len(key) <= LONGEST_PLACEHOLDER and _PLACEHOLDER.search(key):
        yield "DOORLOOP_API_KEY looks like a placeholder.", "Set the key that DoorLoop shows for your account."
    elif len(key) < SHORTEST_KEY:
        yield f"DOORLOOP_API_KEY has only {len(key)} characters; keys are longer.", "Copy the whole key."
    expiry = _expiry(key)
    if expiry is not None and now is not None and expiry <= now:
        yield f"DOORLOOP_API_KEY expired on {expiry:%Y-%m-%d}.", "Create a new key in DoorLoop and set it."


def _page_size_warnings(page_size: int) -> Iterator[tuple[str, str]]:
    if page_size > MAX_PAGE_SIZE:
        yield (
            f"DOORLOOP_PAGE_SIZE is {page_size}; DoorLoop gives at most {MAX_PAGE_SIZE}, which is used.",
            f"Set DOORLOOP_PAGE_SIZE={MAX_PAGE_SIZE} or less ({DOCS}/pagination).",
        )
    elif page_size < 1:
        yield f"DOORLOOP_PAGE_SIZE is {page_size}; 1 is used.", "Set DOORLOOP_PAGE_SIZE between 1 and 1000."


def _expiry(key: str) -> datetime | None:
    """When a key that is a JSON web token ends, by its own claim; None for any other key."""
    segments = key.split(".")
    if len(segments) != 3:
        return None
    try:
        claims = msgspec.json.decode(urlsafe_b64decode(segments[1] + "=" * (-len(segments[1]) % 4)))
        return datetime.fromtimestamp(claims["exp"], UTC)
    except (msgspec.MsgspecError, binascii.Error, KeyError, TypeError, ValueError, OverflowError, OSError):
        return None
