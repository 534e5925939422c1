"""A run as a trace and in the log: run, entity, page, request, one within the other."""

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from keepstep.model.run import Event
from keepstep.reliability.journal import configure, tell
from keepstep.reliability.tracing import recorded
from tests.support.sync import Sync


@pytest.fixture
def exporter() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    with recorded(SimpleSpanProcessor(exporter), "test"):
        yield exporter


@pytest.fixture
def out() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    yield io.StringIO()
    root.handlers[:], root.level = before
    structlog.reset_defaults()


def named(exporter: InMemorySpanExporter, name: str) -> list[ReadableSpan]:
    return [found for found in exporter.get_finished_spans() if found.name == name]


def within(inner: ReadableSpan, outer: ReadableSpan) -> bool:
    return inner.parent is not None and inner.parent.span_id == outer.context.span_id


async def test_a_run_is_one_trace_of_entities_pages_and_requests(sync: Sync, exporter: InMemorySpanExporter) -> None:
    finished = await sync.run("owners", "leases")
    [run] = named(exporter, "run")
    assert run.attributes is not None
    assert run.attributes["keepstep.run_id"] == finished.run_id
    assert run.attributes["keepstep.mode"] == "backfill"
    owners, leases = named(exporter, "entity")
    assert within(owners, run)
    assert within(leases, run)
    pages = [page for page in named(exporter, "page") if within(page, leases)]
    assert len(pages) == 3
    requests = named(exporter, "request")
    for page in pages:
        [request] = [r for r in requests if within(r, page)]
        assert request.attributes is not None
        assert request.attributes["http.response.status_code"] == 200
    flushed = [f.attributes["keepstep.rows"] for f in named(exporter, "flush") if f.attributes and within(f, leases)]
    assert sum(int(str(rows)) for rows in flushed) == 60
    assert {s.context.trace_id for s in exporter.get_finished_spans()} == {run.context.trace_id}


async def test_each_try_is_a_request_of_its_page_and_no_key_is_in_any(
    sync: Sync, exporter: InMemorySpanExporter
) -> None:
    sync.upstream.fault(kind="status", status=500)
    assert (await sync.run("owners")).result == "succeeded"
    [page] = named(exporter, "page")
    tries = [r for r in named(exporter, "request") if within(r, page)]
    assert [r.attributes and r.attributes["http.response.status_code"] for r in tries] == [500, 200]
    assert page.attributes is not None
    assert page.attributes["keepstep.requests"] == 2
    for one in exporter.get_finished_spans():
        assert sync.upstream.options.api_key not in one.to_json()


async def test_what_a_run_logs_says_which_run_and_connection_it_is_of(sync: Sync, out: io.StringIO) -> None:
    configure(out, terminal=False)
    heard: list[Event] = []

    def listen(event: Event) -> None:
        heard.append(event)
        tell(event)

    run = await sync.run("owners", listener=listen)
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert [line["event"] for line in lines] == [e.msg for e in heard if e.type.startswith("run-")]
    assert {line["run"] for line in lines} == {run.run_id}
    assert {(line["connection"], line["integration"]) for line in lines[1:]} == {(1, "doorloop")}
