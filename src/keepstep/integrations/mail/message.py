"""One message as it came (RFC 822 bytes), taken apart: pure, bounded, and never stopped by what is broken in it.

Whatever a message says of itself may be wrong: its charset, its encoding, its boundaries, its dates. What can be read
is read, and ``defects`` says what could not. Only what PostgreSQL cannot hold is replaced (NUL, by U+FFFD).
"""

from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from email import message_from_bytes
from email.errors import InvalidBase64LengthDefect
from email.message import Message as Mime
from email.policy import Compat32
from hashlib import sha256
from typing import Any

from keepstep.integrations.mail.charset import decoded, storable
from keepstep.integrations.mail.headers import (
    LONGEST,
    filename,
    headers_of,
    identifier,
    loose_base64,
    moment,
    people,
    references,
    text_of,
    thread_of,
)
from keepstep.integrations.mail.html_text import text_of_html

SNIPPET = 200
_DEEPEST = 50
_MOST_LINES, _MOST_BOUNDARIES, _MOST_FOLDS = 300_000, 5_000, 2_000
_LONGEST_OF_CONTENT = 2_048
_ODD = (ValueError, LookupError, TypeError, AttributeError, IndexError, AssertionError)
"""What the standard library raises here and there over a message that is malformed in a way that it did not expect."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much of a message is taken. ``attachment_bytes``: of the contents of its attachments, 0 for none of them."""

    message_bytes: int = 10 * 1024 * 1024
    text_characters: int = 200_000
    attachment_bytes: int = 0
    parts: int = 500


@dataclass(slots=True)
class Message:
    """What a message says. ``hash`` is of all its bytes (SHA-256); None where they are not all here.

    ``participants``: role, name and address. ``attachments``: part, filename, mimeType, size, inline, contentId, hash,
    and content (base64) where asked for. ``truncated``: the text, or the list of attachments, may lack something.
    """

    message_id: str | None = None
    thread_id: str | None = None
    in_reply_to: str | None = None
    references: list[str] = field(default_factory=list)
    subject: str | None = None
    participants: list[dict[str, str]] = field(default_factory=list)
    sent_at: datetime | None = None
    text: str = ""
    snippet: str = ""
    attachments: list[dict[str, Any]] = field(default_factory=list)
    hash: str | None = None
    truncated: bool = False
    defects: list[str] = field(default_factory=list)

    def sender(self) -> Mapping[str, str]:
        """The first of those whom it says it is from, or nobody."""
        return next((one for one in self.participants if one["role"] in ("from", "sender")), {})


def header_of(raw: bytes) -> bytes:
    """The header block: everything before the first empty line."""
    ends = [place for place in (raw.find(b"\r\n\r\n"), raw.find(b"\n\n")) if place >= 0]
    return raw[: min(ends)] if ends else raw


def parse_message(raw: bytes, limits: Limits | None = None, *, whole: bool = True) -> Message:
    """Take a message apart. ``whole``: all of its bytes are there. Never raises."""
    limits = limits or Limits()
    complete = whole and len(raw) <= limits.message_bytes
    message = Message(hash=sha256(raw).hexdigest() if whole else None, truncated=not complete)
    if b"\x00" in raw[: limits.message_bytes]:
        message.defects.append("has NUL characters")
    mime = _mime(_bounded(raw[: limits.message_bytes], message), message)
    _read_header(mime, message)
    _Body(mime, limits, message).read()
    message.snippet = snippet_of(message.text)
    message.defects = list(dict.fromkeys(message.defects))
    return message


def snippet_of(text: str) -> str:
    """The beginning of a text on one line, without what it quotes."""
    own = (line for line in text[: 20 * SNIPPET].splitlines() if not line.lstrip().startswith(">"))
    words = " ".join(" ".join(own).split())
    return words if len(words) <= SNIPPET else words[: SNIPPET - 1].rstrip() + "…"


class _Bounded(Compat32):
    """Reads headers as they come, but none that goes on without end: the library's time grows with their square."""

    def header_source_parse(self, sourcelines: list[str]) -> tuple[str, str]:
        """One header, cut where it is longer than any that means something."""
        name, value = super().header_source_parse(sourcelines[:_MOST_FOLDS])
        return name, value[: _LONGEST_OF_CONTENT if name.lower().startswith("content-") else LONGEST]


_POLICY = _Bounded()


def _bounded(raw: bytes, message: Message) -> bytes:
    """A message without what would only keep the library busy: lines, and parts, by the hundred thousand."""
    for mark, most in ((b"\n", _MOST_LINES), (b"\r", _MOST_LINES), (b"\n--", _MOST_BOUNDARIES)):
        if raw.count(mark) > most:
            place = 0
            for _ in range(most):
                place = raw.find(mark, place) + 1
            raw, message.truncated = raw[:place], True
            message.defects.append("has more lines or parts than are looked at")
    return raw


def _mime(raw: bytes, message: Message) -> Mime:
    try:
        return message_from_bytes(raw, policy=_POLICY)
    except (RecursionError, *_ODD):
        message.defects.append("its structure cannot be read")
        message.truncated = True
        return message_from_bytes(header_of(raw) + b"\r\n\r\n", policy=_POLICY)


