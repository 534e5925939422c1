"""From words on a page to cells: lines, the columns' headers, and what stands under or between them. Pure.

An unruled page is read by its headers: a number ends exactly where its header ends, everything else begins exactly
where its header begins. What does neither has run over from its own column, and is refused rather than guessed at.
A ruled page is read by its rules.
"""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import itemgetter

from keepstep.integrations.erp.layout import Column, Layout
from keepstep.integrations.erp.refusal import Refused, Spot

Word = tuple[str, float, float, float, float]
"""Text, x0, x1, top, bottom: points from the page's upper left corner."""
Line = list[Word]
Rule = tuple[float, float, float]
"""Where a rule stands, and from where to where it goes."""

ALIGNED = 1.0
"""Points by which a cell may miss its header."""
SAME_LINE = 2.0
_SPACE = 4.0
_SUFFIXES = frozenset({"A", "D", "€", "EUR", "-"})
_UNDER = 3.0


@dataclass(frozen=True, slots=True)
class Placed:
    """A column as a page has it. ``known``: the layout has it; else it is new, and its header names it."""

    column: Column
    x0: float
    x1: float
    known: bool = True


@dataclass(frozen=True, slots=True)
class Band:
    """One line of an unruled page, or one row of a ruled one: a text for every placed column."""

    cells: Sequence[str]
    box: tuple[float, float, float, float]
    line: str


def lines_of(words: Sequence[Word]) -> list[Line]:
    """The words as lines from top to bottom, each from left to right."""
    lines: list[Line] = []
    last = float("-inf")
    for word in sorted(words, key=itemgetter(3)):
        if word[3] - last > SAME_LINE:
            lines.append([])
            last = word[3]
        lines[-1].append(word)
    for line in lines:
        line.sort(key=itemgetter(1))
    return lines


def text_of(line: Line) -> str:
    """A line's words, with a blank between two."""
    return " ".join([word[0] for word in line])


def find_header(lines: Sequence[Line], layout: Layout, page: int) -> tuple[int, tuple[Placed, ...]]:
    """Which line holds the columns' headers, and where the columns stand, from left to right."""
    best: tuple[list[str], int] = ([], 0)
    for number, line in enumerate(lines):
        placed, missing = _headers_in(line, layout)
        if not missing:
            return number, tuple(sorted(placed, key=lambda column: column.x0))
        if number == 0 or len(missing) < len(best[0]):
            best = missing, number
    missing, number = best
    if len(missing) * 2 > len(layout.columns):
        raise Refused("report-columns", f"page {page} has no line with the columns' headers", Spot(page))
    named = ", ".join(missing)
    raise Refused("report-columns", f"page {page} has no column {named}", Spot(page, box=box_of(lines[number])))


def _headers_in(line: Line, layout: Layout) -> tuple[list[Placed], list[str]]:
    """The columns whose headers a line holds, new ones too, and the headers it lacks."""
    texts = [word[0] for word in line]
    free = [True] * len(line)
    placed, missing = [], []
    for column in sorted(layout.columns, key=lambda column: -len(column.header.split())):
        wanted = column.header.split()
        size = len(wanted)
        for start in range(len(texts) - size + 1):
            if texts[start : start + size] == wanted and all(free[start : start + size]):
                free[start : start + size] = [False] * size
                placed.append(Placed(column, line[start][1], line[start + size - 1][2]))
                break
        else:
            missing.append(column.header)
    return placed + _new_columns(line, free), missing


def _new_columns(line: Line, free: Sequence[bool]) -> list[Placed]:
    groups: list[Line] = []
    joined = False
    for word, is_free in zip(line, free, strict=True):
        if is_free and joined and word[1] - groups[-1][-1][2] < _SPACE:
            groups[-1].append(word)
        elif is_free:
            groups.append([word])
        joined = is_free
    named = [(text_of(group), group) for group in groups]
    return [Placed(Column(text, text, wraps=True), group[0][1], group[-1][2], known=False) for text, group in named]


