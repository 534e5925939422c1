"""What ``/openapi.json`` says is so: whatever a real server is sent, it answers as documented and never with a 5xx."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from keepstep.model.integration import Mode
from keepstep.store.db import Database
from tests.support.server import TestServer
from tests.support.site import ADMIN_TOKEN, served
from tests.support.sync import Sync
from tests.support.upstream import serving

ENDLESS = "/api/admin/sync/logs/stream"
CHECKS = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_headers_conformance",
    "response_schema_conformance", "negative_data_rejection", "ignored_auth", "unsupported_method",
)  # fmt: skip
"""Not ``positive_data_acceptance``: that a name exists and a date has passed, a schema cannot say."""
EXAMPLES = 5


class Background:
    """A site with something in its tables, in an event loop of its own."""

    def __init__(self, dsn: str, home: Path) -> None:
        self.url = ""
        self._ready, self._over = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(dsn, home)))
        self._thread.start()
        assert self._ready.wait(120), "it did not start"

    async def _serve(self, dsn: str, home: Path) -> None:
        async with AsyncExitStack() as stack:
            upstream = await stack.enter_async_context(serving())
            await _fill(Sync(dsn, upstream))
            await _live(dsn)
            site = await stack.enter_async_context(
                served(dsn, home, DOORLOOP_BASE_URL=upstream.url, DOORLOOP_API_KEY=upstream.options.api_key,
                       DOORLOOP_RATE_LIMIT_RPS="1000", DOORLOOP_MAX_CONCURRENCY="8")
            )  # fmt: skip
            await stack.enter_async_context(site.service.database.pooled())
            self.url = site.url
            self._ready.set()
            await asyncio.to_thread(self._over.wait)

    def close(self) -> None:
        """End it."""
        self._over.set()
        self._thread.join(60)


async def _fill(sync: Sync) -> None:
    """Runs of every kind: whole, failed, dry, held, with dead letters."""
    sync.upstream.poison("leases", "impossible-date", count=3)
    await sync.run()
    sync.upstream.fault("html", entity="owners", forever=True)
    await sync.run("owners", "units")
    sync.upstream.clear_faults()
    await sync.run("owners", dry_run=True, mode=Mode.DELTA)
    sync.upstream.change("tenants", delete=48)
    await sync.run("tenants")


async def _live(dsn: str) -> None:
    """A scheduler and a worker that stay alive for as long as the test takes."""
    async with Database(dsn).connection() as connection:
        for table, column in (("keepstep.ticks (name, at)", "'dispatcher', "),
                              ("keepstep_queue.procrastinate_workers (last_heartbeat)", "")):  # fmt: skip
            await connection.execute(f"INSERT INTO {table} VALUES ({column}now() + interval '1 hour')".encode())


@pytest.fixture(scope="module")
def url(server: TestServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the site answers."""
    with server.database() as dsn:
        site = Background(dsn, tmp_path_factory.mktemp("home"))
        yield site.url
        site.close()


def test_whatever_is_sent_the_answer_is_as_documented_and_no_5xx(url: str, tmp_path: Path) -> None:
    words = [
        "run", f"{url}/openapi.json", "--header", f"Authorization: Bearer {ADMIN_TOKEN}", "--exclude-path", ENDLESS,
        "--checks", ",".join(CHECKS), "--phases", "examples,coverage,fuzzing", "--max-examples", str(EXAMPLES),
        "--generation-database", "none", "--seed", "1", "--request-timeout", "30", "--no-color",
    ]  # fmt: skip
    program = Path(sys.executable).with_name("schemathesis")
    ended = subprocess.run([program, *words], cwd=tmp_path, capture_output=True, text=True, timeout=600, check=False)

    assert ended.returncode == 0, ended.stdout[-8000:] + ended.stderr[-2000:]
    assert "Tested: " in ended.stdout


@pytest.fixture(scope="module")
def document(url: str) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(f"{url}/openapi.json").json()
    return found


def operations(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def test_every_error_is_documented_as_a_problem(document: dict[str, Any]) -> None:
    for method, path, operation in operations(document):
        for status, response in operation["responses"].items():
            if status >= "400" and path not in ("/readyz",):
                assert list(response["content"]) == ["application/problem+json"], (method, path, status)
        if operation.get("security"):
            assert {"401", "403"} <= set(operation["responses"]), (method, path)
        assert operation["summary"] and operation["tags"], (method, path)


def test_the_documented_routes_are_those_of_the_contract(document: dict[str, Any]) -> None:
    found = {f"{method.upper()} {path}" for method, path, _ in operations(document)}

    assert found >= {
        "GET /api/admin/integrations", "GET /api/admin/integrations/{integration}/ping",
        "GET /api/admin/integrations/{integration}/check", "GET /api/admin/integrations/{integration}/config",
        "GET /api/admin/integrations/{integration}/schema-diff", "GET /api/admin/sync/status",
        "POST /api/admin/sync/run", "POST /api/admin/sync/stop", "GET /api/admin/sync/logs/stream",
        "GET /api/admin/sync/runs", "GET /api/admin/sync/runs/{run_id}", "POST /api/admin/sync/runs/{run_id}/held",
        "GET /api/admin/sync/dlq",
        "GET /api/admin/sync/dlq/{letter_id}", "POST /api/admin/sync/dlq/requeue", "POST /api/admin/sync/dlq/discard",
        "GET /api/admin/sync/errors", "GET /api/admin/sync/rate-limit", "POST /api/admin/sync/breaker/close",
        "POST /api/admin/alerts/test", "GET /api/admin/alerts", "GET /api/admin/audit", "GET /healthz", "GET /readyz",
        "GET /metrics",
    }  # fmt: skip


@pytest.mark.parametrize("name", ["RunSummary", "Status", "ProblemDocument", "DeadLetterPage", "ScheduleView"])
def test_members_are_camel_case(document: dict[str, Any], name: str) -> None:
    is_camel: Callable[[str], bool] = lambda member: member[0].islower() and "_" not in member  # noqa: E731

    assert all(map(is_camel, document["components"]["schemas"][name]["properties"]))
