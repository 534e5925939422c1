"""``/healthz``, ``/readyz`` and ``/metrics`` as those who ask them see them."""

import asyncio
import logging
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as plain

from keepstep.service.accounts import Accounts
from keepstep.service.audit import Audit
from keepstep.store import totals
from keepstep.store.db import Connection, Database
from keepstep.store.totals import Total
from keepstep.web import health, metrics
from keepstep.web.problems import handle_problems
from keepstep.web.security import secure
from keepstep.web.server import Site
from tests.support.server import TestServer
from tests.support.sync import Sync

TOKEN = "the-admin-token-of-this-test"
DOCUMENTATION = Path(__file__).parents[2] / "docs/observability.md"
NOWHERE = "postgresql://nobody:s3cret-word@127.0.0.1:1/none"


@asynccontextmanager
async def serving(database: Database) -> AsyncIterator[httpx.AsyncClient]:
    """The three routes on a socket; the client has the admin's token."""
    accounts = Accounts(database, Audit(database), admin_token=lambda: TOKEN)
    app = FastAPI(docs_url=None, redoc_url=None)
    app.include_router(health.router(database, version="1.2.3"))
    app.include_router(metrics.router(database, version="1.2.3"))
    handle_problems(app)
    secure(app, accounts)
    level = logging.getLogger("uvicorn").level
    with closing(Site(app, "127.0.0.1", 0)) as site:
        async with (
            site.serving(),
            httpx.AsyncClient(base_url=site.url, headers={"authorization": f"Bearer {TOKEN}"}, timeout=30) as client,
        ):
            yield client
    logging.getLogger("uvicorn").setLevel(level)


@pytest.fixture
async def client(database: Database) -> AsyncIterator[httpx.AsyncClient]:
    async with serving(database) as client:
        yield client


async def live(connection: Connection) -> None:
    """A scheduler that has just ticked and a worker that was just heard of."""
    await connection.execute(
        "INSERT INTO keepstep.ticks (name) VALUES ('dispatcher') ON CONFLICT (name) DO UPDATE SET at = now()"
    )
    await connection.execute("INSERT INTO keepstep_queue.procrastinate_workers DEFAULT VALUES")


async def told(client: httpx.AsyncClient) -> dict[str, Metric]:
    """What Prometheus would understand."""
    answer = await client.get("/metrics")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    return {family.name: family for family in plain(answer.text)}


def values(family: Metric) -> dict[tuple[str, ...], float]:
    """Samples by the values of their labels, in the order of the labels' names."""
    return {tuple(v for _, v in sorted(s.labels.items())): s.value for s in family.samples}


async def test_a_process_that_serves_says_so_to_anybody(client: httpx.AsyncClient) -> None:
    answer = await client.get("/healthz", headers={"authorization": ""})
    assert (answer.status_code, answer.json()) == (200, {"status": "ok", "version": "1.2.3"})


async def test_a_keepstep_that_does_its_work_is_ready(client: httpx.AsyncClient, connection: Connection) -> None:
    await live(connection)
    answer = await client.get("/readyz", headers={"authorization": ""})
    assert answer.status_code == 200, answer.text
    assert answer.headers["cache-control"] == "no-store"
    assert answer.json()["ok"] is True
    assert [check["name"] for check in answer.json()["checks"]] == ["database", "migrations", "worker", "scheduler"]
    assert all("fix" not in check for check in answer.json()["checks"])


async def test_one_without_workers_and_scheduler_is_not_and_says_what_to_do(client: httpx.AsyncClient) -> None:
    answer = await client.get("/readyz")
    assert answer.status_code == 503
    failed = {check["name"]: check["fix"] for check in answer.json()["checks"] if not check["ok"]}
    assert failed.keys() == {"worker", "scheduler"}
    assert "keepstep worker" in failed["worker"]


async def test_a_worker_that_fell_silent_does_not_count(client: httpx.AsyncClient, connection: Connection) -> None:
    await live(connection)
    await connection.execute("UPDATE keepstep_queue.procrastinate_workers SET last_heartbeat = now() - interval '31 s'")
    failed = [check["name"] for check in (await client.get("/readyz")).json()["checks"] if not check["ok"]]
    assert failed == ["worker"]


