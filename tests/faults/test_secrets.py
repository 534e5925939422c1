"""Whatever goes wrong, no secret comes out: not in the log, events, answers, tables, on a terminal, in a trace."""

import asyncio
import base64
import io
import json
import logging
import subprocess
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from urllib.parse import quote, urlsplit, urlunsplit

import pytest
import structlog
from aiohttp import web

from keepstep.app import App
from keepstep.config import Settings
from keepstep.engine.runner import Runner
from keepstep.integrations.doorloop.connector import DoorLoop
from keepstep.model.integration import Mode
from keepstep.model.run import Policy, RunRequest
from keepstep.reliability import journal
from keepstep.store.embedded import binaries
from tests.faults.conftest import ping
from tests.faults.test_upstream_faults import ANSWERS
from tests.support.clinic import command
from tests.support.clock import HurriedClock
from tests.support.elsewhere import answering, free_port
from tests.support.site import ADMIN_TOKEN, PASSWORD, Served, served
from tests.support.sync import Sync
from tests.support.upstream import serving

API_KEY = "dl_api_key_Xq7vT2mZ9pKe4WcR"
STORED_KEY = "dl_api_key_Hs3yB8nJ5uGf6DaL"
SIGNATURE = "sv-Zt4kM1xQw8Ne5Vb7Hr2Jc9Lp"
DATABASE_PASSWORD = "dbpw-Yp6sF3gK8dTn2Wq"
SECRET_KEY = "skey-Um5rE9tXj4Cz7Bv1"
SECRETS = {
    "API key": API_KEY, "stored API key": STORED_KEY, "webhook signature": SIGNATURE, "admin token": ADMIN_TOKEN,
    "password of a user": PASSWORD, "password of the database": DATABASE_PASSWORD, "secret key": SECRET_KEY,
}  # fmt: skip
PLACES = (
    "/api/admin/integrations", "/api/admin/integrations/doorloop/ping", "/api/admin/integrations/doorloop/pings",
    "/api/admin/integrations/doorloop/check?endpoint=owners", "/api/admin/integrations/doorloop/config",
    "/api/admin/integrations/doorloop/schema-diff?entity=owners", "/api/admin/integrations/doorloop/schema-policy",
    "/api/admin/integrations/doorloop/credentials", "/api/admin/sync/status", "/api/admin/sync/settings",
    "/api/admin/sync/schedule", "/api/admin/sync/errors", "/api/admin/sync/runs", "/api/admin/sync/rate-limit",
    "/api/admin/sync/dlq", "/api/admin/sync/held", "/api/admin/alerts", "/api/admin/audit", "/api/admin/users",
    "/api/admin/tokens", "/api/auth/me", "/metrics", "/readyz", "/healthz", "/openapi.json",
)  # fmt: skip


def leaks(text: str, others: Iterable[str] = ()) -> list[str]:
    """Which secrets a text gives away: whole, encoded, or a telling piece of one."""
    found = []
    for name, secret in (*SECRETS.items(), *(("session or token", other) for other in others)):
        pieces = {secret, secret[:14], secret[-14:], quote(secret, safe=""), base64.b64encode(secret.encode()).decode()}
        found += [name for piece in pieces if piece in text]
    return found


async def tell_all(request: web.Request) -> web.Response:
    """An upstream that repeats what it was sent, in an error, a redirect, or something that is not data."""
    key = request.headers.get("authorization", "")
    kind = request.path.split("/")[1]
    match kind:
        case "500":
            return web.json_response({"message": f"cannot serve {key}"}, status=500)
        case "401":
            return web.json_response({"message": key, "errors": {key: key}}, status=401)
        case "302":
            return web.Response(status=302, headers={"Location": f"https://x.test/{quote(key)}?key={quote(key)}"})
        case "html":
            return web.Response(text=f"<html><body>{key}", content_type="text/html")
        case "edge":  # the snippet ends in the middle of the key
            return web.Response(text=" " * 2040 + "{" + key, content_type="application/json")
        case _:
            return web.json_response({"authorization": key, "items": [key]})


