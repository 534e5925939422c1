"""The control center, used as an operator uses it: the real page, in a real browser, against an emulated DoorLoop."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.support.browser import Watched, browsing, violations
from tests.support.control_center import PAGE, run
from tests.support.site import Served
from tests.support.upstream import Upstream


async def opened(browser: Watched, name: str = "ana", query: str = "") -> Page:
    """The page, connected to the feed."""
    await browser.sign_in(name)
    page = await browser.page(f"{PAGE}{query}")
    await expect(page.locator("#pulse-words")).to_have_text("live")
    return page


async def ended(site: Served, run_id: int, *results: str) -> dict[str, Any]:
    """A run once it has ended, in one of these ways."""
    while True:
        found = (await site.admin.get(f"/api/admin/sync/runs/{run_id}?events=0")).json()
        if found["finishedAt"]:
            assert not results or found["result"] in results, found
            return dict(found)
        await site.service.views.events(run_id)


def row(page: Page, run_id: int) -> Any:
    return page.locator(f"#run-row-{run_id}")


async def test_a_run_is_started_by_hand_and_the_page_follows_it_to_its_end(
    browser: Watched, site: Served, upstream: Upstream
) -> None:
    page = await opened(browser)
    await page.get_by_text("Backfill", exact=True).click()
    for name in ("properties", "units", "leases", "tenants"):
        await page.locator("#run-form").get_by_role("checkbox", name=name).uncheck()
    await page.locator("#run-form").get_by_role("button", name="Run now").click()
    await expect(page.get_by_role("status")).to_contain_text("Run 1 is queued.")
    await expect(row(page, 1)).to_contain_text("succeeded")
    await expect(row(page, 1)).to_contain_text("owners")
    await expect(page.locator("#log")).to_contain_text("Run 1 succeeded.")
    assert upstream.asked("leases") == 0
    assert await site.sql("SELECT count(*) AS n FROM doorloop.owners") == [{"n": 7}]
    entry = (await site.admin.get("/api/admin/audit?limit=1")).json()[0]
    assert (entry["user"], entry["action"]) == ("ana", "run.start")


async def test_a_run_shows_its_progress_and_is_stopped(browser: Watched, site: Served, upstream: Upstream) -> None:
    upstream.switch(latency_ms=400)
    page = await opened(browser)
    run_id = await run(site)
    await expect(page.locator("#run-active")).to_contain_text("page")
    await expect(page.locator("#run-active progress")).to_be_visible()
    await expect(page.locator("#part-glance")).to_contain_text(f"Run {run_id}")
    await page.locator("#act-stop").click()
    await expect(page.locator("#confirm")).to_contain_text("What it has committed stays")
    await page.locator("#confirm-yes").click()
    await expect(row(page, run_id)).to_contain_text("stopped")
    await expect(page.locator("#run-form")).to_be_visible()


async def test_a_dry_run_shows_what_would_change_with_samples_and_changes_nothing(
    browser: Watched, site: Served, upstream: Upstream
) -> None:
    await ended(site, await run(site, "tenants"), "succeeded")
    upstream.change("tenants", update=3)
    page = await opened(browser)
    await page.get_by_role("switch", name="Dry run").check()
    await page.locator("#run-form").get_by_role("button", name="Run now").click()
    report = page.locator("#dry-report")
    await expect(report).to_contain_text("3 to update")
    await report.locator("summary", has_text="tenants").click()
    await expect(report.get_by_role("region", name="Sample differences of tenants")).to_contain_text("→")
    assert await site.sql("SELECT DISTINCT _run_id FROM doorloop.tenants") == [{"_run_id": 1}]


async def test_backfill_is_off_with_its_reason_where_it_is_not_allowed(
    dsn: str, tmp_path: Path, upstream: Upstream
) -> None:
    from tests.support.control_center import working

    async with working(dsn, tmp_path, upstream, ALLOW_MANUAL_BACKFILL="false") as site:
        await site.user("ana", "admin")
        async with browsing(site.url) as browser:
            page = await opened(browser)
            await expect(page.locator("#run-form input[value=backfill]")).to_be_disabled()
            await expect(page.locator("#run")).to_contain_text("ALLOW_MANUAL_BACKFILL=false")


async def test_a_failed_run_opens_with_message_fix_answer_and_events_and_its_address_can_be_shared(
    browser: Watched, site: Served, upstream: Upstream
) -> None:
    upstream.fault("html", entity="owners", count=50)
    run_id = await run(site, "owners")
    page = await opened(browser)
    await row(page, run_id).locator("td").nth(2).click()
    drawer = page.locator("#drawer")
    await expect(drawer).to_contain_text("A web page came instead of data")
    await expect(drawer).to_contain_text("Check DOORLOOP_BASE_URL")
    await expect(drawer.locator("pre").first).to_contain_text("<!doctype html>")
    await expect(drawer).to_contain_text(f"Run {run_id} started")
    assert f"run={run_id}" in page.url
    await page.keyboard.press("Escape")
    await expect(drawer).not_to_be_visible()
    assert "run=" not in page.url
    shared = await browser.page(f"{PAGE}?run={run_id}")
    await expect(shared.locator("#drawer")).to_contain_text("A web page came instead of data")


async def test_a_live_update_does_not_open_the_drawer_again(browser: Watched, site: Served) -> None:
    run_id = await run(site, "owners")
    page = await opened(browser)
    await expect(row(page, run_id)).to_contain_text("succeeded")
    await row(page, run_id).locator("a").first.click()
    await expect(page.locator("#drawer")).to_be_visible()
    await page.keyboard.press("Escape")
    await page.mouse.move(5, 5)
    again = await run(site, "owners")
    await expect(row(page, again)).to_contain_text("succeeded")
    await expect(page.locator("#drawer")).not_to_be_visible()


async def test_dead_letters_are_looked_at_requeued_and_discarded_with_a_reason(
    browser: Watched, site: Served, upstream: Upstream
) -> None:
    upstream.poison("leases", "nul-in-text", count=3)
    await ended(site, await run(site, "leases"), "succeeded")
    page = await opened(browser)
    letters = page.locator("#letters")
    await expect(letters.locator("li")).to_have_count(3)
    await letters.locator("li a").first.click()
    await expect(page.locator("#drawer")).to_contain_text("NUL character")
    await expect(page.locator("#drawer pre")).to_contain_text("notes")
    await page.keyboard.press("Escape")
    await letters.get_by_role("button", name="Requeue", exact=True).click()
    await expect(page.locator("#toasts")).to_contain_text("Nothing is selected.")
    await letters.locator("li input").first.check()
    await letters.get_by_role("button", name="Requeue", exact=True).click()
    await expect(page.locator("#toasts")).to_contain_text("1 failed")
    await letters.get_by_label("All 3").check()
    await letters.get_by_role("button", name="Discard").click()
    await expect(page.locator("#confirm")).to_contain_text("Discard 3 dead letters?")
    await page.locator("#confirm-yes").click()  # a reason is needed
    await expect(page.locator("#confirm")).to_be_visible()
    await page.get_by_label("Reason").fill("known test records")
    await page.locator("#confirm-yes").click()
    await expect(letters).to_contain_text("No dead letters")
    noted = await site.sql("SELECT DISTINCT state, note FROM keepstep.dead_letters")
    assert noted == [{"state": "discarded", "note": "known test records"}]


async def test_held_deletions_are_approved_with_a_reason(browser: Watched, site: Served, upstream: Upstream) -> None:
    await ended(site, await run(site, "leases"), "succeeded")
    upstream.change("leases", delete=40)
    await ended(site, await run(site, "leases"), "held")
    page = await opened(browser)
    await expect(page.locator("#troubles")).to_contain_text("40 deletions of leases wait for your decision")
    await expect(page).to_have_title("(1) DoorLoop · Keepstep")
    held = page.locator("#held")
    await expect(held).to_contain_text("66.7 %")
    await held.get_by_role("button", name="Approve").click()
    await expect(page.locator("#confirm")).to_contain_text("Mark 40 rows deleted?")
    await page.get_by_label("Reason").fill("cleaned up upstream")
    await page.locator("#confirm-yes").click()
    await expect(page.locator("#toasts")).to_contain_text("40 rows are marked deleted.")
    await expect(held).to_contain_text("Nothing is held")
    await expect(page).to_have_title("DoorLoop · Keepstep")
    assert await site.sql("SELECT count(*) AS n FROM doorloop.leases WHERE _deleted_at IS NOT NULL") == [{"n": 40}]


async def test_the_schedule_is_edited_in_place_and_the_next_five_runs_follow(browser: Watched, site: Served) -> None:
    page = await opened(browser)
    schedule = page.locator("#schedule")
    await expect(schedule).to_contain_text("None: the schedule is off.")
    await schedule.get_by_role("switch", name="Enabled").click()
    await expect(schedule.locator("ol li")).to_have_count(5)
    await schedule.get_by_label("Every, minutes").fill("45")
    soon = (datetime.now(UTC) + timedelta(hours=1)).hour
    await schedule.get_by_label("Nightly full, UTC").select_option(str(soon))
    await schedule.get_by_role("button", name="Save").click()
    await expect(schedule.locator("ol")).to_contain_text("full")
    view = (await site.admin.get("/api/admin/sync/schedule")).json()
    assert (view["enabled"], view["intervalMinutes"], view["fullAtHourUtc"]) == (True, 45, soon)
    await expect(schedule.get_by_role("button", name="Save")).not_to_be_visible()
    await expect(schedule).to_contain_text("by ana")


async def test_ping_says_what_upstream_answers(browser: Watched, site: Served, upstream: Upstream) -> None:
    page = await opened(browser)
    await page.locator("#part-card").get_by_role("button", name="Ping").click()
    await expect(page.locator("#ping")).to_contain_text("Answers")
    upstream.fault("401", count=50)
    await page.locator("header").get_by_role("button", name="Ping").click()
    await expect(page.locator("#ping")).to_contain_text("refuse")
    await expect(page.locator("#troubles")).to_contain_text("DoorLoop: the API key is refused")
    upstream.clear_faults()
    await page.locator("header").get_by_role("button", name="Ping").click()
    await expect(page.locator("#troubles")).not_to_contain_text("refused")


async def test_a_viewer_sees_everything_and_is_told_why_nothing_can_be_pressed(browser: Watched, site: Served) -> None:
    page = await opened(browser, "vic")
    for button in (page.locator("#act-run"), page.locator("#run-form").get_by_role("button", name="Run now")):
        await expect(button).to_have_attribute("aria-disabled", "true")
        await button.click(force=True)
    await expect(page.locator("#toasts")).to_contain_text("Needs the role operator; you are viewer.")
    await expect(page.locator("#schedule").get_by_label("Every, minutes")).to_be_disabled()
    await page.locator("#schedule").get_by_text("Enabled").click(force=True)
    await expect(page.locator("#toasts")).to_contain_text("Needs the role admin; you are viewer.")
    assert await site.sql("SELECT 1 FROM keepstep.runs") == []


@pytest.mark.parametrize("theme", ["dark"])
async def test_the_page_is_accessible_with_everything_on_it(
    browser: Watched, site: Served, upstream: Upstream, theme: str
) -> None:
    await browser.context.add_cookies([{"name": "keepstep_theme", "value": theme, "url": site.url}])
    upstream.poison("leases", "nul-in-text", count=2)
    await ended(site, await run(site, "owners", "leases"), "succeeded")
    upstream.change("leases", delete=40)
    await ended(site, await run(site, "leases"), "held")
    upstream.fault("html", entity="owners", count=50)
    await ended(site, await run(site, "owners"), "failed")
    page = await opened(browser)
    await expect(page.locator("#log > div").first).to_be_visible()
    assert await violations(page) == []
    await page.locator("#errors summary").first.click()
    await page.locator("#runs tbody a").first.click()
    await expect(page.locator("#drawer")).to_be_visible()
    assert await violations(page) == []


async def test_the_whole_way_by_keyboard_alone(browser: Watched, site: Served) -> None:
    page = await opened(browser)
    await page.keyboard.press("?")
    await expect(page.locator("#shortcuts")).to_contain_text("Run now")
    await page.keyboard.press("Escape")
    await expect(page.locator("#shortcuts")).not_to_be_visible()
    await page.keyboard.press("n")
    await expect(row(page, 1)).to_contain_text("succeeded")
    await page.keyboard.press("g")
    await page.keyboard.press("r")
    await expect(page.locator("#runs tbody a").first).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(page.locator("#drawer")).to_contain_text("Run 1 succeeded.")
    await page.keyboard.press("Escape")
    await expect(page.locator("#runs tbody a").first).to_be_focused()
    await page.keyboard.press("p")
    await expect(page.locator("#ping")).to_contain_text("Answers")
    await page.keyboard.press("/")
    await expect(page.locator("#log-run")).to_be_focused()
    await page.keyboard.type("1")
    await expect(page.locator("#log")).to_contain_text("Run 1 started")
    assert "runId=1" in page.url
