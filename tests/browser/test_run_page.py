"""The page of one run, while it goes on and afterwards."""

import pytest
from playwright.async_api import expect

from tests.support.browser import Watched, violations
from tests.support.control_center import PAGE, run, settled
from tests.support.site import Served
from tests.support.upstream import Upstream


async def test_a_run_is_followed_from_its_first_page_to_its_end_without_a_reload(
    browser: Watched, site: Served, upstream: Upstream
) -> None:
    upstream.fault("hang", entity="leases", page=2)
    run_id = await run(site, "owners", "leases")
    await browser.sign_in("otto")
    page = await browser.page(f"{PAGE}/runs/{run_id}")
    await expect(page.locator("#pulse-words")).to_have_text("live")
    await expect(page.locator("#track-owners")).to_contain_text("7 rows")
    await expect(page.locator("#track-leases tr[id^=step-]")).to_have_count(1)
    await expect(page.locator("progress")).to_be_visible()
    upstream.release()
    await expect(page.get_by_label("The run", exact=True)).to_contain_text("succeeded")
    await expect(page.locator("#events")).to_contain_text(f"Run {run_id} succeeded.")
    await expect(page.locator("#track-leases svg rect").first).to_be_attached()
    await expect(page.locator("#pulse")).to_have_count(0)
    await expect(page.get_by_role("button", name="Stop")).to_have_count(0)


async def test_a_live_run_is_stopped_from_its_page(browser: Watched, site: Served, upstream: Upstream) -> None:
    upstream.fault("hang", entity="owners")
    run_id = await run(site)
    await browser.sign_in("otto")
    page = await browser.page(f"{PAGE}/runs/{run_id}")
    await page.get_by_role("button", name="Stop").click()
    await expect(page.locator("#confirm")).to_contain_text(f"Stop run {run_id}?")
    await page.locator("#confirm-yes").click()
    await expect(page.get_by_label("The run", exact=True)).to_contain_text("stopped")
    upstream.release()
    assert (await settled(site, run_id))["result"] == "stopped"


async def test_retries_pauses_and_dead_letters_are_seen_with_the_pages_they_belong_to(
    browser: Watched, site: Served, upstream: Upstream
) -> None:
    upstream.poison("tenants", "nul-in-text", count=2)
    upstream.fault("503", entity="tenants", count=1)
    upstream.fault("429", entity="leases", after=1, count=1, retry_after=1800)
    run_id = await run(site, "tenants", "leases")
    assert (await settled(site, run_id))["result"] == "waiting"
    await browser.sign_in("vic")
    page = await browser.page(f"{PAGE}/runs/{run_id}")
    tenants, leases = page.locator("#track-tenants"), page.locator("#track-leases")
    await expect(tenants.get_by_role("link", name="2 dead letters")).to_be_visible()
    await expect(tenants.get_by_text("+1", exact=True)).to_be_visible()
    await expect(leases).to_contain_text("It goes on in 29:")
    await expect(page.get_by_label("The run", exact=True)).to_contain_text("It goes on in 29:")
    await tenants.get_by_role("link", name="2 dead letters").click()
    await expect(page.locator("#letters tbody tr")).to_have_count(2)


async def test_a_failed_run_says_what_to_do_and_shows_the_answer_as_text(
    browser: Watched, site: Served, upstream: Upstream
) -> None:
    upstream.fault("html", entity="owners", count=50)
    run_id = await run(site, "owners", "tenants")
    await settled(site, run_id)
    await browser.sign_in("vic")
    page = await browser.page(f"{PAGE}/runs/{run_id}")
    failed = page.get_by_label("What failed: owners")
    await expect(failed).to_contain_text("A web page came instead of data")
    await expect(failed).to_contain_text("Check DOORLOOP_BASE_URL")
    await expect(failed.locator("pre")).to_contain_text("<!doctype html>")
    assert await page.locator("main script, main noscript").count() == 0
    await expect(page.locator("#events")).to_contain_text("Run 1 failed.")


async def test_a_dry_run_shows_its_report_with_sample_differences(
    browser: Watched, site: Served, upstream: Upstream
) -> None:
    await settled(site, await run(site, "tenants"))
    upstream.change("tenants", update=3)
    run_id = await run(site, "tenants", dryRun=True)
    await settled(site, run_id)
    await browser.sign_in("vic")
    page = await browser.page(f"{PAGE}/runs/{run_id}")
    report = page.locator("#report")
    await expect(report).to_contain_text("3 to update")
    await expect(report.get_by_role("region", name="Sample differences of tenants").locator("tbody tr")).to_have_count(
        3
    )