@asynccontextmanager
async def listening() -> AsyncIterator[io.StringIO]:
    """The process's log, as it is written."""
    out, before = io.StringIO(), logging.getLogger().handlers[:]
    secrets = (API_KEY, STORED_KEY, SIGNATURE, ADMIN_TOKEN, DATABASE_PASSWORD, SECRET_KEY)
    journal.configure(out, terminal=False, secrets=lambda: secrets)
    try:
        yield out
    finally:
        logging.getLogger().handlers[:] = before
        structlog.reset_defaults()


def with_password(dsn: str) -> str:
    """The same database, with a password in its address that it does not ask for."""
    parts = urlsplit(dsn)
    return urlunsplit(parts._replace(netloc=f"keepstep:{DATABASE_PASSWORD}@"))


def environment(dsn: str, base_url: str, **more: str) -> dict[str, str]:
    return {
        "DATABASE_URL": with_password(dsn), "DOORLOOP_BASE_URL": base_url, "KEEPSTEP_SECRET_KEY": SECRET_KEY,
        "INTEGRATIONS_TEAMS_WEBHOOK": f"http://127.0.0.1:{free_port()}/workflows/a?sig={SIGNATURE}", **more,
    }  # fmt: skip


async def everything_said(site: Served) -> str:
    """Every answer of the API, and every event of every run."""
    runs = (await site.admin.get("/api/admin/sync/runs")).json()
    places = (*PLACES, *(f"/api/admin/sync/runs/{run['runId']}" for run in runs))
    return "\n".join([(await site.admin.get(place)).text for place in places])


def dumped(dsn: str) -> str:
    """The control tables, row by row."""
    words = [str(binaries() / "pg_dump"), "--data-only", "--inserts", "--schema=keepstep*", dsn]
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


async def fail_once(site: Served, url: str, api_key: str) -> None:
    """Ping and run: whatever comes of it."""
    await ping(site)
    doorloop = DoorLoop(base_url=url, api_key=api_key, rate_limit_rps=0, clock=HurriedClock())
    try:
        await Runner(site.service.database, doorloop, Policy(), journal.tell).start(
            RunRequest(("owners", "leases"), Mode.BACKFILL)
        )
    finally:
        await doorloop.aclose()
    await site.sql("UPDATE keepstep.limits SET state = '{}'")
    await site.sql(
        "UPDATE keepstep.runs SET state = 'stopped', finished_at = now(), due_at = NULL WHERE state = 'waiting'"
    )


async def test_no_fault_of_upstream_gives_a_secret_away(dsn: str, tmp_path: Path) -> None:
    async with listening() as log, serving(api_key=API_KEY) as upstream:
        sessions = []
        async with served(home=tmp_path, **with_dsn(environment(dsn, upstream.url, DOORLOOP_API_KEY=API_KEY))) as site:
            await site.user()
            tokens = [(await site.token("viewer"))["authorization"].removeprefix("Bearer ")]
            async with site.signed_in() as browser:
                sessions = [cookie.value or "" for cookie in browser.cookies.jar]
                await browser.get("/api/admin/sync/status")
                await browser.post("/api/auth/login", json={"name": "ana", "password": f"{PASSWORD} wrong"})
            for fault in ANSWERS.values():
                upstream.fault(**fault, forever=True)
                await fail_once(site, upstream.url, API_KEY)
                upstream.clear_faults()
            test = await site.admin.post("/api/admin/alerts/test")
            said = test.text + await everything_said(site)
            tables = dumped(dsn)

    others = (*tokens, *sessions)
    assert all(others)
    assert len(log.getvalue().splitlines()) > len(ANSWERS)
    assert {"said": leaks(said, others), "log": leaks(log.getvalue(), others), "tables": leaks(tables, others)} == {
        "said": [], "log": [], "tables": [],
    }  # fmt: skip


def with_dsn(environment: dict[str, str]) -> dict[str, str]:
    """The same for ``served``, which takes the database's address by itself."""
    return {"dsn": environment["DATABASE_URL"], **{k: v for k, v in environment.items() if k != "DATABASE_URL"}}


