"""A real pgbouncer in transaction mode in front of the database: what works through it, what says that it cannot."""

import asyncio
import contextlib
import json
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import httpx
import psycopg
import pytest

from keepstep.store.db import Connection, Database, NoSession
from keepstep.store.notices import listening
from keepstep.store.pooler import Way
from tests.support.feed import TOKEN, Listener, until
from tests.support.programs import pooled
from tests.support.server import TestServer
from tests.support.site import NO_TLS
from tests.system.command import Emulator, Keepstep, emulator, keepstep

SIZE = 3
"""Server sessions of the pooler: fewer than clients, so that they are shared."""
READ = (
    "/healthz", "/metrics", "/openapi.json", "/api/admin/integrations", "/api/admin/sync/status",
    "/api/admin/sync/runs", "/api/admin/sync/dlq", "/api/admin/sync/errors", "/api/admin/sync/rate-limit",
    "/api/admin/audit", "/api/admin/users", "/api/admin/tokens", "/api/admin/integrations/doorloop/config",
)  # fmt: skip
LEFT = r"""
SELECT 'prepared: ' || statement AS what FROM pg_prepared_statements
UNION ALL SELECT 'listens: ' || channel FROM pg_listening_channels() channel
UNION ALL SELECT 'advisory lock: ' || objid FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()
UNION ALL SELECT 'temporary schema' WHERE pg_my_temp_schema() <> 0
UNION ALL SELECT 'setting: ' || name FROM pg_settings WHERE source = 'session' AND name NOT LIKE 'transaction\_%'
  AND name NOT IN ('application_name', 'client_encoding', 'DateStyle', 'TimeZone', 'standard_conforming_strings')
"""
"""What a server session would hand on to the next client. The settings left out end with the transaction, or pgbouncer
itself looks after them."""


@pytest.fixture
def pooler(dsn: str) -> Iterator[str]:
    """The test's own migrated database through a pooler in transaction mode."""
    with pooled(dsn, size=SIZE) as way:
        yield way


@pytest.fixture
def command(pooler: str) -> Iterator[Keepstep]:
    """The command behind the pooler."""
    with keepstep(DATABASE_URL=pooler, ADMIN_SYNC_TOKEN=TOKEN, DOORLOOP_PAGE_SIZE="20") as command:
        yield command


@pytest.fixture
def upstream(command: Keepstep) -> Iterator[Emulator]:
    with emulator(command, "--owners", "40", "--properties", "40", "--units", "40", "--leases", "60", "--tenants", "60",
                  "--latency-ms", "20") as upstream:  # fmt: skip
        command.environment |= upstream.environment
        yield upstream


async def left_behind(way: str) -> list[str]:
    """What is left in the pooler's server sessions; each is looked at, since a transaction holds one to its end."""
    found, processes = [], set()
    async with contextlib.AsyncExitStack() as stack:
        for _ in range(SIZE):
            client = await psycopg.AsyncConnection.connect(way, prepare_threshold=None)
            await stack.enter_async_context(client)
            found += [row[0] for row in await (await client.execute(LEFT.encode())).fetchall()]
            processes.add((await (await client.execute("SELECT pg_backend_pid()")).fetchone() or ())[0])
    assert len(processes) == SIZE
    return found


@asynccontextmanager
async def web(command: Keepstep) -> AsyncIterator[httpx.AsyncClient]:
    """``keepstep web`` and its admin."""
    with command.start("web", "--json") as running:
        url = json.loads(await asyncio.to_thread(running.until, '"url"'))["url"]
        headers = {"authorization": f"Bearer {TOKEN}"}
        async with httpx.AsyncClient(base_url=url, headers=headers, verify=NO_TLS, timeout=60) as admin:
            yield admin
        ended = await asyncio.to_thread(running.send, signal.SIGTERM)
    assert ended.code == 143, ended.err
    assert "unexpected" not in ended.err