@pytest.mark.parametrize(("button", "rows", "words"), [("Approve", 40, "approved"), ("Discard", 0, "discarded")])
async def test_held_deletions_are_decided_on_the_page_of_their_run(
    browser: Watched, site: Served, upstream: Upstream, button: str, rows: int, words: str
) -> None:
    await settled(site, await run(site, "leases"))
    upstream.change("leases", delete=40)
    run_id = await run(site, "leases")
    await settled(site, run_id)
    await browser.sign_in("otto")
    page = await browser.page(f"{PAGE}/runs/{run_id}")
    held = page.locator("#held")
    await expect(held).to_contain_text("40 of 60 leases are gone upstream (66.7 %)")
    await held.get_by_role("button", name=button).click()
    await expect(page.locator("#confirm")).to_contain_text("40 rows")
    await page.get_by_label("Reason").fill("as agreed with Vale")
    await page.locator("#confirm-yes").click()
    await expect(held).to_contain_text(words)
    await expect(held).to_contain_text("by otto: as agreed with Vale")
    await expect(page.get_by_label("The run", exact=True)).to_contain_text("succeeded")
    found = await site.sql("SELECT count(*) AS n FROM doorloop.leases WHERE _deleted_at IS NOT NULL")
    assert found == [{"n": rows}]


async def test_a_long_run_is_paged_back_to_its_beginning(browser: Watched, site: Served, upstream: Upstream) -> None:
    run_id = await run(site, "owners")
    await settled(site, run_id)
    await site.sql(
        "INSERT INTO keepstep.events (connection_id, run_id, type, level, msg) SELECT connection_id, id, 'look-again',"
        " 'info', 'line ' || n FROM keepstep.runs, generate_series(1, 600) n"
    )
    await browser.sign_in("vic")
    page = await browser.page(f"{PAGE}/runs/{run_id}")
    await expect(page.locator("#events .log-line")).to_have_count(500)
    await expect(page.locator("#events .log-line").last).to_contain_text("line 600")
    await expect(page.locator("#track-owners")).to_contain_text("Its pages are further back.")
    await page.get_by_role("link", name="Older events").click()
    await expect(page.locator("#events")).to_contain_text(f"Run {run_id} started")
    await expect(page.locator("#track-owners tr[id^=step-]")).to_have_count(1)
    await page.get_by_role("link", name="Newest").click()
    await expect(page.locator("#events .log-line").last).to_contain_text("line 600")


async def test_a_viewer_is_told_why_held_deletions_are_not_theirs_to_decide(
    browser: Watched, site: Served, upstream: Upstream
) -> None:
    await settled(site, await run(site, "leases"))
    upstream.change("leases", delete=40)
    run_id = await run(site, "leases")
    await settled(site, run_id)
    await browser.sign_in("vic")
    page = await browser.page(f"{PAGE}/runs/{run_id}")
    approve = page.locator("#held").get_by_role("button", name="Approve")
    await expect(approve).to_have_attribute("aria-disabled", "true")
    await approve.click(force=True)
    await expect(page.locator("#toasts")).to_contain_text("Needs the role operator; you are viewer.")


async def test_a_run_that_does_not_exist_is_said(browser: Watched) -> None:
    browser.expected.append("404")
    await browser.sign_in("vic")
    page = await browser.page(f"{PAGE}/runs/999")
    await expect(page.get_by_role("heading", level=1)).to_have_text("There is no run 999.")


@pytest.mark.parametrize("theme", ["dark"])
async def test_the_page_of_a_run_is_accessible_whatever_became_of_it(
    browser: Watched, site: Served, upstream: Upstream, theme: str
) -> None:
    await browser.context.add_cookies([{"name": "keepstep_theme", "value": theme, "url": site.url}])
    upstream.poison("tenants", "nul-in-text", count=2)
    await settled(site, await run(site, "leases", "tenants"))
    upstream.change("leases", delete=40)
    await settled(site, await run(site, "leases"))
    upstream.fault("html", entity="owners", count=50)
    await settled(site, await run(site, "owners"))
    await settled(site, await run(site, "tenants", dryRun=True))
    upstream.fault("429", entity="units", after=1, count=1, retry_after=1800)
    last = await run(site, "units")
    await settled(site, last)
    await browser.sign_in("otto")
    for run_id in range(1, last + 1):
        page = await browser.page(f"{PAGE}/runs/{run_id}")
        assert await violations(page) == [], run_id
        await page.close()
