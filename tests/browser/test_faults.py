"""Ten things break, one at a time. Whoever opens the page reads what it is, first of all, and what to do."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from tests.support.browser import Watched, browsing
from tests.support.control_center import PAGE, run, settled, working
from tests.support.site import Served, served
from tests.support.upstream import Upstream

ACT, RETRYING, NOTE = "banner-bad", "banner-warn", "banner-note"
Break = Callable[[Served, Upstream], Awaitable[None]]


def fault(kind: str, **how: object) -> Break:
    """A fault of the emulator that a run of the owners meets."""

    async def work(site: Served, upstream: Upstream) -> None:
        upstream.fault(kind, **{"count": 50, "entity": "owners", **how})
        await settled(site, await run(site, "owners"))

    return work


async def many_deleted(site: Served, upstream: Upstream) -> None:
    await settled(site, await run(site, "leases"))
    upstream.change("leases", delete=40)
    await settled(site, await run(site, "leases"))


async def poison(site: Served, upstream: Upstream) -> None:
    upstream.poison("leases", "nul-in-text", count=3)
    await settled(site, await run(site, "leases"))


async def refused_ping(site: Served, upstream: Upstream) -> None:
    upstream.fault("401", forever=True)
    await site.service.pinger.ping("doorloop")


async def failed_ping(site: Served, upstream: Upstream) -> None:
    upstream.fault("503", forever=True)
    await site.service.pinger.ping("doorloop")


async def repeating(site: Served, upstream: Upstream) -> None:
    upstream.fault("repeat", count=50, entity="leases")
    await settled(site, await run(site, "leases"))


FAULTS: dict[str, tuple[Break, str, str, str]] = {
    "key refused": (fault("401"), ACT, "the API key is refused", "key"),
    "key refused, before any run": (refused_ping, ACT, "DoorLoop: the API key is refused", "DOORLOOP_API_KEY"),
    "server faults, between runs": (failed_ping, RETRYING, "DoorLoop:", ""),
    "right missing": (fault("403"), ACT, "owners: the key may not read an entity", ""),
    "web page instead of data": (fault("html"), ACT, "a web page comes instead of data", "DOORLOOP_BASE_URL"),
    "answer cut off": (fault("bad-json"), ACT, "the answer is not JSON", ""),
    "one page again and again": (repeating, ACT, "the same page comes again", ""),
    "pause asked for": (fault("429", retry_after=1800), RETRYING, "waits for DoorLoop", "tries again in"),
    "server faults": (fault("503"), RETRYING, "The breaker of DoorLoop is open", "tries again in"),
    "many records gone": (many_deleted, ACT, "40 deletions of leases wait for your decision", "Approve them"),
    "records that nothing can hold": (poison, NOTE, "3 records could not be applied", "requeue them"),
}


async def first_said(page: Page, tone: str, *words: str) -> None:
    first = page.locator("#troubles article").first
    for part in filter(None, words):
        await expect(first).to_contain_text(part)
    assert tone in str(await first.get_attribute("class"))
    box = await first.bounding_box()
    assert box is not None
    assert box["y"] + box["height"] < 900  # seen without scrolling


@pytest.mark.parametrize("name", FAULTS)
async def test_the_first_thing_that_the_page_says_is_what_is_broken_and_what_to_do(
    name: str, site: Served, upstream: Upstream, browser: Watched
) -> None:
    break_it, tone, title, rest = FAULTS[name]
    await break_it(site, upstream)
    await browser.sign_in("vic")
    page = await browser.page(PAGE)
    await first_said(page, tone, title, rest)


async def test_nobody_who_works_is_said_first(dsn: str, tmp_path: Path, upstream: Upstream) -> None:
    async with served(dsn, tmp_path, DOORLOOP_BASE_URL=upstream.url, DOORLOOP_API_KEY="k") as site:
        await site.user("vic", "viewer")
        async with browsing(site.url) as browser:
            await browser.sign_in("vic")
            page = await browser.page(PAGE)
            await first_said(page, ACT, "No worker was heard of", "keepstep worker")
            await expect(page.locator("#troubles")).to_contain_text("No scheduler has ever run here")
            await expect(page.locator("#part-glance")).to_contain_text("silent")


async def test_a_missing_key_and_a_malformed_setting_are_said_without_alarm(
    dsn: str, tmp_path: Path, upstream: Upstream
) -> None:
    async with working(dsn, tmp_path, upstream, DOORLOOP_API_KEY="", DOORLOOP_PAGE_SIZE="many") as site:
        await site.user("ana", "admin")
        async with browsing(site.url) as browser:
            await browser.sign_in("ana")
            page = await browser.page(PAGE)
            await first_said(page, NOTE, "DoorLoop is not connected", "DOORLOOP_API_KEY")
            await expect(page.locator("#troubles")).to_contain_text("DOORLOOP_PAGE_SIZE")
            await expect(page.locator("#config")).to_contain_text("DOORLOOP_PAGE_SIZE")
            await expect(page.locator("#act-run")).to_have_attribute("aria-disabled", "true")
