"""The newest events of a process, encoded once for everyone who listens."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from keepstep.model.schedule import EVERYTHING as SEES_ALL
from keepstep.model.schedule import Scope
from keepstep.service.position import Position
from keepstep.service.shapes import Absent, Level, Shape

LEVELS = ("debug", "info", "warning", "error")
_MOST_IN_A_CHUNK = 500


class LogLine(Shape):
    """The data of ``event: log``."""

    type: str
    ts: datetime
    entity: str | None
    page: int | None
    rows: int | None
    level: Level
    msg: str
    run_id: int
    rate_limit: Annotated[Any, Absent] = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which events somebody asks for: of an entity, of a run, from a level on; and those that they may see."""

    entity: str | None = None
    level: str = LEVELS[0]
    run_id: int | None = None
    scope: Scope = SEES_ALL

    @property
    def levels(self) -> tuple[str, ...]:
        """The levels asked for."""
        return LEVELS[LEVELS.index(self.level) :]

    def takes(self, line: "Line") -> bool:
        """Whether an event is one of them."""
        return (
            (self.entity is None or line.entity == self.entity)
            and (self.run_id is None or line.run_id == self.run_id)
            and line.rank >= LEVELS.index(self.level)
            and self.scope.sees(line.of_user)
        )


EVERYTHING = Wanted()


@dataclass(frozen=True, slots=True)
class Line:
    """An event as it goes over the wire, and where the feed is after it."""

    id: int
    run_id: int
    entity: str | None
    of_user: str | None
    rank: int
    position: Position
    body: bytes
    block: bytes

    @classmethod
    def of(cls, row: dict[str, Any], position: Position) -> "Line":
        """From a row of the table."""
        data = LogLine(
            type=row["type"], ts=row["ts"].astimezone(UTC), entity=row["entity"], page=row["page"], rows=row["rows"],
            level=row["level"], msg=row["msg"], run_id=row["run_id"], rate_limit=row["data"].get("rateLimit"),
        )  # fmt: skip
        body = b"event: log\ndata: " + data.model_dump_json().encode() + b"\n\n"
        rank = LEVELS.index(row["level"])
        of = row["run_id"], row["entity"], row["of_user"]
        return cls(row["id"], *of, rank, position, body, block(position, body))

    def at(self, position: Position) -> bytes:
        """The same event for somebody whose position after it is another one."""
        return self.block if position == self.position else block(position, self.body)


def block(position: Position, rest: bytes = b"\n") -> bytes:
    """What moves a browser's ``Last-Event-ID``, with an event or, being only that, without one."""
    return b"id: %s\n%s" % (str(position).encode(), rest)


class Ring:
    """Lines by number, counted from 0 for the process's life; the oldest go when there are more than ``most``."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._lines: list[Line] = []
        self.first = 0
        self.start = Position()
        self.position = Position()

    @property
    def end(self) -> int:
        """The number that the next line will have."""
        return self.first + len(self._lines)

    def begin(self, position: Position) -> None:
        """Nothing is kept of what was before."""
        self.first, self._lines, self.start, self.position = self.end, [], position, position

    def add(self, lines: Sequence[Line], position: Position) -> None:
        """The next lines, and the position after them: gaps that were forgotten may be missing in it."""
        self._lines += lines
        self.position = position
        if len(self._lines) >= 2 * self._most:  # not each time: moving the rest costs as much as it is long
            gone = len(self._lines) - self._most
            self.start = self._lines[gone - 1].position
            self.first += gone
            del self._lines[:gone]

    def chunk(self, cursor: int, wanted: Wanted) -> tuple[bytes, int]:
        """The lines wanted from a number on, as bytes, and the number to go on from."""
        lines = self._lines[cursor - self.first : cursor - self.first + _MOST_IN_A_CHUNK]
        return b"".join(line.block for line in lines if wanted.takes(line)), cursor + len(lines)

    def before(self, cursor: int) -> Position:
        """The position of somebody who has had all lines before a number."""
        if cursor == self.end:
            return self.position
        return self._lines[cursor - self.first - 1].position if cursor > self.first else self.start

    def holds_all_after(self, seen: Position) -> bool:
        """Whether every event that ``seen`` has not seen, and the feed has, is still here."""
        return seen.covers(self.start)

    def missed(self, seen: Position, wanted: Wanted) -> list[Line]:
        """The lines wanted that ``seen`` has not seen, by id."""
        return sorted((x for x in self._lines if x.id not in seen and wanted.takes(x)), key=lambda line: line.id)
