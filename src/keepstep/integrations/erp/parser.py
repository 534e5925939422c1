"""A report from its bytes to rows: every one of them, proven, or ``Refused`` and none.

The proofs: each page says which of how many it is; what a page carries over is the sum so far, and the next one brings
the same; the printed total is the sum of the rows, and the printed count their number. Every cell is of its column's
type. The title, and the agent where there is one, are those that were asked for.
"""

import hashlib
import io
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import msgspec

from keepstep.integrations.erp.geometry import (
    Band,
    Line,
    Placed,
    Rule,
    Ruled,
    Unruled,
    Word,
    find_header,
    level_below,
    lines_of,
    text_of,
    upright_at,
)
from keepstep.integrations.erp.layout import LINEAGE, Layout
from keepstep.integrations.erp.numbers import as_printed, calendar_date, number, whole_number
from keepstep.integrations.erp.refusal import Refused, Spot

if TYPE_CHECKING:
    from pdfplumber.page import Page

_MARK, _END, _MARGIN = b"%PDF-", b"%%EOF", 1024
_THIN = 1.5
_encode = msgspec.json.Encoder(decimal_format="number").encode
Words = Callable[["Page"], Sequence[dict[str, Any]]]


@dataclass(slots=True)
class Row:
    """One row under way: what is printed of it so far, and where it began."""

    cells: list[str]
    page: int
    number: int
    box: tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class Report:
    """A proven report. ``records`` are JSON, in the order of the report, with ``keys`` beside them.

    ``printed``: when the ERP says that it was (its local time), None where it does not. ``new_columns``: headers that
    the layout does not have.
    """

    document: str
    records: tuple[bytes, ...]
    keys: tuple[str, ...]
    pages: int
    printed: datetime | None = None
    new_columns: tuple[str, ...] = ()


def document_hash(pdf: bytes) -> str:
    """What a document is called: the SHA-256 of its bytes, in hexadecimal digits."""
    return hashlib.sha256(pdf).hexdigest()


def words_of(page: "Page") -> Sequence[dict[str, Any]]:
    """The words of a page: the whole of what is asked of pdfplumber for them."""
    return page.extract_words(x_tolerance=1, y_tolerance=2)


def parse(pdf: bytes, layout: Layout, *, agent: str = "", words: Words = words_of) -> Report:
    """The report's rows. ``agent``: whose it must say that it is. Raises ``Refused``."""
    import pdfplumber  # takes a while to load, and whoever only fetches reports never needs it

    check_file(pdf)
    parser = _Parser(layout, agent, document_hash(pdf))
    try:
        document = pdfplumber.open(io.BytesIO(pdf))
    except Exception as error:
        raise _broken(error) from None
    with document:
        try:
            pages = document.pages
        except Exception as error:
            raise _broken(error) from None
        if not pages:
            raise Refused("report-cut-off", "it has no pages")
        for number, page in enumerate(pages, start=1):
            try:
                found, upright, level = words(page), *_rules(page)
            except Exception as error:
                raise _broken(error) from None
            page.close()
            parser.add(number, len(pages), [_word(word) for word in found], upright, level)
    return parser.report(len(pages))


def check_file(pdf: bytes) -> None:
    """Refuse what is not a whole PDF file, as far as its beginning and its end tell."""
    start = pdf[:_MARGIN]
    if not start.strip():
        raise Refused("report-cut-off", "the file is empty")
    if _MARK not in start:
        code = "report-html" if start.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] == b"<" else "report-not-pdf"
        raise Refused(code, "it begins with " + repr(start[:40].decode("latin-1")))
    if _END not in pdf[-_MARGIN:]:
        raise Refused("report-cut-off", f"the end of the file is missing after {len(pdf)} bytes")


def _broken(error: Exception) -> Refused:
    return Refused("report-cut-off", f"its inside is broken ({type(error).__name__})")


def _word(word: dict[str, Any]) -> Word:
    return word["text"], word["x0"], word["x1"], word["top"], word["bottom"]


def _rules(page: "Page") -> tuple[list[Rule], list[Rule]]:
    """Upright and level rules; a thin rectangle is one."""
    upright, level = [], []
    for drawn in (*page.lines, *page.rects):
        x0, x1, top, bottom = drawn["x0"], drawn["x1"], drawn["top"], drawn["bottom"]
        if x1 - x0 <= _THIN:
            upright.append((x0, top, bottom))
        elif bottom - top <= _THIN:
            level.append((top, x0, x1))
        elif drawn["object_type"] == "rect":
            upright += [(x0, top, bottom), (x1, top, bottom)]
            level += [(top, x0, x1), (bottom, x0, x1)]
    return upright, level


