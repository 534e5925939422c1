"""The opaque tokens of the emulated People API: what they stand for is written in them, and nobody may look."""

import base64
import binascii
from dataclasses import dataclass
from typing import TypeVar

import msgspec


@dataclass(frozen=True, slots=True)
class SyncToken:
    """A moment in an account. ``change`` is its number then, ``full_at`` when the full reading was that began it all.

    ``params`` are the other parameters of the requests that it came of.
    """

    account: str
    change: int
    full_at: float
    params: str


@dataclass(frozen=True, slots=True)
class PageToken:
    """A place in a listing. ``after``: the last change that was given; ``place``: how many people were.

    ``began``: the account's change when the listing began. ``since``: the sync token it is about, or empty.
    """

    account: str
    after: int
    place: int
    number: int
    began: int
    full_at: float
    params: str
    since: str


T = TypeVar("T", SyncToken, PageToken)


def sealed(token: SyncToken | PageToken) -> str:
    """As a client gets it."""
    return base64.urlsafe_b64encode(msgspec.json.encode(token)).rstrip(b"=").decode()


def sync_token(text: str) -> SyncToken | None:
    """What a client sent back; None: it is none."""
    return _opened(text, SyncToken)


def page_token(text: str) -> PageToken | None:
    """What a client sent back; None: it is none."""
    return _opened(text, PageToken)


def _opened(text: str, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=kind)
    except (binascii.Error, ValueError):
        return None
