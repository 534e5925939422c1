"""Makes docs/images/page-*.png from the real pages, so that the pictures never lie: ``make screenshots``.

A Keepstep of its own (embedded PostgreSQL, emulated DoorLoop, workers) goes through a day: it loads everything, reads
changes, meets records that nothing can hold, a web page where data should be, and a listing with most of its records
gone. What it did is then dated back, so that the page shows that day and not the minute that it took. Chromium takes
the pictures.
"""

import argparse
import asyncio
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from playwright.async_api import Page
from tests.support import reports
from tests.support.browser import Watched, browsing
from tests.support.control_center import PAGE, run, settled, working
from tests.support.server import TestServer, fast_place
from tests.support.site import Served
from tests.support.upstream import Upstream, serving
from tests.support.webhook import webhook

from keepstep.model.errors import NotData, Transient
from keepstep.store.embedded import EmbeddedPostgres

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
SIZES = {"desk": (1440, 1000), "phone": (390, 844)}
THEMES = ("light", "dark")
ERP = f"{PAGE}/erp"
KEPT = ("control-center", "run", "run-dry", "dead-letter", "erp", "erp-agents", "erp-report")
"""What the documents show."""
SIZE = {"owners": 60, "properties": 120, "units": 800, "leases": 900, "tenants": 1200}
_ENDED_BEFORE = (1385, 620, 500, 380, 305, 240, 185, 122, 61, 31, 12)
"""How many minutes ago each run began, the first one first."""
_BY_HAND = (1385, 305, 31)
_STAMPS = {
    "runs": ("id", "created_at, queued_at, started_at, finished_at"),
    "run_entities": ("run_id", "started_at, finished_at"),
    "events": ("run_id", "ts"),
    "dead_letters": ("run_id", "created_at, last_seen_at, closed_at"),
    "held_deletions": ("run_id", "created_at, decided_at"),
}
"""What is dated back with a run: the table's column with the run's id, and its times."""
_SAMPLES = """UPDATE keepstep.rate_samples s SET ts = ts - make_interval(mins => %s) FROM keepstep.runs r
    WHERE r.id = %s AND s.ts BETWEEN r.started_at AND r.finished_at"""

_SINCE = b"""DELETE FROM keepstep.runs r USING keepstep.connections c
    WHERE c.id = r.connection_id AND c.owner_id = %s AND 'customers' = ANY (r.entities)
    AND r.finished_at > now() - make_interval(mins => %s)"""
"""What went well while, as the picture has it, nothing did."""


@dataclass(frozen=True, slots=True)
class Shot:
    """One picture. ``opens``: what is clicked first."""

    name: str
    path: str
    opens: str = ""


async def day(site: Served, upstream: Upstream) -> list[Shot]:
    """A day of Keepstep; gives what is worth a picture."""
    runs = Runs(site, [])
    first = await runs.done()
    for entity, count in (("tenants", 14), ("leases", 9), ("units", 31)):
        upstream.change(entity, update=count)
        await runs.done(mode="delta")
    upstream.change("tenants", update=5, create=2)
    upstream.change("leases", update=3)
    dry = await runs.done(mode="delta", dryRun=True)
    for kind in ("impossible-date", "text-for-number", "nul-in-text", "beyond-bigint"):
        upstream.poison("leases", kind, count=2)
    upstream.poison("tenants", "lone-surrogate", count=3)
    upstream.poison("tenants", "missing-id")
    await runs.done()
    upstream.fault("429", entity="units", after=3, count=1, retry_after=1)
    upstream.fault("503", entity="tenants", after=2, count=2)
    upstream.change("units", update=40)
    busy = await runs.done()
    upstream.change("units", update=6)
    await runs.done(mode="delta")
    upstream.fault("html", entity="owners", count=50)
    failed = await runs.done("owners", mode="delta")
    upstream.clear_faults()
    upstream.change("leases", delete=560)
    held = await runs.done("leases")
    await runs.done("properties", "units", "tenants", mode="delta")
    await _people(site)
    await _date_back(site, runs.ids)
    return [
        Shot("control-center", PAGE), Shot("run", f"{PAGE}/runs/{busy}"), Shot("run-failed", f"{PAGE}/runs/{failed}"),
        Shot("run-held", f"{PAGE}/runs/{held}"), Shot("run-dry", f"{PAGE}/runs/{dry}"), Shot("runs", f"{PAGE}/runs"),
        Shot("run-drawer", f"{PAGE}?run={first}"), Shot("dead-letters", f"{PAGE}/dlq"),
        Shot("dead-letter", f"{PAGE}/dlq", "#letters tbody tr:nth-child(6) a"), Shot("audit", f"{PAGE}/audit"),
        Shot("raw-state", "/admin/sync"), Shot("users", "/admin/users"), Shot("account", "/account"),
    ]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Runs:
    """Runs one after the other."""

    site: Served
    ids: list[int]

    async def done(self, *entities: str, **body: Any) -> int:
        """One run, to its end, as if hours had passed since the last one: the vendor's limits are whole again."""
        await self.site.sql("UPDATE keepstep.limits SET state = DEFAULT")
        run_id = await run(self.site, *entities, **body)
        ended = await settled(self.site, run_id)
        if not ended["finishedAt"]:
            raise RuntimeError(f"run {run_id} did not come to its end: {ended['result']}, {ended['error']}")
        self.ids.append(run_id)
        return run_id