async def test_what_a_client_leaves_in_a_session_is_seen(pooler: str) -> None:
    assert await left_behind(pooler) == []
    async with await psycopg.AsyncConnection.connect(pooler, autocommit=True, prepare_threshold=0) as careless:
        await careless.execute("SET work_mem = '5MB'")
        await careless.execute("SELECT pg_advisory_lock(1), %s::text", ["prepared"])
        await careless.execute("LISTEN keepstep")
        await careless.execute("CREATE TEMPORARY TABLE mine ()")
    kinds = {found.partition(":")[0] for found in await left_behind(pooler)}
    assert kinds == {"prepared", "listens", "advisory lock", "temporary schema", "setting"}


@pytest.mark.usefixtures("upstream")
async def test_the_web_works_through_the_pooler_with_a_worker_beside_it_and_leaves_nothing_in_the_sessions(
    command: Keepstep, dsn: str, pooler: str
) -> None:
    browser = Listener()
    async with web(command) as admin:
        for _ in range(2):
            answers = await asyncio.gather(*(admin.get(path) for path in READ for _ in range(6)))
            assert {answer.status_code for answer in answers} == {200}
        made = await admin.post(
            "/api/admin/users", json={"name": "ana", "password": "a few good words", "role": "admin"}
        )
        assert made.status_code == 201, made.text
        async with browser.at(str(admin.base_url)):
            await browser.until_placed()
            asked = {"entities": ["owners", "leases", "tenants"], "mode": "backfill"}
            starts = await asyncio.gather(*(admin.post("/api/admin/sync/run", json=asked) for _ in range(20)))
            assert sorted(start.status_code for start in starts) == [202] + [409] * 19
            [run] = {start.json()["runId"] for start in starts}
            with command.start("worker", "--json", DATABASE_URL=dsn) as worker:
                await browser.until(f"Run {run} succeeded.")
                assert (await admin.get("/readyz")).status_code == 200
                assert (await asyncio.to_thread(worker.send, signal.SIGTERM)).code == 143
        told = (await admin.get(f"/api/admin/sync/runs/{run}")).json()
        assert (told["result"], told["rows"]) == ("succeeded", 160)
        assert (await admin.post("/api/admin/sync/stop")).json() == {"stopped": False, "runId": None}
    assert browser.heard == [event["msg"] for event in command("logs", str(run), "--json").json]
    assert await left_behind(pooler) == []


async def test_a_new_database_is_migrated_through_the_pooler(command: Keepstep, empty_dsn: str) -> None:
    with pooled(empty_dsn, size=SIZE) as way:
        command.environment |= {"DATABASE_URL": way}
        assert len(command("migrate", "--json").json["applied"]) > 3
        assert command("migrate", "--json").json["applied"] == []
        assert await left_behind(way) == []


@pytest.mark.usefixtures("upstream")
def test_whoever_needs_a_session_says_so_and_what_to_do(command: Keepstep) -> None:
    for line in ("worker", "up", "run doorloop owners"):
        ended = command(*line.split())
        assert ended.code == 1, line
        assert "DATABASE_URL leads through a pooler in transaction mode" in ended.error
        assert "Fix:   Set KEEPSTEP_DIRECT_DATABASE_URL to the database's own address" in ended.error
    doctor = command("doctor", "--json").json
    [finding] = [check for check in doctor["checks"] if check["name"] == "pooler"]
    assert (finding["state"], finding["fix"][:33]) == ("warning", "Set KEEPSTEP_DIRECT_DATABASE_URL ")
    with command.start("web", "--json") as running:
        line = json.loads(running.until("transaction mode"))
        assert (line["level"], line["about"]) == ("warning", "pooler")
        assert "KEEPSTEP_DIRECT_DATABASE_URL" in line["fix"]


