"""Prints a report: rows to pages of an A4 landscape PDF, as Italian ERPs do it, ruled or unruled.

The same arguments give the same bytes. Where each row came to stand is known from here, not from reading it back.
"""

import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from functools import lru_cache
from itertools import pairwise

from PIL import Image, ImageDraw
from reportlab.lib.pagesizes import A4, landscape
from reportlab.lib.utils import ImageReader
from reportlab.pdfbase.pdfmetrics import stringWidth
from reportlab.pdfgen.canvas import Canvas

from keepstep.integrations.erp.layout import Column, Layout, Type, Value

WIDTH, HEIGHT = landscape(A4)
MARGIN = 28.0
FONT, BOLD, SIZE, LEADING, PAD = "Helvetica", "Helvetica-Bold", 7.5, 9.5, 3.0
HEAD = 46.0
"""Points above the columns' headers: company, title, agent, time, page."""
NARROWEST, WIDEST = 52.0, 128.0
"""Points of a column that wraps."""
COMPANY = "Perché No Distribuzione S.r.l. – Forlì"
NEW = Column("Zona", "Zona")

Row = dict[str, Value]


@dataclass(frozen=True, slots=True)
class Sheet:
    """What is printed. ``agent`` is its code and name, or empty. ``boxed``: a box around each cell, instead of rules
    from side to side. ``foot``: the page's number stands at its foot. ``flaw`` names one of ``FLAWS``.
    """

    layout: Layout
    rows: Sequence[Row]
    printed: datetime
    agent: str = ""
    ruled: bool = False
    boxed: bool = False
    foot: bool = False
    new_column: bool = False
    moved_column: bool = False
    split_rows: bool = False
    flaw: str = ""


@dataclass(frozen=True, slots=True)
class Printed:
    """A document. ``places``: the page and the number on it (from 1) of each row."""

    pdf: bytes
    places: tuple[tuple[int, int], ...]
    pages: int


FLAWS = (
    "wrong-total", "wrong-carry", "wrong-count", "lost-page", "lost-last-page", "repeated-page",
    "bad-cell", "stray-text", "overflow",
    "missing-column", "other-agent", "other-title",
)  # fmt: skip
"""What can be wrong with a report that is a whole PDF all the same."""


def written(value: Value) -> str:
    """A value as an Italian ERP prints it: ``1.234,56-``, ``31/12/2026``."""
    if value is None:
        return ""
    if isinstance(value, date):
        return value.strftime("%d/%m/") + f"{value.year:04}"
    if isinstance(value, Decimal):
        text = f"{abs(value):,f}".translate(str.maketrans(",.", ".,"))
        return f"{text}-" if value < 0 else text
    return f"{value:,}".replace(",", ".") if isinstance(value, int) else str(value)


def zone_of(n: int) -> str:
    """What the new column holds in the n-th row."""
    return ("Nord", "Centro", "Sud e isole", "")[n % 4]


@dataclass(slots=True)
class _Page:
    """``blocks``: the lines of a row and whether its first one is among them."""

    blocks: list[tuple[list[list[str]], int | None]] = field(default_factory=list)
    used: int = 0
    before: list[Value] = field(default_factory=list)
    after: list[Value] = field(default_factory=list)