async def _people(site: Served) -> None:
    for name, role in (("ana", "admin"), ("otto", "operator"), ("vic", "viewer")):
        await site.user(name, role)
    for name, role in (("nightly-report", "viewer"), ("deploy", "operator")):
        await site.token(role, name)
    async with site.signed_in("otto") as otto:
        letters = (await otto.get("/api/admin/sync/dlq")).json()["items"]
        await otto.post("/api/admin/sync/dlq/requeue", json={"ids": [letter["id"] for letter in letters[:3]]})
        await otto.post(
            "/api/admin/sync/dlq/discard", json={"id": letters[-1]["id"], "reason": "a test record of 2019"}
        )
    async with site.signed_in("ana") as ana:
        await ana.put("/api/admin/sync/schedule", json={"enabled": True, "intervalMinutes": 10, "fullAtHourUtc": 5})
        await ana.put("/api/admin/sync/settings/KEEPSTEP_DROP_GUARD_PERCENT", json={"value": "40"})


async def _date_back(site: Served, ids: Sequence[int]) -> None:
    """Each run, and what it left behind, at its time of the day; those in between were the schedule's."""
    for run_id, minutes in zip(ids, _ENDED_BEFORE, strict=True):
        await site.sql(_SAMPLES, minutes, run_id)
        for table, (column, stamps) in _STAMPS.items():
            moved = ", ".join(f"{name} = {name} - interval '{minutes} minutes'" for name in stamps.split(", "))
            await site.sql(f"UPDATE keepstep.{table} SET {moved} WHERE {column} = %s", run_id)  # noqa: S608 - our own names
        if minutes not in _BY_HAND:
            await site.sql("UPDATE keepstep.runs SET trigger = 'schedule', actor = NULL WHERE id = %s", run_id)
    await site.sql(
        "UPDATE keepstep.admin_logs SET created_at = created_at - make_interval(mins => 7 * (SELECT max(id)::int FROM"
        " keepstep.admin_logs) - 7 * id::int + 1)"
    )
    await site.sql("UPDATE keepstep.runs SET actor = 'ana' WHERE trigger = 'manual'")


async def erp(site: Served) -> list[Shot]:
    """Agents of the ERP and their reports, some of which are not as they should be; gives what is worth a picture."""
    async with site.connection() as connection:
        await reports.agents(connection, [f"{n:03d}" for n in range(1, 61)], rounds=14)
        sums = "Saldo adds up to 605.022,41, but 605.023,41 is printed"
        wrong = NotData.named("report-total", facts={"title": "The ERP", "path": "customers", "detail": sums})
        away = Transient.named("upstream-failed", facts={"title": "The ERP", "path": "reports", "status": 503})
        for agent, ago in (("017", 6), ("042", 2)):
            await connection.execute(_SINCE, (agent, ago + 40))
            await reports.ended(connection, agent, "customers", wrong, times=3, ago=ago, every=15)
        for ago, agent in enumerate(("003", "028", "051"), start=1):
            await reports.ended(connection, agent, "orders", away, ago=ago)
        await reports.held(connection, "042", "invoices", live_rows=212, delete_rows=130)
    for report, agent, flaw in (("ddt", "055", "stray-text"), ("customers", "042", "wrong-total"),
                                ("customers", "017", "bad-cell")):  # fmt: skip
        last = await site.service.documents.keep("erp", reports.document(report, agent, flaw=flaw))
    return [Shot("erp", ERP), Shot("erp-report", f"{ERP}/documents/{last}"), Shot("erp-agents", f"{ERP}/agents"),
            Shot("erp-cell", ERP, "#agent-042 td:nth-of-type(2) a")]  # fmt: skip


