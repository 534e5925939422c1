"""What the page says about itself is true: news arrive, none is lost, and what is old says so."""

from pathlib import Path

from playwright.async_api import Page, expect

from keepstep.model.integration import Mode
from keepstep.model.run import RunRequest
from tests.support.browser import Watched, browsing
from tests.support.control_center import PAGE, restarting, run
from tests.support.site import PASSWORD, Served
from tests.support.upstream import Upstream

LINES = "els => els.map(line => line.lastElementChild.textContent)"
INSERT = """
INSERT INTO keepstep.events (connection_id, run_id, type, level, entity, msg)
SELECT r.connection_id, r.id, 'page', 'info', 'leases', 'line ' || n
FROM keepstep.runs r, generate_series(%s::int, %s::int) n WHERE r.id = %s
"""


async def live(browser: Watched, query: str = "") -> Page:
    await browser.sign_in("ana")
    page = await browser.page(f"{PAGE}{query}")
    await expect(page.locator("#pulse-words")).to_have_text("live")
    return page


async def test_the_page_goes_on_by_itself_after_a_restart_of_the_server_and_the_log_has_no_gap(
    dsn: str, tmp_path: Path, upstream: Upstream
) -> None:
    async with restarting(dsn, tmp_path, upstream) as (web, service), browsing(web.url) as browser:
        browser.expected += ["ERR_CONNECTION_REFUSED", "ERR_INCOMPLETE", "ERR_EMPTY_RESPONSE", "ERR_CONNECTION_RESET"]
        page = await live(browser)
        loads = await page.evaluate("performance.getEntriesByType('navigation').length && performance.timeOrigin")
        await web.stop()
        await expect(page.locator("#pulse-words")).to_have_text("reconnecting")
        await expect(page.locator("#liveness .banner:visible")).to_have_count(1, timeout=15000)
        run_id = await service.commands.enqueue("doorloop", RunRequest(("owners",), Mode.BACKFILL))
        while (await service.views.run(run_id)).finished_at is None:
            await service.views.events(run_id)
        await web.start()
        await expect(page.locator("#pulse-words")).to_have_text("live", timeout=20000)
        await expect(page.locator(f"#run-row-{run_id}")).to_contain_text("succeeded", timeout=15000)
        await expect(page.locator("#log")).to_contain_text(f"Run {run_id} succeeded.")
        await expect(page.locator("#liveness .banner:visible")).to_have_count(0)
        told = [event.msg for event in await service.views.events(run_id)]
        assert await page.locator("#log > div").evaluate_all(LINES) == told
        assert await page.evaluate("performance.timeOrigin") == loads


async def test_a_session_that_has_ended_is_said_and_leads_back_to_the_page(browser: Watched, site: Served) -> None:
    browser.expected.append("401")
    page = await live(browser, "?level=warning")
    await site.sql("DELETE FROM keepstep.sessions")
    await page.evaluate("document.dispatchEvent(new Event('acted'))")
    await expect(page.locator("#banner-session")).to_be_visible()
    await expect(page.locator("#pulse-words")).to_have_text("signed out")
    await page.get_by_role("link", name="Sign in again").click()
    await page.get_by_label("Name").fill("ana")
    await page.get_by_label("Password").fill(PASSWORD)
    await page.keyboard.press("Enter")
    await page.wait_for_url(f"**{PAGE}?level=warning")


async def test_the_log_is_filtered_by_entity_level_and_run_and_the_address_keeps_it(
    browser: Watched, site: Served, upstream: Upstream
) -> None:
    upstream.fault("html", entity="owners", count=50)
    first = await run(site, "owners", "tenants")
    page = await live(browser, "?entity=owners&level=error")
    await expect(page.locator("#log > div")).to_have_count(1)
    await expect(page.locator("#log")).to_contain_text("A web page came instead of data")
    await page.locator("#log-level").select_option("")
    await page.locator("#log-entity").select_option("")
    await page.locator("#log-run").fill(str(first))
    await expect(page.locator("#log")).to_contain_text(f"Run {first} started")
    second = await run(site, "tenants")
    await expect(page.locator(f"#run-row-{second}")).to_contain_text("succeeded")
    assert f"Run {second} started" not in await page.locator("#log").inner_text()
    assert f"runId={first}" in page.url
    assert "level" not in page.url


async def test_a_paused_log_stands_still_says_what_waits_and_goes_on_without_a_gap(
    browser: Watched, site: Served
) -> None:
    first = await run(site, "owners")
    page = await live(browser)
    await expect(page.locator("#log")).to_contain_text(f"Run {first} succeeded.")
    await page.get_by_role("button", name="Pause").click()
    before = await page.locator("#log > div").evaluate_all(LINES)
    second = await run(site, "owners", mode="delta")
    await expect(page.locator(f"#run-row-{second}")).to_contain_text("succeeded")
    await expect(page.locator("#log-note")).to_contain_text("new lines waiting")
    assert await page.locator("#log > div").evaluate_all(LINES) == before
    await page.get_by_role("button", name="Go on").click()
    await expect(page.locator("#log")).to_contain_text(f"Run {second} succeeded.")
    told = [event.msg for n in (first, second) for event in await site.service.views.events(n)]
    assert await page.locator("#log > div").evaluate_all(LINES) == told


async def test_a_line_has_an_address_that_opens_the_log_at_it(browser: Watched, site: Served) -> None:
    first = await run(site, "owners")
    page = await live(browser)
    await expect(page.locator("#log")).to_contain_text(f"Run {first} succeeded.")
    line = page.locator("#log > div", has_text="owners: done")
    await line.locator("time").click()
    await expect(line).to_have_attribute("data-marked", "")
    shared = await browser.page(page.url.removeprefix(browser.url))
    await expect(shared.locator("#log [data-marked]")).to_contain_text("owners: done")
    await expect(shared.get_by_role("button", name="Go on")).to_be_visible()


async def test_a_days_log_leaves_the_page_as_small_as_it_was(browser: Watched, site: Served) -> None:
    run_id = await run(site, "owners")
    page = await live(browser)
    await expect(page.locator(f"#run-row-{run_id}")).to_contain_text("succeeded")
    session = await browser.context.new_cdp_session(page)

    async def size() -> tuple[int, int]:
        await session.send("HeapProfiler.collectGarbage")
        found = await session.send("Memory.getDOMCounters")
        heap = await session.send("Runtime.getHeapUsage")
        return int(found["nodes"]), int(heap["usedSize"])

    for start in range(0, 2000, 1000):
        await site.sql(INSERT, start, start + 999, run_id)
        await site.sql("NOTIFY keepstep")
    await expect(page.locator("#log")).to_contain_text("line 1999", timeout=30000)
    nodes, heap = await size()
    for start in range(2000, 200_000, 2000):
        await site.sql(INSERT, start, start + 1999, run_id)
        await site.sql("NOTIFY keepstep")
    await expect(page.locator("#log")).to_contain_text("line 199999", timeout=60000)
    nodes_after, heap_after = await size()
    assert await page.locator("#log > div").count() == 200
    assert nodes_after < nodes + 3000, (nodes, nodes_after)
    assert heap_after < heap + 8_000_000, (heap, heap_after)


async def test_tab_title_and_favicon_show_trouble(browser: Watched, site: Served, upstream: Upstream) -> None:
    page = await live(browser)
    await expect(page).to_have_title("DoorLoop · Keepstep")
    upstream.fault("401", count=50)
    await run(site, "owners")
    await expect(page).to_have_title("(1) DoorLoop · Keepstep")
    assert "favicon-bad" in str(await page.locator("#favicon").get_attribute("href"))
