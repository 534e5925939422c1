"""Traces: what goes into them, and that nothing does while nobody listens."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from keepstep.model.errors import NotData
from keepstep.reliability import tracing
from keepstep.reliability.tracing import recorded, span


@pytest.fixture
def exporter() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    with recorded(SimpleSpanProcessor(exporter), "1.2.3"):
        yield exporter


def by_name(exporter: InMemorySpanExporter) -> dict[str, ReadableSpan]:
    return {found.name: found for found in exporter.get_finished_spans()}


async def test_a_piece_of_work_lies_within_the_one_that_began_it(exporter: InMemorySpanExporter) -> None:
    async def page(number: int) -> None:
        with span(f"page {number}"), span(f"request {number}", outgoing=True):
            await asyncio.sleep(0)

    with span("run", run_id=7, integration="doorloop"):
        await asyncio.gather(page(1), page(2))
    found = by_name(exporter)
    run = found["run"]
    assert run.parent is None
    assert dict(run.attributes or {}) == {"keepstep.run_id": 7, "keepstep.integration": "doorloop"}
    assert run.resource.attributes["service.version"] == "1.2.3"
    for number in (1, 2):
        page_span, request = found[f"page {number}"], found[f"request {number}"]
        assert page_span.parent is not None
        assert page_span.parent.span_id == run.context.span_id
        assert request.parent is not None
        assert request.parent.span_id == page_span.context.span_id
        assert request.kind.name == "CLIENT"


def test_an_error_is_told_by_its_name_and_its_text_is_not(exporter: InMemorySpanExporter) -> None:
    with pytest.raises(NotData), span("page"):
        raise NotData("the answer says s3cret")
    with pytest.raises(ZeroDivisionError), span("other"):
        raise ZeroDivisionError("s3cret")
    found = by_name(exporter)
    assert found["page"].status.description == "not-data"
    assert found["other"].status.description == "ZeroDivisionError"
    for one in found.values():
        assert "s3cret" not in one.to_json()


def test_facts_that_are_learned_on_the_way_are_added_and_missing_ones_left_out(exporter: InMemorySpanExporter) -> None:
    with span("request", http__request__method="GET", total=None) as told:
        told.note(http__response__status_code=200, rows=None)
    attributes = dict(by_name(exporter)["request"].attributes or {})
    assert attributes == {"http.request.method": "GET", "http.response.status_code": 200}


def test_while_nobody_listens_a_span_is_nothing() -> None:
    with span("run", run_id=7) as one, span("page") as other:
        one.note(rows=3)
    assert one is other


@pytest.mark.parametrize(
    ("environ", "wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": " "}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://127.0.0.1:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:4318", "OTEL_SDK_DISABLED": "True"}, False),
    ],
)
def test_traces_are_sent_where_the_environment_says(environ: dict[str, str], wanted: bool) -> None:
    assert tracing.wanted(environ) is wanted


class Collector(BaseHTTPRequestHandler):
    """Takes traces in."""

    received: list[bytes]

    def do_POST(self) -> None:
        """One batch."""
        type(self).received.append(self.rfile.read(int(self.headers["content-length"])))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Be quiet."""


def test_a_collector_gets_what_was_recorded_before_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    assert tracing.installed()
    handler = type("Handler", (Collector,), {"received": []})
    server = HTTPServer(("127.0.0.1", 0), handler)
    Thread(target=server.serve_forever, daemon=True).start()
    try:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{server.server_port}")
        with tracing.exported("1.2.3"), span("run", run_id=7):
            pass
    finally:
        server.shutdown()
        server.server_close()
    [batch] = handler.received
    assert b"keepstep.run_id" in batch


def test_a_collector_that_is_away_is_no_error_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    with tracing.exported("1.2.3"), span("run"):
        pass


def test_nothing_of_opentelemetry_is_loaded_by_the_module_itself() -> None:
    code = """
import sys
from keepstep.reliability.tracing import span
with span("run"):
    print([name for name in sys.modules if "telemetry" in name])
"""
    answer = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"