class Unruled:
    """Cells by the headers' edges."""

    def __init__(self, placed: Sequence[Placed], page: int) -> None:
        self._page = page
        self._placed = placed
        self._starts = [column.x0 for column in placed]
        self._ends = [(n, c.x1) for n, c in enumerate(placed) if c.column.to_the_right or not c.known]

    def bands(self, lines: Sequence[Line]) -> Iterator[Band]:
        """Every line as a band."""
        for line in lines:
            yield self._band(line)

    def _band(self, line: Line) -> Band:
        cells: list[list[str]] = [[] for _ in self._placed]
        begins = [0.0] * len(cells)
        number, left_of = -1, 0.0
        for word in reversed(line):
            text, x0, x1, _, _ = word
            if not (number >= 0 and cells[number][-1] in _SUFFIXES and left_of - x1 < _SPACE):
                number = self._column(x0, x1)
            if number < 0:
                raise self._astray(line, text)
            cells[number].append(text)
            begins[number] = left_of = x0
        for n, cell in enumerate(cells):
            if not cell:
                continue
            column = self._placed[n]
            ok = column.column.to_the_right or abs(begins[n] - column.x0) <= ALIGNED
            if not ok and not (not column.known and self._ends_at(n, line)):
                raise self._astray(line, " ".join(reversed(cell)))
        return Band([" ".join(reversed(cell)) if cell else "" for cell in cells], box_of(line), text_of(line))

    def _column(self, x0: float, x1: float) -> int:
        for number, end in self._ends:
            if -ALIGNED <= x1 - end <= ALIGNED:
                return number
        number = bisect_right(self._starts, x0 + ALIGNED) - 1
        # What is printed to the right belongs to the column whose end it has, or to none.
        return -1 if number >= 0 and self._placed[number].column.to_the_right else number

    def _ends_at(self, number: int, line: Line) -> bool:
        return any(abs(word[2] - self._placed[number].x1) <= ALIGNED for word in line)

    def _astray(self, line: Line, text: str) -> Refused:
        detail = f"on page {self._page} the text {text[:60]!r} stands under no header"
        return Refused("report-unreadable", detail, Spot(self._page, box=box_of(line)))


class Ruled:
    """Cells by the rules around them."""

    def __init__(self, placed: Sequence[Placed], upright: Sequence[float], level: Sequence[float], page: int) -> None:
        self._page = page
        self._upright = upright
        self._level = level
        self._slots: list[int | None] = [None] * (len(upright) + 1)
        for n, column in enumerate(placed):
            slot = bisect_right(upright, (column.x0 + column.x1) / 2)
            if self._slots[slot] is not None:
                named = f"{placed[self._slots[slot] or 0].column.header} and {column.column.header}"
                raise Refused("report-columns", f"on page {page} no rule parts {named}", Spot(page))
            self._slots[slot] = n
        self._count = len(placed)

    def bands(self, lines: Sequence[Line]) -> Iterator[Band]:
        """The rows between two level rules each, then the lines below the last one as they are."""
        rows: dict[int, list[tuple[int, Word]]] = {}
        below: list[Line] = []
        lowest = self._level[-1]
        for line in lines:
            if (line[0][3] + line[0][4]) / 2 > lowest:
                below.append(line)
                continue
            for word in line:
                rows.setdefault(bisect_right(self._level, (word[3] + word[4]) / 2), []).append((self._slot(word), word))
        for number in sorted(rows):
            yield self._band(rows[number])
        for line in below:
            cells = [text_of(line)] + [""] * (self._count - 1)
            yield Band(cells, box_of(line), cells[0])

    def _band(self, held: Sequence[tuple[int, Word]]) -> Band:
        cells: list[list[str]] = [[] for _ in range(self._count)]
        for number, word in held:
            cells[number].append(word[0])
        words = [word for _, word in held]
        return Band([" ".join(cell) for cell in cells], box_of(words), text_of(words))

    def _slot(self, word: Word) -> int:
        text, x0, x1, _, _ = word
        slot = bisect_right(self._upright, (x0 + x1) / 2)
        number = self._slots[slot]
        low = self._upright[slot - 1] if slot else x0
        high = self._upright[slot] if slot < len(self._upright) else x1
        if number is None or x0 < low - ALIGNED or x1 > high + ALIGNED:
            detail = f"on page {self._page} the text {text[:60]!r} stands across a rule or in a column without a header"
            raise Refused("report-unreadable", detail, Spot(self._page, box=box_of([word])))
        return number


def upright_at(rules: Sequence[Rule], height: float) -> list[float]:
    """Where upright rules cross a height, from left to right, each once."""
    return _distinct(x for x, top, bottom in rules if top - _UNDER <= height <= bottom + _UNDER)


def level_below(rules: Sequence[Rule], height: float, left: float, right: float) -> list[float]:
    """Where level rules go from side to side below a height, each once. One may be drawn in pieces, cell by cell."""
    pieces: list[tuple[float, list[tuple[float, float]]]] = []
    for y, x0, x1 in sorted(rules):
        if y < height - _UNDER:
            continue
        if not pieces or y - pieces[-1][0] > ALIGNED:
            pieces.append((y, []))
        pieces[-1][1].append((x0, x1))
    return [y for y, parts in pieces if _covers(parts, left, right)]


def _covers(parts: Sequence[tuple[float, float]], left: float, right: float) -> bool:
    """Whether pieces make one rule from side to side."""
    reached = left
    for x0, x1 in sorted(parts):
        if x0 > reached + _UNDER:
            return False
        reached = max(reached, x1)
    return reached >= right - _UNDER


def _distinct(places: Iterator[float]) -> list[float]:
    found: list[float] = []
    for place in sorted(places):
        if not found or place - found[-1] > ALIGNED:
            found.append(place)
    return found


def box_of(words: Sequence[Word]) -> tuple[float, float, float, float]:
    """The box around some words."""
    return (
        min(word[1] for word in words),
        min(word[3] for word in words),
        max(word[2] for word in words),
        max(word[4] for word in words),
    )
