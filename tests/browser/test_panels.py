"""The rail of the control center: the chart, the breaker, alerts, and rows that do not move under the pointer."""

import re
from pathlib import Path

from playwright.async_api import expect

from tests.support.browser import Watched, browsing
from tests.support.control_center import PAGE, run, settled, working
from tests.support.site import Served
from tests.support.upstream import Upstream
from tests.support.webhook import webhook


async def test_the_chart_draws_what_is_left_of_the_limit_and_says_it_in_words(
    browser: Watched, site: Served, upstream: Upstream
) -> None:
    upstream.switch(rate_headers="x-ratelimit", rate_per_minute=600)
    await settled(site, await run(site, "owners"))
    await browser.sign_in("vic")
    page = await browser.page(PAGE)
    chart = page.locator("#rate-chart")
    await chart.scroll_into_view_if_needed()
    await expect(chart.locator("canvas")).to_be_visible()
    assert re.search(r"hour: \d+ now", str(await chart.get_attribute("aria-label")))
    await expect(page.locator("#limits")).to_contain_text("of 600 requests left")


async def test_an_open_breaker_says_when_it_tries_again_and_an_admin_closes_it(
    browser: Watched, site: Served, upstream: Upstream
) -> None:
    upstream.fault("503", entity="owners", count=50)
    await settled(site, await run(site, "owners"))
    upstream.clear_faults()
    await browser.sign_in("ana")
    page = await browser.page(PAGE)
    await expect(page.locator("#limits")).to_contain_text("tries again in")
    await page.get_by_role("button", name="Close breaker").click()
    await page.locator("#confirm-yes").click()
    await expect(page.locator("#toasts")).to_contain_text("The breaker is closed.")
    await expect(page.locator("#part-glance")).to_contain_text("closed")
    assert [entry["action"] for entry in (await site.admin.get("/api/admin/audit?limit=1")).json()] == ["breaker.close"]


async def test_a_test_alert_is_sent_and_its_answer_told(dsn: str, tmp_path: Path, upstream: Upstream) -> None:
    async with (
        webhook() as teams,
        working(dsn, tmp_path, upstream, INTEGRATIONS_TEAMS_WEBHOOK=f"{teams.host}/a-secret-path") as site,
    ):
        await site.user("ana", "admin")
        async with browsing(site.url) as browser:
            await browser.sign_in("ana")
            page = await browser.page(PAGE)
            await expect(page.locator("#alerts")).to_contain_text("Webhook")
            assert "a-secret-path" not in await page.content()
            await page.get_by_role("button", name="Send test alert").click()
            await expect(page.locator("#toasts")).to_contain_text("Teams took the message.")
            assert len(teams.posted) == 1


async def test_rows_stay_where_they_are_while_they_are_pointed_at(browser: Watched, site: Served) -> None:
    first = await run(site, "owners")
    await browser.sign_in("ana")
    page = await browser.page(PAGE)
    await expect(page.locator(f"#run-row-{first}")).to_contain_text("succeeded")
    await page.locator(f"#run-row-{first} td").nth(3).hover()
    second = await run(site, "owners")
    await expect(page.locator("#log")).to_contain_text(f"Run {second} succeeded.")
    await page.locator(f"#run-row-{first} td").nth(4).hover()
    await expect(page.locator("#part-glance")).to_contain_text("none")
    assert await page.locator("#runs tbody tr").count() == 1
    await page.mouse.move(5, 5)
    await expect(page.locator("#runs tbody tr")).to_have_count(2)


async def test_what_upstream_says_is_shown_as_text_and_never_as_part_of_the_page(
    browser: Watched, site: Served, upstream: Upstream
) -> None:
    name = '<img src=x onerror="document.title=1"><hx-partial id="part-glance">'
    upstream.change("owners", patch={upstream.ids("owners")[0]: {"companyName": name}})
    upstream.poison("owners", "nul-in-text", count=1)
    upstream.fault("html", entity="tenants", count=50)
    await settled(site, await run(site, "owners", "tenants", dryRun=True))
    await settled(site, await run(site, "owners", "tenants"))
    await browser.sign_in("ana")
    page = await browser.page(PAGE)
    await page.locator("#letters li a").first.click()
    await expect(page.locator("#drawer")).to_contain_text("Payload")
    await page.keyboard.press("Escape")
    await page.locator("#runs tbody a").first.click()
    await expect(page.locator("#drawer pre").first).to_contain_text("<!doctype html>")
    assert await page.locator("img[src=x]").count() == 0
    assert await page.locator("#part-glance").count() == 1
