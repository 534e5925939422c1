"""Where a reading of Google Contacts goes on, as its cursor keeps it, and the sync token that a finished one leaves."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any

from keepstep.integrations.google_contacts.entities import PERSON_FIELDS
from keepstep.model.integration import Json

MASK = ",".join(PERSON_FIELDS)


@dataclass(frozen=True, slots=True)
class Position:
    """Where a reading goes on. Google refuses a token that comes with other parameters: ``size`` is one of them.

    ``page_token``: of the next page; empty for the first. ``sync_token``: what the changes are counted from; empty
    where everything is read. ``total`` is Google's count when the position was taken.
    """

    number: int = 1
    size: int = 1000
    page_token: str = ""
    sync_token: str = ""
    began: str | None = None
    total: int | None = None
    done: bool = False
    mask: str = MASK

    @classmethod
    def stored(cls, cursor: Json) -> "Position | None":
        """The position that a cursor holds; None when it holds none, or one of another mask."""
        try:
            position = cls(**cursor)
            texts = (position.page_token, position.sync_token, position.mask)
            numbers = (position.number, position.size, position.total or 0)
            fits = all(type(text) is str for text in texts) and all(type(number) is int for number in numbers)
            if position.began is not None:
                datetime.fromisoformat(position.began)
        except (TypeError, ValueError):
            return None
        # One that is past the first page without a token for the next leads nowhere.
        leads_on = position.done or position.number == 1 or bool(position.page_token)
        fits = fits and position.number >= 1 and position.size >= 1 and leads_on and bool(cursor)
        return position if fits and position.mask == MASK else None

    def cursor(self) -> Json:
        """The position as plain values."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    @property
    def params(self) -> Mapping[str, str | int]:
        """What to ask for."""
        asked: dict[str, str | int] = {"personFields": self.mask, "pageSize": self.size, "requestSyncToken": "true"}
        if self.sync_token:
            asked["syncToken"] = self.sync_token
        if self.page_token:
            asked["pageToken"] = self.page_token
        return asked


@dataclass(frozen=True, slots=True)
class Mark:
    """What a reading leaves for the next: the sync token, the page size and mask it goes with, and the watermark.

    ``reader`` made it: its beginnings and ends of readings are numbered in one row, so that of two marks of one reader
    it is known which is older. Their tokens do not tell.
    """

    sync_token: str
    size: int
    high: datetime | None = None
    reader: str = ""
    began: int = 0
    ended: int = 0
    mask: str = MASK

    def no_later_than(self, other: "Mark") -> bool:
        """Whether all that changed since the other mark has certainly changed since this one as well."""
        if self.sync_token == other.sync_token:
            return True
        return self.reader != "" and self.reader == other.reader and self.ended < other.began

    @classmethod
    def learned(cls, facts: Json) -> "Mark | None":
        """The mark that facts hold; None when they hold none that can be used."""
        token, size, mask = facts.get("sync_token"), facts.get("size"), facts.get("mask")
        if not isinstance(token, str) or not token or type(size) is not int or size < 1 or mask != MASK:
            return None
        high: Any = facts.get("high")
        try:
            when = None if high is None else datetime.fromisoformat(high)
            order = str(facts.get("reader") or ""), int(facts.get("began") or 0), int(facts.get("ended") or 0)
            return cls(token, size, when, *order)
        except (TypeError, ValueError):
            return None

    def facts(self) -> Json:
        """The mark as plain values."""
        high = None if self.high is None else self.high.astimezone(UTC).isoformat()
        return {**{field.name: getattr(self, field.name) for field in fields(self)}, "high": high}