@pytest.mark.usefixtures("upstream")
async def test_with_a_direct_address_beside_it_one_process_does_everything(
    command: Keepstep, dsn: str, pooler: str
) -> None:
    command.environment |= {"KEEPSTEP_DIRECT_DATABASE_URL": dsn, "AUTO_SYNC_ENABLED": "true"}
    with command.start("up", "--json") as up:
        url = json.loads(await asyncio.to_thread(up.until, '"url"'))["url"]
        browser = Listener()
        async with browser.at(url):
            await browser.until_placed()
            await until(lambda: any("succeeded" in told for told in browser.heard))
        ended = await asyncio.to_thread(up.send, signal.SIGTERM)
    assert ended.code == 143, ended.err
    assert "pooler" not in ended.err
    assert command("run", "doorloop", "--mode", "full", "--json").code == 0
    looked = command("doctor", "--json").json["checks"]  # nobody works any more, and nothing else is amiss
    assert {check["name"] for check in looked if check["state"] == "failed"} <= {"scheduler", "worker"}
    assert "pooler" not in {check["name"] for check in command("doctor", "--json").json["checks"]}
    assert await left_behind(pooler) == []


def test_two_addresses_of_different_databases_are_refused(command: Keepstep, server: TestServer) -> None:
    with server.database() as other:
        command.environment |= {"KEEPSTEP_DIRECT_DATABASE_URL": other}
        assert "lead to different databases" in command("status").error
        doctor = command("doctor", "--json")
    assert doctor.code == 1
    assert "lead to different databases" in doctor.out


def test_a_direct_address_that_is_none_is_told_by_its_name(command: Keepstep, pooler: str) -> None:
    command.environment |= {"KEEPSTEP_DIRECT_DATABASE_URL": pooler}
    assert "KEEPSTEP_DIRECT_DATABASE_URL leads through a pooler in transaction mode" in command("worker").error
    command.environment |= {"KEEPSTEP_DIRECT_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/nowhere"}
    assert "KEEPSTEP_DIRECT_DATABASE_URL names its host" in command("status").error


def test_a_direct_address_without_the_other_one_is_told_to_be_of_no_use(command: Keepstep, dsn: str) -> None:
    shown = command("config", "show", "--json", DATABASE_URL="", KEEPSTEP_DIRECT_DATABASE_URL=dsn).json
    [warning] = [w for w in shown["warnings"] if w["about"] == "KEEPSTEP_DIRECT_DATABASE_URL"]
    assert "the embedded database is in use" in warning["message"]


@pytest.mark.parametrize(("mode", "size", "expected"), [
    ("transaction", 1, Way.TRANSACTION), ("transaction", 10, Way.TRANSACTION), ("session", 10, Way.SESSION),
    ("session", 1, Way.SESSION),
])  # fmt: skip
async def test_each_kind_of_pooler_is_recognised(
    dsn: str, mode: str, size: int, expected: Way, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keepstep.store.pooler._PATIENCE", 0.2)
    with pooled(dsn, mode=mode, size=size) as way:
        assert await Database(way).way() is expected
    assert await Database(dsn).way() is Way.DIRECT


async def test_behind_a_pooler_in_session_mode_nothing_is_missing(
    dsn: str, command: Keepstep, upstream: Emulator
) -> None:
    with pooled(dsn, mode="session", size=20) as way:
        command.environment |= {"DATABASE_URL": way}
        assert command("run", "doorloop", "owners", "--json").code == 0
        database = Database(way)
        async with listening(database, "news", name="listener") as notices, database.connection() as connection:
            await tell(connection)
            assert await anext(aiter(notices)) == "hello"


async def test_nobody_listens_or_keeps_a_session_through_a_transaction_pooler(pooler: str) -> None:
    database = Database(pooler)
    async with listening(database, "news", name="listener"), database.connection() as connection:
        await tell(connection)
        assert await left_behind(pooler) == []
    with pytest.raises(NoSession):
        await database.session(name="test")


async def tell(connection: Connection) -> None:
    await connection.execute("SELECT pg_notify('news', 'hello')")
