"""What Gmail's answers hold. Numbers of 64 bits come as text; what is empty is left out."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec

from keepstep.integrations.mail.headers import loose_base64

_URL_SAFE = str.maketrans("-_", "+/")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
LEFT_OUT = frozenset(("SPAM", "TRASH", "DRAFT", "CHAT"))
"""Labels of messages that are not read, as IMAP leaves out the folders of these names."""
NO_DRAFTS = "-in:drafts -in:chats"
"""The query that leaves them out; spam and bin are left out anyhow."""


class Ref(msgspec.Struct, gc=False):
    """A message by its identifier."""

    id: str
    labelIds: list[str] = []  # noqa: N815 - the wire's name; msgspec copies empty lists


class ListAnswer(msgspec.Struct):
    """``messages.list``. One of ``messages`` and ``resultSizeEstimate`` is always there."""

    messages: list[Ref] | None = None
    nextPageToken: str | None = None  # noqa: N815
    resultSizeEstimate: int | None = None  # noqa: N815


class Happened(msgspec.Struct, gc=False):
    """One event of a history record."""

    message: Ref


class HistoryRecord(msgspec.Struct, gc=False):
    """What happened at one number of the history."""

    id: int
    messagesAdded: list[Happened] = []  # noqa: N815
    messagesDeleted: list[Happened] = []  # noqa: N815
    labelsAdded: list[Happened] = []  # noqa: N815
    labelsRemoved: list[Happened] = []  # noqa: N815


class HistoryAnswer(msgspec.Struct):
    """``history.list``."""

    historyId: int  # noqa: N815
    history: list[HistoryRecord] = []
    nextPageToken: str | None = None  # noqa: N815


class Profile(msgspec.Struct):
    """``getProfile``."""

    emailAddress: str  # noqa: N815
    historyId: int  # noqa: N815
    messagesTotal: int = 0  # noqa: N815


class RawMessage(msgspec.Struct):
    """``messages.get?format=raw``."""

    id: str
    raw: str
    threadId: str = ""  # noqa: N815
    labelIds: list[str] = []  # noqa: N815
    internalDate: int | None = None  # noqa: N815
    sizeEstimate: int | None = None  # noqa: N815

    @property
    def content(self) -> bytes:
        """The message itself, as far as it goes."""
        return loose_base64(self.raw.translate(_URL_SAFE).encode("ascii", "ignore"))

    @property
    def received_at(self) -> datetime | None:
        """When Gmail got it."""
        try:
            return None if self.internalDate is None else EPOCH + timedelta(milliseconds=self.internalDate)
        except OverflowError:
            return None

    @property
    def flags(self) -> Sequence[str]:
        """What its labels mean in IMAP's words."""
        labels = set(self.labelIds)
        flags = [] if "UNREAD" in labels else ["\\Seen"]
        return sorted([*flags, *(["\\Flagged"] if "STARRED" in labels else [])])


def age_of(message_id: str) -> tuple[int, str]:
    """Sorts message identifiers, which are hexadecimal numbers that rise with time."""
    return len(message_id), message_id


LIST = msgspec.json.Decoder(ListAnswer, strict=False)
HISTORY = msgspec.json.Decoder(HistoryAnswer, strict=False)
PROFILE = msgspec.json.Decoder(Profile, strict=False)
MESSAGE = msgspec.json.Decoder(RawMessage, strict=False)
