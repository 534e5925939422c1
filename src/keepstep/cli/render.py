"""What commands print: answers to stdout, everything else to stderr."""

import re
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console

_WIDE = 240
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
COLOURS = {
    "succeeded": "green", "ok": "green", "inserted": "green", "requeued": "green", "resolved": "green",
    "running": "cyan", "waiting": "yellow", "held": "yellow", "stopped": "yellow", "warning": "yellow",
    "failed": "red", "crashed": "red", "deleted": "red",
}  # fmt: skip


@cache
def console(*, stderr: bool = False) -> "Console":
    """Where to print. Off a terminal lines are as long as they are: nobody's script wants them folded."""
    from rich.console import Console

    terminal = (sys.stderr if stderr else sys.stdout).isatty()
    return Console(stderr=stderr, width=None if terminal else _WIDE, highlight=False, soft_wrap=not terminal)


def say(text: str = "", *, style: str = "") -> None:
    """A line of the answer."""
    console().print(plain(text), style=style or None, markup=False)


def note(text: str, *, style: str = "") -> None:
    """A line beside the answer."""
    console(stderr=True).print(plain(text), style=style or None, markup=False)


def complain(message: str, fix: str = "", *, word: str = "Error", style: str = "red") -> None:
    """What is wrong, and what to do."""
    from rich.text import Text

    printer = console(stderr=True)
    printer.print(Text.assemble((f"{word}: ", style), plain(message)))
    if fix:
        printer.print(Text.assemble(("Fix:   ", "green"), plain(fix)))


def emit(answer: object, *, one_line: bool = False) -> None:
    """The answer as JSON: indented on a terminal, else (or always) on one line."""
    import msgspec

    encoded = msgspec.json.encode(answer, enc_hook=lambda shape: shape.model_dump())
    if sys.stdout.isatty() and not one_line:
        encoded = msgspec.json.format(encoded, indent=2)
    sys.stdout.flush()
    sys.stdout.buffer.write(encoded + b"\n")
    sys.stdout.buffer.flush()


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], *, title: str = "") -> None:
    """A table; columns named with a leading > are numbers. States are coloured."""
    from rich.table import Table
    from rich.text import Text

    if title:
        say(title, style="bold")
    drawn = Table(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
    for column in columns:
        number = column.startswith(">")  # digits are never folded: they would read as another number
        drawn.add_column(column.lstrip(">"), justify="right" if number else "left", overflow="fold", no_wrap=number)
    for row in rows:
        cells = [(cell_text(cell), COLOURS.get(str(cell), "")) for cell in row]
        drawn.add_row(*(Text(text, style=style) for text, style in cells))
    console().print(drawn)


def cell_text(cell: object) -> str:
    """A value as a table shows it."""
    match cell:
        case None:
            return "-"
        case bool():
            return "yes" if cell else "no"
        case int():
            return f"{cell:,}"
        case datetime():
            return moment(cell)
        case _:
            return plain(str(cell))


def moment(when: datetime) -> str:
    """An instant in UTC, to the second."""
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M:%S}Z"


def duration(milliseconds: int | None) -> str:
    """A length of time: ``0.4 s``, ``12 s``, ``3 min 20 s``, ``2 h 05 min``."""
    if milliseconds is None:
        return "-"
    seconds = milliseconds / 1000
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02} s"
    return f"{minutes // 60} h {minutes % 60:02} min"


def plain(text: str) -> str:
    """Text that comes from elsewhere, unable to steer a terminal."""
    return _CONTROL.sub(lambda found: repr(found[0])[1:-1], text)


def short(value: Any, most: int = 60) -> str:
    """A value on one line, cut."""
    text = plain(value if isinstance(value, str) else str(value)).replace("\n", "\\n")
    return text if len(text) <= most else text[: most - 1] + "…"
