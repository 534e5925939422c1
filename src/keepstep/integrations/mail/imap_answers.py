"""What an IMAP server's answers hold: folders, their state, and what is said of messages. Never raises for odd ones."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from imapclient import imap_utf7

from keepstep.integrations.mail.folders import Folder


@dataclass(frozen=True, slots=True)
class State:
    """A folder when it was selected. ``uidnext`` and ``modseq``: None where the server does not say."""

    uidvalidity: int
    uidnext: int | None
    exists: int
    modseq: int | None


@dataclass(frozen=True, slots=True)
class Head:
    """What the server says of a message."""

    size: int
    flags: tuple[str, ...]
    received_at: datetime | None
    thread_id: str | None
    labels: tuple[str, ...]


def state_of(said: Mapping[bytes, Any]) -> State:
    """What an EXAMINE says of a folder."""
    uidnext, modseq = said.get(b"UIDNEXT"), said.get(b"HIGHESTMODSEQ")
    return State(
        uidvalidity=int(said.get(b"UIDVALIDITY") or 1),
        uidnext=int(uidnext) if uidnext else None,
        exists=int(said.get(b"EXISTS") or 0),
        modseq=int(modseq) if modseq else None,
    )


def folder_of(attributes: Iterable[Any], separator: Any, name: Any) -> Folder | None:
    """A line of a LIST; None where the name is nothing that could be sent back."""
    raw = name.decode("ascii", "ignore") if isinstance(name, bytes) else str(name)
    if not raw or (isinstance(name, bytes) and not name.isascii()):
        return None
    try:
        readable = imap_utf7.decode(raw.encode("ascii"))
        readable.encode()
    except (UnicodeError, ValueError):
        readable = raw
    known = frozenset(word.decode("ascii", "ignore").lower() for word in attributes if isinstance(word, bytes))
    parts = separator.decode("ascii", "ignore") if isinstance(separator, bytes) else "/"
    return Folder(readable.replace("\x00", ""), raw, known, parts or "/")


def head_of(answer: Mapping[bytes, Any]) -> Head:
    """What a FETCH says of a message."""
    received = answer.get(b"INTERNALDATE")
    thread = answer.get(b"X-GM-THRID")
    return Head(
        size=int(answer[b"RFC822.SIZE"]),
        flags=words_of(answer.get(b"FLAGS")),
        received_at=_moment(received) if isinstance(received, datetime) else None,
        thread_id=f"{thread:x}" if isinstance(thread, int) else None,
        labels=words_of(answer.get(b"X-GM-LABELS")),
    )


def _moment(value: datetime) -> datetime | None:
    try:
        return value.astimezone(UTC)
    except (OverflowError, ValueError):
        return None


def words_of(values: Any) -> tuple[str, ...]:
    """Flags and labels as text, decoded from IMAP's own coding of what is not ASCII.

    Without ``\\Recent``, which says something of the session, not of the message.
    """
    found: list[str] = []
    for value in values if isinstance(values, tuple | list) else ():
        raw = value if isinstance(value, bytes) else str(value).encode("ascii", "ignore")
        try:
            word = imap_utf7.decode(raw)
            word.encode()
        except (UnicodeError, ValueError):
            word = raw.decode("ascii", "ignore")
        if word and word.lower() != "\\recent":
            found.append(word.replace("\x00", ""))
    return tuple(found)