async def test_a_database_without_our_tables_is_not_ready(server: TestServer, empty_dsn: str) -> None:
    async with serving(Database(empty_dsn)) as client:
        answer = await client.get("/readyz")
    assert answer.status_code == 503
    assert "keepstep migrate" in answer.json()["checks"][1]["fix"]


async def test_a_database_that_is_away_is_told_without_telling_where_it_is() -> None:
    async with serving(Database(NOWHERE)) as client:
        answer = await client.get("/readyz")
        assert answer.status_code == 503
        [check] = answer.json()["checks"]
        assert (check["name"], check["ok"]) == ("database", False)
        for word in ("127.0.0.1", "nobody", "s3cret"):
            assert word not in answer.text
        scraped = await told(client)
        assert values(scraped["keepstep_database_up"]) == {(): 0}
        assert set(scraped) == {"keepstep_database_up", "keepstep_build_info"}
        assert (await client.get("/healthz")).status_code == 200


async def test_however_many_ask_the_database_is_asked_once_a_second(database: Database) -> None:
    async with database.pooled(2) as pooled, serving(pooled) as client:
        answers = await asyncio.gather(*(client.get("/readyz") for _ in range(40)))
    assert {answer.status_code for answer in answers} == {503}
    assert len({answer.text for answer in answers}) == 1


async def test_metrics_are_not_for_anybody(client: httpx.AsyncClient) -> None:
    answer = await client.get("/metrics", headers={"authorization": ""})
    assert answer.status_code == 401
    assert answer.headers["content-type"] == "application/problem+json"


async def test_an_empty_database_has_metrics_too(client: httpx.AsyncClient) -> None:
    scraped = await told(client)
    assert values(scraped["keepstep_build_info"]).popitem()[0][-1] == "1.2.3"
    assert values(scraped["keepstep_database_up"]) == {(): 1}
    assert values(scraped["keepstep_workers_alive"]) == {(): 0}
    assert all(name.startswith("keepstep_") for name in scraped)


async def test_the_documentation_lists_every_metric_with_its_labels(
    client: httpx.AsyncClient, connection: Connection, sync: Sync
) -> None:
    await sync.run("owners")
    found = dict(re.findall(r"^# TYPE (\w+) (\w+)$", (await client.get("/metrics")).text, re.MULTILINE))
    table = re.findall(r"^\| `(keepstep_\w+)` \|([^|]*)\|", DOCUMENTATION.read_text("utf-8"), re.MULTILINE)
    assert [name for name, _ in table] == list(found)
    documented = {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in table}
    for family in (await told(client)).values():
        for sample in family.samples:
            name = re.sub(r"_(bucket|count|sum)$", "", sample.name)
            assert set(sample.labels) - {"le"} == documented[name], name


async def test_a_run_is_in_the_metrics_before_and_after_it_is_counted(
    client: httpx.AsyncClient, connection: Connection, sync: Sync
) -> None:
    run = await sync.run("owners", "leases")
    before = await told(client)
    await totals.count_ended(connection)
    after = await told(client)
    for scraped in (before, after):
        assert values(scraped["keepstep_runs"]) == {("false", "doorloop", "backfill", "succeeded", "manual"): 1}
        inserted = {key: n for key, n in values(scraped["keepstep_rows"]).items() if key[2] == "inserted"}
        assert inserted == {("owners", "doorloop", "inserted"): 7, ("leases", "doorloop", "inserted"): 60}
        durations = scraped["keepstep_run_duration_seconds"]
        ends = {s.labels["le"]: s.value for s in durations.samples if s.name.endswith("_bucket")}
        assert ends["+Inf"] == 1
        assert list(ends.values()) == sorted(ends.values())
        [total] = [s.value for s in durations.samples if s.name.endswith("_sum")]
        assert run.duration_ms is not None
        assert total == pytest.approx(run.duration_ms / 1000, abs=0.01)
        [success] = values(scraped["keepstep_last_success_timestamp_seconds"]).values()
        assert run.finished_at is not None
        assert success == pytest.approx(run.finished_at.timestamp(), abs=0.01)