def _read_header(mime: Mime, message: Message) -> None:
    headers = headers_of(mime)
    message.message_id = identifier(headers)
    message.thread_id = thread_of(headers)
    message.in_reply_to = identifier(headers, "in-reply-to")
    message.references = references(headers)
    message.subject = text_of(headers, "subject")
    message.participants, everybody = people(headers)
    message.sent_at = moment(headers)
    if not everybody:
        message.defects.append("names more people than are kept")
    if message.sent_at is None:
        message.defects.append("has no usable date")
    if message.message_id is None:
        message.defects.append("has no Message-ID")


class _Body:
    """The leaves of a message: what is text, and what is attached."""

    def __init__(self, mime: Mime, limits: Limits, message: Message) -> None:
        self._mime = mime
        self._limits = limits
        self._message = message
        self._room = limits.attachment_bytes
        self._left = limits.parts

    def read(self) -> None:
        """Fill in text and attachments."""
        try:
            text = "\n\n".join(text for text in self._texts(self._mime, "", 0) if text)
        except (RecursionError, *_ODD):
            self._message.defects.append("its structure cannot be read")
            self._message.truncated = True
            text = ""
        if len(text) > self._limits.text_characters:
            text, self._message.truncated = text[: self._limits.text_characters], True
        self._message.text = text

    def _texts(self, part: Mime, number: str, depth: int) -> Iterator[str]:
        """The texts of a part in their order; what is no text is noted as attached."""
        self._left -= 1
        if self._left < 0 or depth > _DEEPEST:
            self._message.truncated = True
            self._message.defects.append("has more parts than are looked at")
            return
        self._note_defects(part)
        children = part.get_payload() if part.is_multipart() else None
        if not isinstance(children, list) or _type(part).startswith("message/"):
            yield from self._leaf(part, number or "1", children)
            return
        numbered = [(child, f"{number}.{n}" if number else str(n)) for n, child in enumerate(children, start=1)]
        found = [(child, list(self._texts(child, n, depth + 1))) for child, n in numbered]
        if _type(part) == "multipart/alternative":
            yield from _best(found)
        else:
            for _, texts in found:
                yield from texts

    def _leaf(self, part: Mime, number: str, inner: object) -> Iterator[str]:
        kind, disposition = _type(part), _disposition(part)
        kind = "text/plain" if kind.startswith("multipart/") else kind  # what has no parts is a text at most
        name = _filename(part)
        data = _inner_bytes(inner) if inner is not None else self._data(part)
        is_text = kind in ("text/plain", "text/html") and disposition != "attachment" and not name
        if not is_text:
            self._attach(part, number, kind, disposition, name, data)
            return
        # More bytes than four for each character that is kept cannot matter.
        most = 4 * self._limits.text_characters + 4
        if len(data) > most:
            data, self._message.truncated = data[:most], True
        text, honest = decoded(data, _charset(part))
        if not honest:
            self._message.defects.append("is not in the charset that it says")
        yield text_of_html(text) if kind == "text/html" else tidy_plain(text)

    def _attach(self, part: Mime, number: str, kind: str, disposition: str, name: str | None, data: bytes) -> None:
        headers = headers_of(part)
        attachment: dict[str, Any] = {
            "part": number,
            "filename": name,
            "mimeType": kind,
            "size": len(data),
            "inline": disposition == "inline" or (disposition == "" and "content-id" in headers),
            "contentId": identifier(headers, "content-id"),
            "hash": sha256(data).hexdigest(),
        }
        if self._limits.attachment_bytes > 0 and len(data) <= self._room:
            self._room -= len(data)
            attachment["content"] = b64encode(data).decode()
        self._message.attachments.append(attachment)

    def _data(self, part: Mime) -> bytes:
        try:
            data = part.get_payload(decode=True)
            if not isinstance(data, bytes):
                return b""
        except _ODD:
            self._message.defects.append("has a part that cannot be decoded")
            return b""
        self._note_defects(part)
        if any(isinstance(defect, InvalidBase64LengthDefect) for defect in part.defects):
            return loose_base64(data)  # the library gives it back as it came
        return data

    def _note_defects(self, part: Mime) -> None:
        if part.defects:
            self._message.defects.append("is malformed")


def tidy_plain(text: str) -> str:
    """A plain text with one kind of line end, without blanks at the ends of lines."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    return "\n".join(line.rstrip() for line in lines).strip()


def _best(found: Sequence[tuple[Mime, Sequence[str]]]) -> Iterator[str]:
    """Of several versions of one text: the plain one, unless there is nothing in it."""
    readable = [(child, texts) for child, texts in found if any(text.strip() for text in texts)]
    plain = [texts for child, texts in readable if _type(child) == "text/plain"]
    chosen = plain[0] if plain else readable[0][1] if readable else ()
    yield from chosen


def _type(part: Mime) -> str:
    try:
        return storable(part.get_content_type().lower())[:200]
    except _ODD:
        return "application/octet-stream"


def _disposition(part: Mime) -> str:
    try:
        return (part.get_content_disposition() or "").lower()
    except _ODD:
        return ""


def _charset(part: Mime) -> str | None:
    try:
        said = part.get_param("charset")
    except _ODD:
        return None
    if isinstance(said, tuple):
        said = said[2]
    return str(said) if said else None


def _filename(part: Mime) -> str | None:
    try:
        name = part.get_filename()
    except _ODD:
        return None
    return filename(str(name)) if name else None


def _inner_bytes(inner: object) -> bytes:
    """The bytes of a message inside the message."""
    try:
        return b"\n".join(one.as_bytes() for one in inner if isinstance(one, Mime))  # type: ignore[attr-defined]
    except (RecursionError, UnicodeError, *_ODD):
        return b""
