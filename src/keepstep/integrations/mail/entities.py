"""The one entity of mail: messages, and how one becomes a record of it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Raw

from keepstep.integrations.mail.message import Message
from keepstep.model.integration import Entity, Field, Kind

MESSAGES = Entity(
    "messages",
    (
        Field("folder", Kind.TEXT),
        Field("uid", Kind.INTEGER),
        Field("threadId", Kind.TEXT),
        Field("messageId", Kind.TEXT),
        Field("inReplyTo", Kind.TEXT),
        Field("references", Kind.JSON),
        Field("subject", Kind.TEXT),
        Field("fromName", Kind.TEXT),
        Field("fromAddress", Kind.TEXT),
        Field("participants", Kind.JSON),
        Field("sentAt", Kind.TIMESTAMP),
        Field("receivedAt", Kind.TIMESTAMP),
        Field("text", Kind.TEXT),
        Field("snippet", Kind.TEXT),
        Field("flags", Kind.JSON),
        Field("seen", Kind.BOOLEAN),
        Field("labels", Kind.JSON),
        Field("attachments", Kind.JSON),
        Field("hasAttachments", Kind.BOOLEAN),
        Field("size", Kind.INTEGER),
        Field("truncated", Kind.BOOLEAN),
        Field("hash", Kind.TEXT),
        Field("defects", Kind.JSON),
    ),
    # Numbers only rise: no message moves to where a reading has already been.
    can_shift=False,
    owned=True,
)
"""``hash`` is the message's own (SHA-256 of its bytes), beside the ``_hash`` of the row."""


@dataclass(frozen=True, slots=True)
class Envelope:
    """What the server says of a message, beside the message itself.

    ``flags`` are those with a backslash, ``labels`` all other words that the server has for it.
    """

    folder: str | None = None
    uid: int | None = None
    thread_id: str | None = None
    received_at: datetime | None = None
    flags: Sequence[str] = ()
    labels: Sequence[str] = ()
    size: int | None = None


def split_flags(words: Iterable[str]) -> tuple[list[str], list[str]]:
    """The flags that IMAP itself defines, and the labels that people and programs have made; each sorted."""
    known = sorted(set(words))
    return [w for w in known if w.startswith("\\")], [w for w in known if not w.startswith("\\")]


def record_of(key: str, message: Message, envelope: Envelope) -> Raw:
    """The record of a message. The same message gives the same bytes."""
    sender: Mapping[str, str] = message.sender()
    received = envelope.received_at
    record: dict[str, Any] = {
        "id": key,
        "folder": envelope.folder,
        "uid": envelope.uid,
        "threadId": envelope.thread_id or message.thread_id or key,
        "messageId": message.message_id,
        "inReplyTo": message.in_reply_to,
        "references": message.references,
        "subject": message.subject,
        "fromName": sender.get("name") or None,
        "fromAddress": sender.get("address") or None,
        "participants": message.participants,
        "sentAt": message.sent_at,
        "receivedAt": None if received is None else received.astimezone(UTC),
        "text": message.text,
        "snippet": message.snippet,
        "flags": list(envelope.flags),
        "seen": "\\seen" in {flag.lower() for flag in envelope.flags},
        "labels": list(envelope.labels),
        "attachments": message.attachments,
        "hasAttachments": any(not one["inline"] for one in message.attachments),
        "size": envelope.size,
        "truncated": message.truncated,
        "hash": message.hash,
        "defects": message.defects,
    }
    return Raw(msgspec.json.encode(record))