async def test_what_waits_for_somebody_is_in_the_metrics(
    client: httpx.AsyncClient, connection: Connection, sync: Sync
) -> None:
    await live(connection)
    await sync.run("leases")
    sync.upstream.change("leases", delete=40)
    sync.upstream.poison("owners", "nul-in-text")
    held = await sync.run("owners", "leases")
    assert held.result == "held"
    scraped = await told(client)
    assert values(scraped["keepstep_held_open"]) == {("leases", "doorloop"): 1}
    assert values(scraped["keepstep_dead_letters_open"]) == {("owners", "doorloop"): 1}
    assert values(scraped["keepstep_workers_alive"]) == {(): 1}
    assert values(scraped["keepstep_schedule_lateness_seconds"]) == {(): 0}
    [tick] = values(scraped["keepstep_scheduler_last_tick_timestamp_seconds"]).values()
    [row] = await sync.sql("SELECT extract(epoch FROM now() - at) AS age FROM keepstep.ticks WHERE name = 'dispatcher'")
    assert tick > 0
    assert row["age"] < 60


async def test_breakers_and_rate_limits_are_told_as_they_stand_now(
    client: httpx.AsyncClient, connection: Connection
) -> None:
    await connection.execute(
        """
        WITH c AS (
            INSERT INTO keepstep.connections (integration, owner_id) VALUES ('doorloop', NULL), ('doorloop', 'ana'),
                ('doorloop', 'bo') RETURNING id, owner_id
        ), t AS (SELECT extract(epoch FROM now()) AS now)
        INSERT INTO keepstep.limits (connection_id, state)
        SELECT id, CASE
            WHEN owner_id IS NULL THEN jsonb_build_object('breaker', jsonb_build_object('failures', 5, 'opened_at', now,
                'reopens_at', now + 60), 'budgets', jsonb_build_array(jsonb_build_object('limit', 50, 'remaining', 12,
                'reset', now + 30)), 'holders', '{}'::jsonb)
            WHEN owner_id = 'ana' THEN jsonb_build_object('breaker', jsonb_build_object('failures', 5, 'opened_at',
                now - 90, 'reopens_at', now - 30), 'budgets', jsonb_build_array(jsonb_build_object('limit', 50,
                'remaining', 3, 'reset', now - 30)))
            ELSE '{}'::jsonb END
        FROM c, t
        """
    )
    scraped = await told(client)
    states = {key[1]: value for key, value in values(scraped["keepstep_breaker_state"]).items()}
    assert states == {"open": 1, "half-open": 1, "closed": 1}
    assert values(scraped["keepstep_rate_limit_remaining"]) == {("doorloop",): 12}


async def test_requests_upstream_are_told_by_status_code(client: httpx.AsyncClient, connection: Connection) -> None:
    await totals.add(connection, [Total("requests", {"integration": "doorloop", "code": "200"}, 41)])
    await totals.add(connection, [Total("requests", {"integration": "doorloop", "code": "200"}, 1)])
    assert values((await told(client))["keepstep_requests"]) == {("200", "doorloop"): 42}


async def test_open_metrics_are_given_to_whoever_asks_for_them(client: httpx.AsyncClient, sync: Sync) -> None:
    await sync.run("owners")
    accept = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.3,*/*;q=0.1"
    answer = await client.get("/metrics", headers={"accept": accept})
    assert answer.headers["content-type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    families = {family.name: family for family in open_metrics(answer.text)}
    assert families["keepstep_runs"].type == "counter"


@pytest.mark.parametrize("accept", ["", "text/plain; version=abc", "application/openmetrics-text; version=x", "\xff"])
async def test_an_odd_wish_is_no_error(client: httpx.AsyncClient, accept: str) -> None:
    answer = await client.get("/metrics", headers={"accept": accept.encode("latin-1")})
    assert answer.status_code == 200


async def test_the_answers_are_in_the_documentation(client: httpx.AsyncClient) -> None:
    paths = (await client.get("/openapi.json")).json()["paths"]
    assert set(paths["/readyz"]["get"]["responses"]) == {"200", "503"}
    assert set(paths["/metrics"]["get"]["responses"]["200"]["content"]) == {
        "text/plain", "application/openmetrics-text",
    }  # fmt: skip
    assert paths["/metrics"]["get"]["security"]
    assert "security" not in paths["/healthz"]["get"]
