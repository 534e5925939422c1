"""Where a reading of a mailbox goes on, as its cursor keeps it."""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime

from keepstep.model.integration import Json


@dataclass(frozen=True, slots=True)
class Position:
    """How far a full reading is: in which of ``folders``, and which numbers (up to ``end``) are still to come."""

    folders: tuple[str, ...]
    began: str
    at: int = 0
    number: int = 1
    uidvalidity: int = 0
    uid: int = 0
    end: int = 0
    total: int = 0
    modseq: int | None = None
    done: bool = False

    @classmethod
    def stored(cls, cursor: Json, folders: Sequence[str]) -> "Position | None":
        """The position that a cursor holds, or None where it holds none of a reading of these folders."""
        try:
            position = cls(**{**cursor, "folders": tuple(cursor["folders"])})
            datetime.fromisoformat(position.began)
            counted = (position.at, position.number, position.uidvalidity, position.uid, position.end, position.total)
            fits = all(type(n) is int and n >= 0 for n in counted)
        except (TypeError, ValueError, KeyError):
            return None
        return position if fits and position.folders == tuple(folders) and position.at < max(len(folders), 1) else None

    def cursor(self) -> Json:
        """The position as plain values."""
        return {field.name: getattr(self, field.name) for field in fields(self)}
