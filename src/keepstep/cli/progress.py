"""A run as it happens, on stderr: bars on a terminal, a line for each event elsewhere."""

import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager
from types import TracebackType
from typing import TYPE_CHECKING, Protocol, Self

from keepstep.cli import render

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

    from keepstep.model.run import Event

_STYLES = {"warning": "yellow", "error": "red"}


class Display(AbstractContextManager["Display"], Protocol):
    """Hears the events of one run."""

    run_id: int | None

    def hear(self, event: "Event") -> None:
        """Show an event."""
        ...

    def close(self) -> None:
        """Show nothing any more. Closing twice is harmless."""
        ...


def display(entities: Sequence[str], *, quiet: bool = False) -> Display:
    """What suits the place that stderr goes to."""
    if quiet:
        return Silence()
    return Bars(entities) if sys.stderr.isatty() else Lines()


class Silence:
    """Shows nothing."""

    def __init__(self) -> None:
        self.run_id: int | None = None

    def hear(self, event: "Event") -> None:
        """Only remember which run it is."""
        self.run_id = event.data.get("runId", self.run_id)

    def close(self) -> None:
        """Nothing to end."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Lines(Silence):
    """A line for each event."""

    def hear(self, event: "Event") -> None:
        """Print it."""
        super().hear(event)
        speed = f" ({_speed(event)})" if event.type == "page" else ""
        render.note(event.msg + speed)


class Bars(Silence):
    """A bar for each entity, and above them what is worth a line."""

    def __init__(self, entities: Sequence[str]) -> None:
        super().__init__()
        self._progress = _bars()
        self._rows: dict[str, TaskID] = {
            entity: self._progress.add_task(entity, total=1, start=False, rows="", page="", note="waiting")
            for entity in entities
        }

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def close(self) -> None:
        """Leave the bars as they are."""
        self._progress.stop()

    def hear(self, event: "Event") -> None:
        """Move the entity's bar."""
        super().hear(event)
        bar = self._rows.get(event.entity or "")
        if bar is None:
            self._line(event)
        elif event.type == "page":
            self._move(bar, event)
        elif event.type == "entity-finished":
            self._end(bar, event)
        else:
            self._line(event)
            self._progress.update(bar, note=event.type.removeprefix("entity-"))

    def _move(self, bar: "TaskID", event: "Event") -> None:
        total, rows = event.data.get("total"), event.rows or 0
        self._progress.start_task(bar)
        look = ", second look" if event.data.get("look", 1) > 1 else ""
        self._progress.update(
            bar,
            completed=rows,
            total=total,
            rows=f"{rows:,}" + ("" if total is None else f"/{total:,}"),
            page=f"page {event.page}{look}",
            note=_speed(event),
        )

    def _end(self, bar: "TaskID", event: "Event") -> None:
        done = next(known for known in self._progress.tasks if known.id == bar)
        self._progress.start_task(bar)
        self._progress.update(
            bar, completed=max(done.completed, 1), total=max(done.completed, 1), note=_ending(event), page=""
        )
        if event.level != "info":
            self._line(event)

    def _line(self, event: "Event") -> None:
        self._progress.console.print(
            render.plain(event.msg), style=_STYLES.get(event.level) or "dim", markup=False, highlight=False
        )


def _bars() -> "Progress":
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

    return Progress(
        SpinnerColumn(finished_text="[green]✓"),
        TextColumn("{task.description}", style="bold"),
        BarColumn(bar_width=28, complete_style="cyan", finished_style="green", pulse_style="cyan"),
        TextColumn("{task.fields[rows]}", justify="right"),
        TextColumn("{task.fields[page]}", style="dim"),
        TextColumn("{task.fields[note]}"),
        console=render.console(stderr=True),
    )


def _speed(event: "Event") -> str:
    left = event.data.get("etaSeconds")
    words = f"{event.data.get('rps', 0):,.0f} rows/s"
    return words if not left else f"{words}, {render.duration(round(left * 1000))} left"


def _ending(event: "Event") -> str:
    state, deleted = event.data.get("state", "done"), event.data.get("deleted", 0)
    words = "done" if state == "succeeded" else str(state)
    return f"{words}, {deleted:,} deleted" if deleted else words