@contextmanager
def database() -> Iterator[tuple[str, Path]]:
    """An empty database, and a directory beside it."""
    place = Path(tempfile.mkdtemp(prefix="keepstep-pictures-", dir=fast_place()))
    try:
        with EmbeddedPostgres.open(place / "home") as postgres, TestServer(postgres).database() as dsn:
            yield dsn, place
    finally:
        shutil.rmtree(place, ignore_errors=True)


@asynccontextmanager
async def stage(dsn: str, place: Path) -> AsyncIterator[tuple[Served, list[Shot]]]:
    """A Keepstep whose day is over, with everything beside it."""
    limits = {"rate_headers": "x-ratelimit", "rate_per_minute": 600, "latency_ms": 20}
    async with serving(**SIZE, **limits) as upstream, webhook() as teams:
        settings = {
            "INTEGRATIONS_TEAMS_WEBHOOK": f"{teams.host}/workflows/invented", "DOORLOOP_PAGE_SIZE": "100",
            "DOORLOOP_RATE_LIMIT_RPS": "20",
        }  # fmt: skip
        async with working(dsn, place / "keys", upstream, **settings) as site:
            yield site, await day(site, upstream)


async def take(browser: Watched, page: Page, shot: Shot, target: Path, *, full: bool) -> None:
    """One picture, once the page has come to rest."""
    await page.goto(browser.url + shot.path)
    await page.wait_for_load_state("networkidle") if shot.path == "/account" else None
    if shot.opens:
        await page.locator(shot.opens).first.click()
    if shot.opens or "?run=" in shot.path:
        await page.locator("#drawer[open] [data-title]").wait_for()
    if await page.locator("#pulse-words").count():
        await page.locator("#pulse-words", has_text="live").wait_for()
    if await page.locator("#rate-chart").count() and not shot.opens:
        await page.locator("#log > div").first.wait_for()
    if await page.locator("#picture-place").count():
        await page.locator("#picture-place img").first.wait_for()
        await page.evaluate("Promise.all([...document.images].map((image) => image.decode()))")
    if await page.locator("#raw-text").count():
        await page.locator("#raw-text", has_text="integration").wait_for()
    await page.evaluate("document.fonts.ready")
    await page.screenshot(path=target, full_page=full, animations="disabled")


async def pictures(dsn: str, place: Path, into: Path, *, only: Sequence[str], width: int | None, full: bool) -> None:
    """All pictures, or some."""
    sizes = {f"w{width}": (width, 900)} if width else SIZES
    async with stage(dsn, place) as (site, shots):
        await _take_all(site, _wanted(shots, only), sizes, into, full=full)
        if not only or any(name.startswith("erp") for name in only):
            await _take_all(site, _wanted(await erp(site), only), sizes, into, full=full)


def _wanted(shots: Sequence[Shot], only: Sequence[str]) -> list[Shot]:
    return [shot for shot in shots if not only or shot.name in only]


async def _take_all(
    site: Served, shots: Sequence[Shot], sizes: dict[str, tuple[int, int]], into: Path, *, full: bool
) -> None:
    for size, (wide, high) in sizes.items():
        for theme in THEMES:
            async with browsing(site.url, viewport={"width": wide, "height": high}) as browser:
                await browser.context.add_cookies([{"name": "keepstep_theme", "value": theme, "url": site.url}])
                await browser.sign_in("ana")
                page = await browser.page()
                for shot in shots:
                    await take(browser, page, shot, into / f"page-{shot.name}-{size}-{theme}.png", full=full)


def main() -> int:
    """Take the pictures."""
    parser = argparse.ArgumentParser(prog="python -m tools.screenshots", description=__doc__)
    parser.add_argument("--into", type=Path, default=IMAGES, help="a directory for them")
    parser.add_argument("--only", nargs="*", default=KEPT, help="names of pictures, to take only those")
    parser.add_argument("--all", action="store_true", help="a picture of every page")
    parser.add_argument("--width", type=int, help="another width than 1440 and 390")
    parser.add_argument("--full", action="store_true", help="the whole page, not what a screen shows of it")
    given = parser.parse_args()
    given.into.mkdir(parents=True, exist_ok=True)
    with database() as (dsn, place):
        asyncio.run(
            pictures(dsn, place, given.into, only=() if given.all else given.only, width=given.width, full=given.full)
        )
    sys.stdout.write(f"{len(list(given.into.glob('page-*.png')))} pictures in {given.into}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
