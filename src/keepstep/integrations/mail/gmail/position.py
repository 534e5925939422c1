"""Where a reading of Gmail goes on, as its cursor keeps it; and what a reading has learned, as the facts keep it."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from datetime import datetime

from keepstep.integrations.mail.gmail.wire import age_of
from keepstep.model.integration import Json


@dataclass(frozen=True, slots=True)
class Position:
    """How far a reading is. Messages are read from the newest to the oldest.

    ``history``: where the history was when it began. ``newest``, ``last``: identifiers of the first message of all and
    of the one that was read last. ``changes``: of the reading of changes, which began at ``start``.
    """

    began: str
    history: int
    newest: str = ""
    last: str = ""
    number: int = 1
    total: int | None = None
    changes: bool = False
    start: int = 0
    done: bool = False

    @classmethod
    def stored(cls, cursor: Json) -> "Position | None":
        """The position a cursor holds, or None when it holds none."""
        try:
            position = cls(**cursor)
            datetime.fromisoformat(position.began)
            counted = (position.history, position.number, position.total or 0, position.start)
            fits = all(type(n) is int and n >= 0 for n in counted) and position.number >= 1
            fits = fits and isinstance(position.newest, str) and isinstance(position.last, str)
        except (TypeError, ValueError):
            return None
        return position if fits else None

    def cursor(self) -> Json:
        """The position as plain values."""
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def is_left(self, message_id: str) -> bool:
        """Whether a message is one of those that are still to come."""
        age = age_of(message_id)
        return (not self.newest or age <= age_of(self.newest)) and (not self.last or age < age_of(self.last))


@dataclass(frozen=True, slots=True)
class Learned:
    """``history``: the number from which the next changes are asked for. ``high``: the newest message known then."""

    history: int
    high: datetime | None

    @classmethod
    def of(cls, facts: Mapping[str, object]) -> "Learned | None":
        """What facts hold, or None."""
        try:
            history = int(str(facts["historyId"]))
            high = facts.get("high")
            return cls(history, None if high is None else datetime.fromisoformat(str(high)))
        except (KeyError, ValueError):
            return None

    def facts(self) -> Json:
        """As plain values."""
        return {"historyId": str(self.history), "high": None if self.high is None else self.high.isoformat()}
