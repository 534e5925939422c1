"""The log of the process: one line for each event, for people on a terminal, else as JSON.

Every line says which run and connection it is about, when it is about one, and no line holds a secret. What libraries
log (a warning or worse) comes out in the same form.
"""

import contextlib
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, MutableMapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TextIO

from keepstep.model.run import Event
from keepstep.reliability.masking import MASK, is_secret, masked_text

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger, Processor

Line = MutableMapping[str, Any]
Secrets = Callable[[], Iterable[str]]
_ABOUT: ContextVar[Mapping[str, object]] = ContextVar("about", default=MappingProxyType({}))
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}


@contextlib.contextmanager
def about(**ids: object) -> Iterator[None]:
    """Lines of this block, and of what it starts, are about these: ``run=7, connection=1``."""
    token = _ABOUT.set({**_ABOUT.get(), **ids})
    try:
        yield
    finally:
        _ABOUT.reset(token)


def configure(out: TextIO, *, terminal: bool, secrets: Secrets = tuple) -> "FilteringBoundLogger":
    """Set the log up for the whole process and give it. ``secrets`` is asked at every line: there may be new ones."""
    import structlog  # most commands write no log, and it takes a while to load

    structlog.configure(
        processors=processors(terminal=terminal, secrets=secrets),
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=lambda *_: _Lines(out),
        cache_logger_on_first_use=False,
    )
    log: FilteringBoundLogger = structlog.get_logger()
    logging.basicConfig(handlers=[_Library(log)], level=logging.WARNING, force=True)
    return log


def processors(*, terminal: bool, secrets: Secrets) -> "list[Processor]":
    """What becomes of a line, in order. Secrets are masked after everything that adds text."""
    import structlog

    write = structlog.dev.ConsoleRenderer if terminal else structlog.processors.JSONRenderer
    options: dict[str, Any] = {} if terminal else {"ensure_ascii": False, "default": repr}
    return [
        structlog.contextvars.merge_contextvars,
        _say_what_about,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _without_nothing,
        _Masked(secrets, terminal=terminal),
        write(**options),
    ]


def tell(event: Event) -> None:
    """Write a run's event to the log: how it went, and what is wrong. The rest stands in the database only."""
    import structlog

    is_detail = event.level == "info" and not event.type.startswith("run-")
    level = logging.DEBUG if is_detail else _LEVELS[event.level]
    log: FilteringBoundLogger = structlog.get_logger()
    about_run = {"run": event.data["runId"]} if "runId" in event.data else {}
    what = {name: event.data.get(name) or None for name in ("code", "fix")}
    log.log(level, event.msg, entity=event.entity, **what, **about_run)


def _say_what_about(_log: object, _method: str, line: Line) -> Line:
    return {**_ABOUT.get(), **line}


def _without_nothing(_log: object, _method: str, line: Line) -> Line:
    return {name: value for name, value in line.items() if value is not None}


class _Masked:
    """Blots secrets out, whether they stand in the text or under a name that says what they are."""

    def __init__(self, secrets: Secrets, *, terminal: bool) -> None:
        self._secrets = secrets
        self._terminal = terminal

    def __call__(self, _log: object, _method: str, line: Line) -> Line:
        secrets = tuple(self._secrets())
        return {name: self._value(name, value, secrets) for name, value in line.items()}

    def _value(self, name: str, value: object, secrets: tuple[str, ...]) -> object:
        match value:
            case None | bool() | int() | float():
                return MASK if is_secret(name) and not isinstance(value, bool | None) else value
            case Mapping():
                return {key: self._value(str(key), inner, secrets) for key, inner in value.items()}
            case list() | tuple() | set() | frozenset():
                return [self._value(name, inner, secrets) for inner in value]
            case _ if is_secret(name):
                return MASK if value else value
            case _:
                text = masked_text(value if isinstance(value, str) else repr(value), secrets)
                return _CONTROL.sub("�", text) if self._terminal else text


class _Lines:
    """Writes lines. A log that cannot be written must not end the work that it is about."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def msg(self, line: str) -> None:
        """One line, in one piece."""
        with contextlib.suppress(OSError, ValueError):
            self._out.write(line + "\n")
            self._out.flush()

    log = debug = info = warning = error = critical = exception = fatal = msg


class _Library(logging.Handler):
    """Hands on what libraries log."""

    def __init__(self, log: "FilteringBoundLogger") -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """One line of a library."""
        try:
            self._log.log(record.levelno, record.getMessage(), library=record.name, exc_info=record.exc_info or None)
        except Exception:
            self.handleError(record)