@dataclass
class _Parser:
    """Takes the pages in order, gives the report."""

    layout: Layout
    agent: str
    document: str
    rows: list[Row] = field(default_factory=list)
    printed: datetime | None = None
    placed: tuple[Placed, ...] = ()
    total: list[Decimal] | None = None
    count: int | None = None

    def __post_init__(self) -> None:
        self._sums = [Decimal(0) for _ in self.layout.totals]
        self._carried: list[Decimal] | None = None
        self._carries = self.layout.furniture.carries and bool(self.layout.totals)

    def add(self, page: int, pages: int, words: Sequence[Word], upright: Sequence[Rule], level: Sequence[Rule]) -> None:
        """Read one page."""
        if not words:
            raise Refused("report-scan", f"page {page} has no text", Spot(page))
        lines = lines_of(words)
        if page == 1:
            self._is_the_one([text_of(line) for line in lines[:12]])
        at, placed = find_header(lines, self.layout, page)
        self._same_columns(placed, page)
        above, header, below = lines[:at], lines[at], lines[at + 1 :]
        below = below[: len(below) - self._numbered(above, below, page, pages)]
        if page > 1 and self._carries and self._carried is None:
            raise Refused("report-carry", f"page {page - 1} does not carry its sum over", Spot(page - 1))
        on_page = 0
        brought = page == 1 or not self._carries
        for band in self._bands(placed, header, below, upright, level, page):
            kind = self._kind(band)
            if kind == "count":
                self.count = self._counted(band, page)
            elif self.total is not None:
                raise self._unreadable(band, page, "stands behind the total")
            elif kind in ("carried", "brought", "total"):
                brought = self._sum_line(kind, band, page) or brought
            elif not brought:
                raise Refused("report-carry", f"page {page} does not bring the sum of the page before", Spot(page))
            else:
                on_page += self._row(band, page, on_page + 1)
        if not brought:
            raise Refused("report-carry", f"page {page} does not bring the sum of the page before", Spot(page))

    def report(self, pages: int) -> Report:
        """All rows, once the last page is read and the proofs hold."""
        if (self.total is None and self.layout.totals) or self.count is None:
            raise Refused("report-total", "the total and the count at its end are missing", Spot(pages))
        for name, printed, summed in zip(self.layout.totals, self.total or (), self._sums, strict=True):
            if printed != summed:
                header = self.layout.by_field[name].header
                detail = f"{header} adds up to {as_printed(summed)}, but {as_printed(printed)} is printed"
                raise Refused("report-total", detail, Spot(pages))
        if self.count != len(self.rows):
            raise Refused("report-count", f"{len(self.rows)} rows were read, but {self.count} are announced")
        keys, records = [], []
        for row in self.rows:
            key, record = self._record(row)
            keys.append(key)
            records.append(record)
        new = tuple(placed.column.header for placed in self.placed if not placed.known)
        return Report(self.document, tuple(records), tuple(keys), pages, self.printed, new)

    # A page's surroundings

    def _is_the_one(self, lines: Sequence[str]) -> None:
        """Whether this is the report asked for, and of the agent asked for."""
        furniture = self.layout.furniture
        if not any(self.layout.title in line for line in lines):
            raise Refused("report-other", f"its title is not {self.layout.title!r}", Spot(1))
        for line in lines:
            if (found := furniture.printed.search(line)) is not None:
                with suppress(ValueError):
                    day = calendar_date(found[1])
                    clock = datetime.strptime(found[2] or "00:00", "%H:%M").time()  # noqa: DTZ007 - the ERP's own time
                    self.printed = datetime.combine(day, clock)
        if self.agent and self.layout.per_agent:
            named = [found[1] for line in lines if (found := furniture.agent.search(line))]
            if named != [self.agent]:
                says = f"names the agent {', '.join(named)}" if named else "names no agent"
                raise Refused("report-other", f"it {says} and not {self.agent}", Spot(1))

    def _same_columns(self, placed: tuple[Placed, ...], page: int) -> None:
        if self.placed and [p.column.header for p in placed] != [p.column.header for p in self.placed]:
            raise Refused("report-columns", f"page {page} has other columns than the pages before", Spot(page))
        if not self.placed:
            self.placed = placed
            by_field = {column.column.field: n for n, column in enumerate(placed)}
            self._anchor = by_field[self.layout.anchor]
            self._totals = [by_field[name] for name in self.layout.totals]
            self._wraps = [column.column.wraps for column in placed]

    def _numbered(self, above: Sequence[Line], below: Sequence[Line], page: int, pages: int) -> int:
        """Hold the page's number against the file's; gives how many lines it takes at the foot."""
        pattern = self.layout.furniture.page
        found = [found for line in above if (found := pattern.search(text_of(line)))]
        at_foot = 0
        if not found and below and (foot := pattern.fullmatch(text_of(below[-1]))):
            found, at_foot = [foot], 1
        if len(found) != 1:
            raise Refused("report-pages", f"page {page} does not say which of how many it is", Spot(page))
        says = int(found[0][1]), int(found[0][2])
        if says != (page, pages):
            detail = f"page {page} of {pages} in the file is printed as page {says[0]} of {says[1]}"
            raise Refused("report-pages", detail, Spot(page))
        return at_foot

    def _bands(
        self, placed: tuple[Placed, ...], header: Line, below: Sequence[Line], upright: Sequence[Rule],
        level: Sequence[Rule], page: int,
    ) -> Iterator[Band]:  # fmt: skip
        middle = (header[0][3] + header[0][4]) / 2
        edges = upright_at(upright, middle)
        if len(edges) > len(placed):
            rules = level_below(level, middle, edges[0], edges[-1])
            if len(rules) > 1:
                return Ruled(placed, edges, rules, page).bands(below)
        return Unruled(placed, page).bands(below)

    # Lines

    def _kind(self, band: Band) -> str:
        """What a line is: ``row``, or one of the furniture's."""
        furniture, first = self.layout.furniture, band.cells[self._anchor]
        if not first or self.layout.anchored.fullmatch(first):
            return "row"
        for kind in ("carried", "brought", "total"):
            if first == getattr(furniture, kind):
                return kind
        return "count" if band.line.startswith(f"{furniture.count} ") else "row"

    def _sum_line(self, kind: str, band: Band, page: int) -> bool:
        """Hold a printed sum against the rows so far; True for one that is brought from the page before."""
        spot, label = Spot(page, box=band.box), band.cells[self._anchor]
        known = {self._anchor, *self._totals}
        try:
            printed = [number(band.cells[place]) for place in self._totals]
        except ValueError as error:
            raise Refused("report-cell", f"{label} on page {page}: {error}", spot) from None
        if any(text and n not in known for n, text in enumerate(band.cells)):
            raise self._unreadable(band, page, "holds more than sums")
        if kind == "total":
            self.total = printed
            return False
        expected = self._carried if kind == "brought" else self._sums
        if printed != expected:
            has, wants = ("; ".join(map(as_printed, sums or [])) for sums in (printed, expected))
            raise Refused("report-carry", f"{label} on page {page} says {has}, and it must be {wants}", spot)
        self._carried = printed if kind == "carried" else None
        return kind == "brought"

    def _counted(self, band: Band, page: int) -> int:
        text = band.line.removeprefix(self.layout.furniture.count).strip()
        try:
            return whole_number(text)
        except ValueError as error:
            raise Refused("report-cell", f"the count on page {page}: {error}", Spot(page, box=band.box)) from None

    def _row(self, band: Band, page: int, number_on_page: int) -> int:
        """A row's first line, or one that goes on with the row before; gives how many rows begin here."""
        anchor = band.cells[self._anchor]
        if not anchor:
            self._go_on(band, page)
            return 0
        if not self.layout.anchored.fullmatch(anchor):
            raise self._unreadable(band, page, f"is no row: {anchor[:40]!r} does not begin one")
        row = Row(list(band.cells), page, number_on_page, band.box)
        self.rows.append(row)
        for n, (name, place) in enumerate(zip(self.layout.totals, self._totals, strict=True)):
            if text := band.cells[place]:
                try:
                    self._sums[n] += number(text)
                except ValueError as error:
                    raise self._bad_cell(row, self.layout.by_field[name].header, error) from None
        return 1

    def _go_on(self, band: Band, page: int) -> None:
        if not self.rows:
            raise self._unreadable(band, page, "belongs to no row")
        cells = self.rows[-1].cells
        for n, text in enumerate(band.cells):
            if text:
                if not self._wraps[n]:
                    raise self._unreadable(band, page, "belongs to no row")
                cells[n] = f"{cells[n]} {text}" if cells[n] else text

    # Records

    def _record(self, row: Row) -> tuple[str, bytes]:
        values: dict[str, Any] = dict.fromkeys(self.layout.by_field)  # in the layout's order, wherever they stand
        for placed, text in zip(self.placed, row.cells, strict=True):
            try:
                values[placed.column.field] = placed.column.read(text) if placed.known else text or None
            except ValueError as error:
                raise self._bad_cell(row, placed.column.header, error) from None
        key = self.layout.key_of(values)
        lineage = (self.document, row.page, row.number, self.layout.name)
        return key, _encode({"id": key, **values, **dict(zip(LINEAGE, lineage, strict=True))})

    def _bad_cell(self, row: Row, header: str, error: ValueError) -> Refused:
        detail = f"{header} in row {row.number} of page {row.page}: {error}"
        return Refused("report-cell", detail, Spot(row.page, row.number, row.box))

    def _unreadable(self, band: Band, page: int, why: str) -> Refused:
        return Refused(
            "report-unreadable", f"on page {page} the line {band.line[:60]!r} {why}", Spot(page, box=band.box)
        )