def print_report(sheet: Sheet) -> Printed:
    """The report as a PDF."""
    columns = _columns(sheet)
    cells = [[_cell(sheet, column, row, n) for column in columns] for n, row in enumerate(sheet.rows)]
    if sheet.flaw == "bad-cell" and cells:
        place = next(n for n, column in enumerate(columns) if column.to_the_right)
        cells[len(cells) // 2][place] = "1.23"
    widths = _widths(columns, cells)
    blocks = [_block(columns, widths, row) for row in cells]
    pages = _paginated(sheet, blocks)
    places = [
        (number, row)
        for number, page in enumerate(pages, start=1)
        for row, n in enumerate((n for _, n in page.blocks if n is not None), start=1)
    ]
    return Printed(_Press(sheet, columns, widths, pages).pdf(), tuple(places), len(pages))


def print_scan(pages: int = 2) -> bytes:
    """Pages that are pictures: nothing on them is text."""
    out = io.BytesIO()
    canvas = Canvas(out, pagesize=(WIDTH, HEIGHT), invariant=1)
    for page in range(pages):
        picture = Image.new("L", (842, 595), 250)
        draw = ImageDraw.Draw(picture)
        for line in range(60, 560, 11):
            draw.line((40, line, 300 + (line * 37 + page * 91) % 480, line), fill=90, width=2)
        canvas.drawImage(ImageReader(picture), 0, 0, WIDTH, HEIGHT)
        canvas.showPage()
    canvas.save()
    return out.getvalue()


def _columns(sheet: Sheet) -> list[Column]:
    columns = list(sheet.layout.columns)
    if sheet.flaw == "missing-column":
        columns.pop(next(n for n, column in enumerate(columns) if n and column.needed))
    if sheet.moved_column:
        columns.append(columns.pop(1))
    if sheet.new_column:
        columns.insert(3, NEW)
    return columns


def _cell(sheet: Sheet, column: Column, row: Row, n: int) -> str:
    return zone_of(n) if column is NEW else written(row[column.field])


@lru_cache(maxsize=65536)
def _width(text: str) -> float:
    return float(stringWidth(text, FONT, SIZE))


def _widths(columns: Sequence[Column], cells: Sequence[Sequence[str]]) -> list[float]:
    """As wide as the widest cell; columns that wrap share what is left of the page."""
    room = WIDTH - 2 * MARGIN
    needs = []
    for place, column in enumerate(columns):
        texts = {row[place] for row in cells} | {column.header, "Riporto" if place == 0 else ""}
        if column.to_the_right:  # room for the sums
            texts.add("999.999.999,99-")
        widest = max(*(_width(text) for text in texts), float(stringWidth(column.header, BOLD, SIZE))) + 2 * PAD
        needs.append(min(widest, WIDEST) if column.wraps else widest)
    wraps = [column.wraps for column in columns]
    left = room - sum(need for need, wrap in zip(needs, wraps, strict=True) if not wrap)
    wanted = sum(need for need, wrap in zip(needs, wraps, strict=True) if wrap)
    share = min(1.0, left / wanted) if wanted else 1.0
    return [max(NARROWEST, need * share) if wrap else need for need, wrap in zip(needs, wraps, strict=True)]


def _block(columns: Sequence[Column], widths: Sequence[float], row: Sequence[str]) -> list[list[str]]:
    """The lines of a row, every one with a text for every column."""
    parts = [
        _wrapped(text, width - 2 * PAD) if column.wraps else [text]
        for column, width, text in zip(columns, widths, row, strict=True)
    ]
    height = max(len(lines) for lines in parts)
    return [[lines[n] if n < len(lines) else "" for lines in parts] for n in range(height)]


def _wrapped(text: str, room: float) -> list[str]:
    lines, line = [], ""
    for word in text.split(" "):
        longer = f"{line} {word}" if line else word
        if line and _width(longer) > room:
            lines.append(line)
            line = word
        else:
            line = longer
    return [*lines, line]


def _paginated(sheet: Sheet, blocks: Sequence[list[list[str]]]) -> list[_Page]:
    """Rows to pages. Each page keeps lines for what is brought and carried, or for the total and the count."""
    capacity = int((HEIGHT - 2 * MARGIN - HEAD) / LEADING) - 6
    sums: list[Decimal | int] = [Decimal(0) for _ in sheet.layout.totals]
    page = _Page(before=list(sums))
    pages = [page]
    for n, block in enumerate(blocks):
        rest: list[list[str]] = block
        row: int | None = n
        room = capacity - page.used
        if len(block) > room and page.blocks:
            if sheet.split_rows and not sheet.ruled and not sheet.boxed and room > 0:
                page.blocks.append((block[:room], n))
                sums = _added(sheet, sums, n)
                rest, row = block[room:], None
            page.after = list(sums)
            page = _Page(before=list(sums))
            pages.append(page)
        page.blocks.append((rest, row))
        page.used += len(rest)
        if row is not None:
            sums = _added(sheet, sums, n)
    page.after = list(sums)
    return pages


def _added(sheet: Sheet, sums: list[Decimal | int], n: int) -> list[Decimal | int]:
    row = sheet.rows[n]
    more = [value if isinstance(value := row[name], Decimal | int) else 0 for name in sheet.layout.totals]
    return [was + value for was, value in zip(sums, more, strict=True)]


class _Press:
    """Draws the pages."""

    def __init__(self, sheet: Sheet, columns: list[Column], widths: list[float], pages: list[_Page]) -> None:
        self._sheet = sheet
        self._columns = columns
        self._widths = widths
        self._pages = pages
        self._lefts = [MARGIN + sum(widths[:n]) for n in range(len(widths) + 1)]
        self._out = io.BytesIO()
        self._canvas = Canvas(self._out, pagesize=(WIDTH, HEIGHT), invariant=1, pageCompression=1)
        self._canvas.setTitle(sheet.layout.title)
        self._canvas.setLineWidth(0.4)
        self._bands: list[float] = []
        self._y = 0.0

    def pdf(self) -> bytes:
        lost = {"lost-page": (len(self._pages) + 1) // 2, "lost-last-page": len(self._pages)}.get(self._sheet.flaw)
        for number, page in enumerate(self._pages, start=1):
            if number == lost:
                continue
            for _ in range(2 if self._sheet.flaw == "repeated-page" and number == 1 else 1):
                self._page(number, page)
                self._canvas.showPage()
        self._canvas.save()
        return self._out.getvalue()

    def _page(self, number: int, page: _Page) -> None:
        sheet, furniture = self._sheet, self._sheet.layout.furniture
        self._heading(number)
        self._bands = [self._y]
        self._band([[column.header for column in self._columns]], BOLD)
        carries = furniture.carries and sheet.layout.totals
        if number > 1 and carries:
            self._band([self._sums(furniture.brought, page.before, spoil=sheet.flaw == "wrong-carry" and number == 2)])
        for lines, _ in page.blocks:
            self._band(lines)
        last = number == len(self._pages)
        if last and sheet.layout.totals:
            self._band([self._sums(furniture.total, page.after, spoil=sheet.flaw == "wrong-total")], BOLD)
        elif carries:
            self._band([self._sums(furniture.carried, page.after)])
        if sheet.ruled or sheet.boxed:
            self._grid()
        if last:
            count = len(sheet.rows) + (sheet.flaw == "wrong-count")
            self._canvas.setFont(FONT, SIZE)
            self._canvas.drawString(MARGIN + PAD, self._y - LEADING, f"{furniture.count} {written(count)}")
        if sheet.flaw == "stray-text" and last:
            self._canvas.drawString(MARGIN + PAD, self._y - 2 * LEADING, "Documento non valido ai fini fiscali")

    def _heading(self, number: int) -> None:
        canvas, sheet = self._canvas, self._sheet
        canvas.setFont(BOLD, 9)
        canvas.drawString(MARGIN, HEIGHT - MARGIN - 8, COMPANY)
        title = "Elenco fornitori" if sheet.flaw == "other-title" else sheet.layout.title
        canvas.drawString(MARGIN, HEIGHT - MARGIN - 20, title)
        canvas.setFont(FONT, SIZE)
        if sheet.agent and sheet.layout.per_agent:
            agent = "999 Altro Agente" if sheet.flaw == "other-agent" else sheet.agent
            canvas.drawString(MARGIN, HEIGHT - MARGIN - 30, f"Agente: {agent}")
        printed = sheet.printed.strftime("%d/%m/%Y ore %H:%M")
        canvas.drawRightString(WIDTH - MARGIN, HEIGHT - MARGIN - 8, f"Stampato il {printed}")
        top = MARGIN if sheet.foot else HEIGHT - MARGIN - 20
        canvas.drawRightString(WIDTH - MARGIN, top, f"Pag. {number} di {len(self._pages)}")
        self._y = HEIGHT - MARGIN - HEAD + LEADING

    def _sums(self, label: str, sums: Sequence[Value], *, spoil: bool = False) -> list[str]:
        by_field = dict(zip(self._sheet.layout.totals, sums, strict=True))
        texts = []
        for place, column in enumerate(self._columns):
            value = by_field.get(column.field)
            if spoil and isinstance(value, Decimal | int):
                value = value + 1
                spoil = False
            if column.type is Type.WHOLE and value is not None:
                value = int(str(value))
            texts.append(label if place == 0 else written(value))
        return texts

    def _band(self, lines: list[list[str]], font: str = FONT) -> None:
        """The lines of one row, drawn downwards."""
        self._canvas.setFont(font, SIZE)
        for place, column in enumerate(self._columns):
            texts = [line[place] for line in lines]
            filled = max((n + 1 for n, text in enumerate(texts) if text), default=0)
            down = (len(texts) - filled) * LEADING / 2 if self._sheet.ruled or self._sheet.boxed else 0.0
            draw: Callable[[float, float, str], object]
            if column.to_the_right:
                x, draw = self._lefts[place + 1] - PAD, self._canvas.drawRightString
            else:
                x, draw = self._lefts[place] + PAD, self._canvas.drawString
            if self._sheet.flaw == "overflow" and place and not column.to_the_right and font == FONT:
                x += 5
            for n, text in enumerate(texts):
                if text:
                    draw(x, self._y - down - (n + 1) * LEADING + 2.5, text)
        self._y -= len(lines) * LEADING
        self._bands.append(self._y)

    def _grid(self) -> None:
        left, right = self._lefts[0], self._lefts[-1]
        if self._sheet.boxed:
            for top, bottom in pairwise(self._bands):
                for x0, x1 in pairwise(self._lefts):
                    self._canvas.rect(x0, bottom, x1 - x0, top - bottom)
            return
        for y in self._bands:
            self._canvas.line(left, y, right, y)
        for x in self._lefts:
            self._canvas.line(x, self._bands[0], x, self._bands[-1])
