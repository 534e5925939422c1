"""A page of ``people.connections.list`` taken out of its envelope, with the people left undecoded.

Facts: people.v1, ``ListConnectionsResponse``. What is empty is absent: an account without contacts answers without
``connections``, the last page has no ``nextPageToken``, and only the last page has a ``nextSyncToken``.
"""

import re
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw

from keepstep.integrations.google_contacts.answers import FACTS
from keepstep.integrations.http import Response
from keepstep.integrations.lenient import split_list
from keepstep.model.errors import Answer, NotData

_Count = Annotated[int, Meta(ge=0)]


class Envelope(msgspec.Struct, rename="camel"):
    """One page as it came. ``total``: people in the whole listing; None where Google does not say."""

    connections: list[Raw] = []
    next_page_token: str = ""
    next_sync_token: str = ""
    total_items: _Count | None = None
    total_people: _Count | None = None

    @property
    def total(self) -> int | None:
        """People in the whole listing."""
        return self.total_people if self.total_items is None else self.total_items


_ENVELOPE = msgspec.json.Decoder(Envelope)
_KNOWN = ("connections", "nextPageToken", "nextSyncToken", "totalItems", "totalPeople")
_BOM = b"\xef\xbb\xbf"


def decode_envelope(response: Response, shown: Callable[[], Answer]) -> Envelope:
    """The page of an answer. Raises ``NotData`` where it is none."""
    body = response.body.removeprefix(_BOM)
    try:
        envelope = _ENVELOPE.decode(body)
    except msgspec.ValidationError:
        raise _wrong(body, shown()) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        why = error
    else:
        # Every part of it may be absent, so that any object would pass for an empty page.
        if not envelope.connections and not _is_page(body):
            raise _wrong(body, shown())
        return envelope
    loose = split_list(body, "connections")
    if loose is None:
        raise _broken(body, why, shown())
    try:
        heads = {name: msgspec.json.decode(value) for name, value in loose.heads.items() if name in _KNOWN}
        return msgspec.convert({**heads, "connections": loose.records}, Envelope)
    except msgspec.ValidationError:
        raise _wrong(body, shown()) from None


def _is_page(body: bytes) -> bool:
    """Whether an object without people is an empty page: nothing else in it looks as if it held something."""
    values = msgspec.json.decode(body, type=dict[str, Raw])
    return all(name in _KNOWN or bytes(value)[:1] not in (b"[", b"{") for name, value in values.items())


def _broken(body: bytes, why: Exception, answer: Answer) -> NotData:
    facts = {**FACTS, "path": answer.path, "count": len(body)}
    if "truncated" in str(why):
        return NotData.named("json-cut-off", facts=facts, answer=answer)
    return NotData.named("bad-json", facts={**facts, "detail": _where(why)}, answer=answer)


def _where(why: Exception) -> str:
    """Where it goes wrong, without a byte of what stands there."""
    if isinstance(why, RecursionError):
        return "it is nested too deeply"
    if isinstance(why, UnicodeDecodeError):
        return "it is no UTF-8"
    place = re.search(r"byte ([0-9]+)", str(why))
    return f"it goes wrong at byte {place[1]}" if place else "it cannot be decoded"


def _wrong(body: bytes, answer: Answer) -> NotData:
    facts = {**FACTS, "path": answer.path, "detail": _fault(body)}
    return NotData.named("wrong-envelope", facts=facts, answer=answer)


def _fault(body: bytes) -> str:
    try:
        value: Any = msgspec.json.decode(body, type=dict[str, Raw])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return "it is no object"
    if bytes(value.get("connections", b"["))[:1] != b"[":
        return '"connections" is not a list'
    if not any(name in value for name in _KNOWN) or "connections" not in value:
        return "it has no connections, but something else"
    return "a token is no text, or a total no whole number of at least 0"
