"""Traces for OpenTelemetry, an extra: how long a run, each page of it and each request took.

::

    run ── entity ─┬─ page ── request (one more for each try)
                   └─ flush

Without ``keepstep[otel]``, or without an address to send traces to, nothing is imported and a span costs nothing.
"""

import contextlib
from collections.abc import Iterator, Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor
    from opentelemetry.trace import Tracer

EXTRA = "keepstep[otel]"
_ADDRESSES = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_EXPORTER = "opentelemetry.exporter.otlp.proto.http"
_SECONDS = 5
"""What a collector may take to accept traces; more are lost rather than waited for."""
Value = str | int | float | bool | None


class Span(Protocol):
    """One piece of work in a trace."""

    def note(self, **facts: Value) -> None:
        """Say more about it. None is left out; ``_`` in a name stands for a dot after its first word."""
        ...


class _Nothing:
    """A span while nobody listens."""

    def note(self, **_facts: Value) -> None:
        """Forget it."""

    def __enter__(self) -> "_Nothing":
        return self

    def __exit__(self, *_error: object) -> None:
        pass


class _Recorded:
    """A span that is sent. An error is told by its name: its text stays in our own log."""

    def __init__(self, tracer: "Tracer", name: str, facts: Mapping[str, Value], *, outgoing: bool) -> None:
        from opentelemetry.trace import SpanKind

        kind = SpanKind.CLIENT if outgoing else SpanKind.INTERNAL
        self._started = tracer.start_as_current_span(
            name, kind=kind, attributes=_attributes(facts), record_exception=False, set_status_on_exception=False
        )

    def __enter__(self) -> "_Recorded":
        self._span = self._started.__enter__()
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        if error is not None:
            from opentelemetry.trace import Status, StatusCode

            name = getattr(error, "code", None) or kind.__name__
            self._span.set_status(Status(StatusCode.ERROR, name))
            self._span.set_attribute("error.type", name)
        self._started.__exit__(None, None, None)

    def note(self, **facts: Value) -> None:
        """Say more about it."""
        self._span.set_attributes(_attributes(facts))


_NOTHING = _Nothing()
_listening: "Tracer | None" = None


def span(name: str, *, outgoing: bool = False, **facts: Value) -> "contextlib.AbstractContextManager[Span]":
    """A piece of work, within the one that is under way in this task. ``outgoing``: it is a question to upstream."""
    tracer = _listening
    return _NOTHING if tracer is None else _Recorded(tracer, name, facts, outgoing=outgoing)


def wanted(environ: Mapping[str, str]) -> bool:
    """Whether the environment names a place to send traces to, in OpenTelemetry's own variables."""
    disabled = environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true"
    return not disabled and any(environ.get(name, "").strip() for name in _ADDRESSES)


def installed() -> bool:
    """Whether the extra is there."""
    try:
        return find_spec(_EXPORTER) is not None
    except ModuleNotFoundError:
        return False


@contextlib.contextmanager
def exported(version: str) -> Iterator[None]:
    """Send the traces of this block to the collector that the environment names. Needs the extra."""
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    otlp = import_module(f"{_EXPORTER}.trace_exporter")
    with recorded(BatchSpanProcessor(otlp.OTLPSpanExporter(timeout=_SECONDS)), version):
        yield


@contextlib.contextmanager
def recorded(processor: "SpanProcessor", version: str) -> Iterator[None]:
    """Give every span of this block to a processor, and let it finish."""
    global _listening
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider

    about = Resource.create({"service.name": "keepstep", "service.version": version})
    provider = TracerProvider(resource=about, shutdown_on_exit=False)
    provider.add_span_processor(processor)
    _listening = provider.get_tracer("keepstep", version)
    try:
        yield
    finally:
        _listening = None
        provider.shutdown()


def _attributes(facts: Mapping[str, Value]) -> dict[str, str | int | float | bool]:
    return {_dotted(name): value for name, value in facts.items() if value is not None}


def _dotted(name: str) -> str:
    """``run_id`` -> ``keepstep.run_id``; OpenTelemetry's own names are given with ``__`` for each dot."""
    return name.replace("__", ".") if "__" in name else f"keepstep.{name}"
