"""What the header of a message says: texts, people, times, identifiers. Takes any bytes, and never raises."""

import re
from base64 import b64decode
from binascii import a2b_qp
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from email.message import Message
from email.utils import getaddresses, parsedate_to_datetime

from keepstep.integrations.mail.charset import decoded, storable

ROLES = ("from", "sender", "reply-to", "to", "cc", "bcc")
MOST_PEOPLE = 2000
MOST_VALUES = 50
"""Of one header."""
LONGEST = 65_536
"""Characters of one header that are looked at."""
_WORD = re.compile(r"=\?([^?\s*]{1,40})(?:\*[^?\s]{0,40})?\?([bBqQ])\?([^?]*)\?=")
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/]+")
_BLANKS = re.compile(r"\s+")
_ID = re.compile(r"<([^<>\s]{1,900})>")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")


Headers = Mapping[str, Sequence[str]]
"""The values of each header as they came, by its name in lower case; bytes beyond ASCII stand as surrogates."""


def headers_of(message: Message) -> Headers:
    """The headers of a message or of a part of one, as far as anybody writes them."""
    found: dict[str, list[str]] = {}
    for name, value in message.raw_items():
        values = found.setdefault(name.lower(), [])
        if len(values) < MOST_VALUES:
            values.append(str(value)[:LONGEST])
    return found


def text_of(headers: Headers, name: str) -> str | None:
    """A header as people read it, on one line; None where it is not there."""
    for value in headers.get(name, ()):
        return readable(value)
    return None


def readable(value: str) -> str:
    """A header's value with its encoded words decoded, on one line."""
    pieces: list[str] = []
    end, run, charset = 0, b"", ""
    for word in _WORD.finditer(value):
        between = value[end : word.start()]
        # Words of one charset that follow one another are one text: a letter may lie across their border.
        if pieces and not between.strip() and run and word[1].lower() == charset:
            run += _unfolded(word[2], word[3])
        else:
            pieces.append(decoded(run, charset)[0] if run else "")
            pieces.append("" if run and not between.strip() else _plain(between))
            run, charset = _unfolded(word[2], word[3]), word[1].lower()
        end = word.end()
    pieces.append(decoded(run, charset)[0] if run else "")
    pieces.append(_plain(value[end:]))
    return _BLANKS.sub(" ", storable("".join(pieces))).strip()


def _unfolded(encoding: str, data: str) -> bytes:
    """The bytes of an encoded word."""
    if encoding in "qQ":
        return a2b_qp(_bytes(data), header=True)
    return loose_base64(_bytes(data))


def loose_base64(data: bytes) -> bytes:
    """The bytes of what should be base64, as far as they go."""
    kept = _NOT_BASE64.sub(b"", data)
    kept = kept[: len(kept) - (len(kept) % 4 == 1)]
    return b64decode(kept + b"=" * (-len(kept) % 4))


def _plain(value: str) -> str:
    return value if value.isascii() else decoded(_bytes(value), None)[0]


def people(headers: Headers) -> tuple[list[dict[str, str]], bool]:
    """Everybody whom the header names, with role, name and address; and whether all of them are there."""
    found: list[dict[str, str]] = []
    for role in ROLES:
        for name, address in _addresses(headers.get(role, ())):
            if len(found) == MOST_PEOPLE:
                return found, False
            found.append({"role": role.replace("-", "_"), "name": readable(name), "address": _address(address)})
    return found, True


def _addresses(values: Sequence[str]) -> Iterator[tuple[str, str]]:
    try:
        # Parsed before encoded words are decoded: what is inside them may have commas.
        joined = ", ".join(values)[:LONGEST]
        pairs = getaddresses([_BLANKS.sub(" ", joined)])
    except (ValueError, IndexError, TypeError, RecursionError, AttributeError):
        pairs = []
    usable = [(name, address) for name, address in pairs if name or address]
    if usable or not any(value.strip() for value in values):
        return iter(usable)
    return iter([(value, "") for value in values if value.strip()])


def _address(value: str) -> str:
    text = decoded(_bytes(value), None)[0]
    return _CONTROL.sub("", text).strip()


def moment(headers: Headers, name: str = "date") -> datetime | None:
    """When the header says that the message was written; None where it does not say, or says something impossible."""
    for value in headers.get(name, ()):
        try:
            told = parsedate_to_datetime(_plain(value).replace("\x00", ""))
            told = told.replace(tzinfo=UTC) if told.tzinfo is None else told
            return told.astimezone(UTC)
        except (ValueError, TypeError, OverflowError, IndexError, AttributeError):
            return None
    return None


def identifier(headers: Headers, name: str = "message-id") -> str | None:
    """The identifier that a header holds, without its angle brackets."""
    for value in headers.get(name, ()):
        if found := _ids(value):
            return found[0]
        bare = _CONTROL.sub("", decoded(_bytes(value), None)[0]).strip().strip("<>").strip()
        return bare[:900] or None
    return None


def references(headers: Headers) -> list[str]:
    """The identifiers of the messages that this one follows, the first of the thread first."""
    found = [one for value in headers.get("references", ()) for one in _ids(value)]
    answered = [one for value in headers.get("in-reply-to", ()) for one in _ids(value)]
    return _distinct([*found, *answered])


def thread_of(headers: Headers) -> str | None:
    """The identifier of the message that began the thread, as far as this one tells."""
    return next(iter(references(headers)), None) or identifier(headers)


def filename(value: str) -> str | None:
    """A file name without a path and without control characters; None where nothing is left of it."""
    name = _CONTROL.sub("", readable(value)).replace("\\", "/").rpartition("/")[2].strip()
    return name[:255] or None


def _ids(value: str) -> list[str]:
    text = decoded(_bytes(value), None)[0]
    return [_CONTROL.sub("", one) for one in _ID.findall(text)]


def _distinct(values: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(values))


def _bytes(value: str) -> bytes:
    try:
        return value.encode("ascii", "surrogateescape")
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogateescape")