@pytest.mark.parametrize("stored", [False, True])
async def test_an_upstream_that_repeats_the_key_gives_it_to_nobody(dsn: str, tmp_path: Path, stored: bool) -> None:
    given = {} if stored else {"DOORLOOP_API_KEY": API_KEY}
    async with listening() as log, answering(tell_all) as url:
        said, tables = "", ""
        for kind in ("500", "401", "302", "html", "edge", "other"):
            async with served(home=tmp_path, **with_dsn(environment(dsn, f"{url}/{kind}/api", **given))) as site:
                if stored:
                    await site.admin.put("/api/admin/integrations/doorloop/credentials", json={"apiKey": STORED_KEY})
                    assert await site.service.connectors.is_configured("doorloop")
                await fail_once(site, f"{url}/{kind}/api", STORED_KEY if stored else API_KEY)
                said += await everything_said(site)
        tables = dumped(dsn)

    assert "****" in said, "it was repeated, and blotted out"
    assert {"said": leaks(said), "log": leaks(log.getvalue()), "tables": leaks(tables)} == {
        "said": [], "log": [], "tables": [],
    }  # fmt: skip


@pytest.mark.parametrize("base_url", ["http://127.0.0.1:1/api", "https://me:{key}@nosuch.invalid/api"])
def test_the_command_line_gives_nothing_away(
    dsn: str, tmp_path: Path, capfd: pytest.CaptureFixture[str], base_url: str
) -> None:
    known = {
        **environment(dsn, base_url.format(key=API_KEY)), "DOORLOOP_API_KEY": API_KEY, "KEEPSTEP_HOME": str(tmp_path),
        "ADMIN_SYNC_TOKEN": ADMIN_TOKEN, "KEEPSTEP_BREAKER_THRESHOLD": "100",
    }  # fmt: skip
    commands = (
        "doctor", "doctor --json", "status", "status --json", "ping doorloop", "ping doorloop --json",
        "check doorloop owners", "config show", "config show --json", "run doorloop owners --json", "runs --json",
        "schema diff doorloop owners", "db url", "logs --json",
    )  # fmt: skip
    said = "".join(command(capfd, *line.split(), **known)[1] for line in commands)
    away = {**known, "DATABASE_URL": f"postgresql://me:{DATABASE_PASSWORD}@127.0.0.1:{free_port()}/none"}
    said += "".join(command(capfd, *line.split(), **away)[1] for line in ("status", "doctor", "run doorloop owners"))

    assert leaks(said) == []
    assert "Traceback" not in said


def test_a_traceback_in_the_log_of_faults_and_in_the_log_of_the_process_holds_none(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    from keepstep.cli.main import run

    secrets = f"{API_KEY} {SIGNATURE} {ADMIN_TOKEN} postgresql://me:{DATABASE_PASSWORD}@db.example.test/app"

    class Broken(App):
        def setup(self, *_: object) -> None:  # type: ignore[override]
            raise ZeroDivisionError(secrets)

    given = {
        "DOORLOOP_API_KEY": API_KEY, "ADMIN_SYNC_TOKEN": ADMIN_TOKEN, "KEEPSTEP_HOME": str(tmp_path),
        "INTEGRATIONS_TEAMS_WEBHOOK": f"https://hooks.example.test/a?sig={SIGNATURE}",
        "DATABASE_URL": f"postgresql://me:{DATABASE_PASSWORD}@db.example.test/app",
    }  # fmt: skip
    app = Broken(Settings.load(given))
    run(lambda: app, ["config", "show"])
    out = io.StringIO()
    log = journal.configure(out, terminal=False, secrets=lambda: app.secrets)
    try:
        raise ZeroDivisionError(secrets)
    except ZeroDivisionError:
        log.exception("It broke.", api_key=API_KEY, webhook=f"https://hooks.example.test/a?sig={SIGNATURE}")
    finally:
        structlog.reset_defaults()
    written = (tmp_path / "logs" / "errors.log").read_text()

    assert "Traceback" in written
    assert "Traceback" in json.loads(out.getvalue())["exception"]
    said = capfd.readouterr()
    assert leaks(written + out.getvalue() + said.out + said.err) == []


async def test_what_is_stored_is_not_readable_in_the_tables(sync: Sync, tmp_path: Path) -> None:
    async with served(home=tmp_path, **with_dsn(environment(sync.dsn, sync.upstream.url))) as site:
        await site.service.credentials.put("doorloop", {"apiKey": STORED_KEY}, by="ana")
        await site.user()
        async with site.signed_in():
            tables = await asyncio.to_thread(dumped, sync.dsn)

    assert "INSERT INTO keepstep.sessions" in tables
    assert leaks(tables) == []
