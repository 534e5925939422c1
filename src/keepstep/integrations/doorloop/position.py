"""Where a reading of DoorLoop goes on, as its cursor keeps it."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime

from xxhash import xxh3_128_hexdigest

from keepstep.model.integration import Json

CREATED = "createdAt"
UPDATED = "updatedAt"

Mark = tuple[int, int, int, str]
"""Part and number of a page, how many records it held, and the digest of their keys."""


def mark_of(part: int, number: int, keys: Sequence[str | None]) -> Mark:
    """The mark of a page."""
    text = "\n".join(key or "" for key in keys) if None in keys else "\n".join(keys)  # type: ignore[arg-type]
    return part, number, len(keys), xxh3_128_hexdigest(text.encode("utf-8", "replace"))


@dataclass(frozen=True, slots=True)
class Position:
    """Where a reading goes on. ``total`` is upstream's count when the position was taken.

    ``marks``: where everything is read, that of the last page read of each part so far.
    """

    part: int = 0
    page: int = 1
    size: int = 100
    order: str = CREATED
    began: str | None = None
    total: int | None = None
    step_backs: int = 0
    done: bool = False
    marks: tuple[Mark, ...] = ()

    @classmethod
    def stored(cls, cursor: Json, parts: int) -> "Position | None":
        """The position a cursor holds, or None when it holds none."""
        try:
            position = cls(**cursor)
            numbers = (position.part, position.page, position.size, position.step_backs, position.total or 0)
            fits = all(type(n) is int for n in numbers) and position.order in (CREATED, UPDATED)
            if position.began is not None:
                datetime.fromisoformat(position.began)
            marks = tuple((int(part), int(page), int(n), str(digest)) for part, page, n, digest in position.marks)
            fits = fits and all(0 <= part < parts and page >= 1 for part, page, _, _ in marks)
        except (TypeError, ValueError):
            return None
        position = replace(position, marks=marks)
        return position if fits and 0 <= position.part < parts and min(numbers[1:3]) >= 1 else None

    def cursor(self) -> Json:
        """The position as plain values."""
        return {field.name: getattr(self, field.name) for field in fields(self)}
