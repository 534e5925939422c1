"""The pages that list: runs, dead letters, what people did. The address holds what is chosen."""

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.async_api import Page, expect

from tests.support.browser import Watched, violations
from tests.support.control_center import PAGE, run, settled
from tests.support.site import Served
from tests.support.upstream import Upstream

DLQ = f"{PAGE}/dlq"


def chosen(page: Page) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(page.url).query).items()}


async def poisoned(site: Served, upstream: Upstream) -> None:
    """Three dead letters of leases and two of tenants, of two kinds."""
    upstream.poison("leases", "nul-in-text", count=3)
    upstream.poison("tenants", "missing-id", count=1)
    upstream.poison("tenants", "nul-in-text", count=1)
    await settled(site, await run(site, "leases", "tenants"))


async def opened(browser: Watched, path: str, name: str = "otto") -> Page:
    await browser.sign_in(name)
    return await browser.page(path)


async def test_runs_are_filtered_in_place_and_the_address_can_be_shared(
    browser: Watched, site: Served, upstream: Upstream
) -> None:
    await settled(site, await run(site, "owners"))
    upstream.fault("html", entity="leases", count=50)
    await settled(site, await run(site, "leases"))
    page = await opened(browser, f"{PAGE}/runs", "vic")
    rows = page.locator("#runs tbody tr")
    await expect(rows).to_have_count(2)
    await page.get_by_label("Result").select_option("failed")
    await expect(rows).to_have_count(1)
    await expect(rows).to_contain_text("A web page came instead of data")
    assert chosen(page) == {"result": "failed"}
    await page.reload()
    await expect(rows).to_have_count(1)
    await page.get_by_label("Entity").select_option("owners")
    await expect(page.locator("#runs")).to_contain_text("No run matches")
    await page.get_by_role("link", name="Show all runs").click()
    await expect(rows).to_have_count(2)
    await rows.first.locator("td").nth(2).click()
    await expect(page.locator("#drawer")).to_contain_text("Check DOORLOOP_BASE_URL")
    await page.get_by_role("link", name="Open as a page").click()
    await page.wait_for_url(f"**{PAGE}/runs/2")


async def test_runs_are_paged_by_the_server(browser: Watched, site: Served) -> None:
    await settled(site, await run(site, "owners"))
    await site.sql(
        "INSERT INTO keepstep.runs (connection_id, mode, dry_run, trigger, actor, entities, state, started_at,"
        " finished_at) SELECT connection_id, mode, dry_run, trigger, actor, entities, state, started_at, finished_at"
        " FROM keepstep.runs, generate_series(2, 120)"
    )
    page = await opened(browser, f"{PAGE}/runs", "vic")
    seen: list[str] = []
    for expected in (50, 50, 20):
        await expect(page.locator("#runs tbody tr")).to_have_count(expected)
        seen += await page.locator("#runs tbody tr td:first-child").all_inner_texts()
        if expected == 50:
            await page.get_by_role("link", name="Older").click()
    assert seen == [str(number) for number in range(120, 0, -1)]
    await page.get_by_role("link", name="Newest").click()
    await expect(page.locator("#runs tbody tr").first).to_contain_text("120")


async def test_dead_letters_are_filtered_by_entity_reason_and_state(
    browser: Watched, site: Served, upstream: Upstream
) -> None:
    await poisoned(site, upstream)
    page = await opened(browser, DLQ)
    rows = page.locator("#letters tbody tr")
    await expect(rows).to_have_count(5)
    await page.get_by_label("Entity", exact=True).select_option("tenants")
    await expect(rows).to_have_count(2)
    await page.locator("#filter-kind").select_option("no-id")
    await expect(rows).to_have_count(1)
    await expect(rows).to_contain_text("(no id)")
    assert chosen(page) == {"state": "open", "entity": "tenants", "kind": "no-id"}
    await page.get_by_label("State", exact=True).select_option("discarded")
    await expect(page.locator("#letters")).to_contain_text("No dead letter matches")
    await page.get_by_role("link", name="Show all that are open").click()
    await expect(rows).to_have_count(5)


async def test_a_payload_is_shown_as_text_in_the_drawer_and_the_address_leads_there(
    browser: Watched, site: Served, upstream: Upstream
) -> None:
    upstream.inject("owners", b'{"id": 5, "name": "<img src=x onerror=alert(1)>"}')
    await settled(site, await run(site, "owners"))
    page = await opened(browser, DLQ)
    await page.locator("#letters tbody tr").first.locator("td").nth(3).click()
    await expect(page.locator("#drawer pre")).to_contain_text('"name": "<img src=x onerror=alert(1)>"')
    assert await page.locator("#drawer img").count() == 0
    await expect(page).to_have_url(re.compile(r"[?&]id=1"))
    address = page.url
    await page.keyboard.press("Escape")
    await expect(page).to_have_url(re.compile(r"dlq$"))
    await page.goto(address)
    await expect(page.locator("#drawer pre")).to_be_visible()


async def test_one_dead_letter_is_requeued_or_discarded_from_its_row_and_from_the_drawer(
    browser: Watched, site: Served, upstream: Upstream
) -> None:
    await poisoned(site, upstream)
    page = await opened(browser, f"{DLQ}?entity=leases")
    rows = page.locator("#letters tbody tr")
    await rows.first.get_by_role("button", name="Requeue").click()
    await expect(page.locator("#toasts")).to_contain_text("1 failed")
    await rows.first.get_by_role("button", name="Discard").click()
    await page.locator("#confirm-reason").fill("a test record")
    await page.locator("#confirm-yes").click()
    await expect(rows).to_have_count(2)
    await rows.first.locator("a").first.click()
    await page.locator("#drawer").get_by_role("button", name="Discard").click()
    await page.locator("#confirm-reason").fill("this too")
    await page.locator("#confirm-yes").click()
    await expect(rows).to_have_count(1)
    await expect(page.locator("#drawer")).not_to_be_visible()
    notes = await site.sql("SELECT note FROM keepstep.dead_letters WHERE state = 'discarded' ORDER BY id DESC")
    assert [row["note"] for row in notes] == ["a test record", "this too"]


async def test_those_that_are_ticked_are_requeued_and_discarded(
    browser: Watched, site: Served, upstream: Upstream
) -> None:
    await poisoned(site, upstream)
    upstream.cure("leases")
    page = await opened(browser, DLQ)
    rows = page.locator("#letters tbody tr")
    await page.locator("#requeue-selected").click()
    await expect(page.locator("#toasts")).to_contain_text("Nothing is selected.")
    await rows.nth(0).get_by_role("checkbox").check()
    await rows.nth(1).get_by_role("checkbox").check()
    await page.locator("#discard-selected").click()
    await expect(page.locator("#confirm")).to_contain_text("Discard 2 dead letters?")
    await page.locator("#confirm-reason").fill("old")
    await page.locator("#confirm-yes").click()
    await expect(rows).to_have_count(3)
    await page.get_by_label("All on this page").check()
    await page.locator("#requeue-selected").click()
    await expect(page.locator("#toasts")).to_contain_text("3 failed")
    await expect(page.locator("#letters input:checked")).to_have_count(0)


async def test_all_that_match_are_decided_with_their_number_and_a_reason(
    browser: Watched, site: Served, upstream: Upstream
) -> None:
    await poisoned(site, upstream)
    page = await opened(browser, f"{DLQ}?entity=leases")
    await page.get_by_role("button", name="Requeue all 3").click()
    await expect(page.locator("#confirm")).to_contain_text("Requeue 3 dead letters of leases?")
    await page.locator("#confirm-reason").fill("mended upstream")
    await page.locator("#confirm-yes").click()
    await expect(page.locator("#toasts")).to_contain_text("3 failed")
    await page.get_by_role("button", name="Discard all 3").click()
    await expect(page.locator("#confirm")).to_contain_text("Discard 3 dead letters of leases?")
    await page.locator("#confirm-yes").click()
    await expect(page.locator("#confirm")).to_be_visible()  # a reason is needed
    await page.locator("#confirm-reason").fill("cannot be mended")
    await page.locator("#confirm-yes").click()
    await expect(page.locator("#letters")).to_contain_text("No dead letter matches")
    left = await site.sql("SELECT entity, state, count(*) AS n FROM keepstep.dead_letters GROUP BY 1, 2 ORDER BY 1, 2")
    assert left == [{"entity": "leases", "state": "discarded", "n": 3}, {"entity": "tenants", "state": "open", "n": 2}]
    entries = (await site.admin.get("/api/admin/audit?user=otto&action=dlq")).json()
    assert [(one["action"], one["payload"]["reason"]) for one in entries] == [
        ("dlq.discard", "cannot be mended"), ("dlq.requeue", "mended upstream"),
    ]  # fmt: skip


async def test_what_came_after_somebody_looked_is_not_decided_with_the_rest(
    browser: Watched, site: Served, upstream: Upstream
) -> None:
    await poisoned(site, upstream)
    page = await opened(browser, DLQ)
    await page.get_by_role("button", name="Discard all 5").click()
    await site.sql(
        "INSERT INTO keepstep.dead_letters (connection_id, entity, record_key, kind, reason, payload, payload_hash,"
        " run_id) SELECT connection_id, entity, 'late', kind, reason, payload, payload_hash, run_id FROM"
        " keepstep.dead_letters LIMIT 1"
    )
    await page.locator("#confirm-reason").fill("all of these")
    await page.locator("#confirm-yes").click()
    await expect(page.locator("#letters tbody tr")).to_have_count(1)
    await expect(page.locator("#letters")).to_contain_text("late")


async def test_dead_letters_are_paged_by_the_server_and_only_the_newest_thousand_are_tried_at_once(
    browser: Watched, site: Served, upstream: Upstream
) -> None:
    await poisoned(site, upstream)
    await site.sql(
        "INSERT INTO keepstep.dead_letters (connection_id, entity, record_key, kind, reason, payload, payload_hash,"
        " run_id) SELECT connection_id, entity, 'key ' || n, kind, reason, payload, payload_hash, run_id FROM"
        " (SELECT * FROM keepstep.dead_letters LIMIT 1) one, generate_series(1, 1100) n"
    )
    page = await opened(browser, DLQ)
    await expect(page.locator("#letters")).to_contain_text("50 of 1,105 that match, the newest")
    await expect(page.get_by_role("button", name="Discard the newest 1,000")).to_be_visible()
    first = await page.locator("#letters tbody tr").last.get_attribute("id")
    await page.get_by_role("link", name="Older").click()
    await expect(page.locator("#letters tbody tr")).to_have_count(50)
    assert await page.locator("#letters tbody tr").first.get_attribute("id") != first
    await expect(page.locator("#discard-all")).to_have_count(0)


async def test_a_ticked_row_stays_ticked_while_the_page_looks_again(
    browser: Watched, site: Served, upstream: Upstream
) -> None:
    await poisoned(site, upstream)
    page = await opened(browser, DLQ)
    await page.locator("#letters tbody tr").first.get_by_role("checkbox").check()
    await page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")
    other = await browser.page(DLQ)
    await other.locator("#letters tbody tr").last.get_by_role("button", name="Requeue").click()
    await expect(other.locator("#toasts")).to_contain_text("1 failed")
    assert await page.locator("#letters input:checked").count() == 1


async def test_what_people_did_is_filtered_by_who_and_what(browser: Watched, site: Served) -> None:
    async with site.signed_in("ana") as ana:
        await ana.put("/api/admin/sync/schedule", json={"intervalMinutes": 45})
        await ana.post("/api/admin/tokens", json={"name": "report", "role": "viewer"})
    page = await opened(browser, f"{PAGE}/audit", "vic")
    rows = page.locator("#audit tbody tr")
    await expect(rows.filter(has_text="schedule.set")).to_contain_text("intervalMinutes")
    await page.get_by_label("What", exact=True).select_option("token")
    await expect(rows).to_have_count(1)
    await page.get_by_label("Who", exact=True).select_option("ana")
    assert chosen(page) == {"user": "ana", "action": "token"}
    await page.get_by_role("link", name="Clear").click()
    await rows.filter(has_text="schedule.set").get_by_role("link", name="ana").click()
    await page.wait_for_url("**/audit?user=ana")
    await expect(rows.first).to_contain_text("ana")
    assert await rows.filter(has_text="vic").count() == 0


async def test_a_viewer_sees_dead_letters_and_why_they_are_not_theirs_to_decide(
    browser: Watched, site: Served, upstream: Upstream
) -> None:
    await poisoned(site, upstream)
    page = await opened(browser, DLQ, "vic")
    for button in ("#requeue-all", "#discard-all", "#requeue-selected", "#discard-selected"):
        await expect(page.locator(button)).to_have_attribute("aria-disabled", "true")
    await page.locator("#discard-all").click(force=True)
    await expect(page.locator("#toasts")).to_contain_text("Needs the role operator; you are viewer.")
    assert await site.sql("SELECT 1 FROM keepstep.dead_letters WHERE state <> 'open'") == []


async def test_dead_letters_are_decided_by_keyboard_alone(browser: Watched, site: Served, upstream: Upstream) -> None:
    await poisoned(site, upstream)
    page = await opened(browser, PAGE)

    async def press_to(name: str) -> None:
        """Tab until this has the focus."""
        for _ in range(80):
            await page.keyboard.press("Tab")
            focused = "(e => e.id || e.getAttribute('aria-label') || e.textContent.trim())(document.activeElement)"
            if await page.evaluate(focused) == name:
                return
        raise AssertionError(f"Tab does not lead to {name}")

    await press_to("otto: menu")
    await page.keyboard.press("Enter")
    await press_to("Dead letters")
    await page.keyboard.press("Enter")
    await page.wait_for_url(f"**{DLQ}")
    await page.keyboard.press("2")  # each page has a number
    await page.wait_for_url(f"**{PAGE}/runs")
    await page.keyboard.press("3")
    await page.wait_for_url(f"**{DLQ}")
    await press_to("filter-entity")
    await page.keyboard.type("leases")
    await expect(page.locator("#letters tbody tr")).to_have_count(3)
    await press_to("discard-all")
    await page.keyboard.press("Enter")
    await page.keyboard.type("by keyboard")
    await press_to("confirm-yes")
    await page.keyboard.press("Enter")
    await expect(page.locator("#letters")).to_contain_text("No dead letter matches")


@pytest.mark.parametrize("theme", ["dark"])
async def test_the_lists_are_accessible_full_and_empty(
    browser: Watched, site: Served, upstream: Upstream, theme: str
) -> None:
    await browser.context.add_cookies([{"name": "keepstep_theme", "value": theme, "url": site.url}])
    await browser.sign_in("vic")
    for path in (f"{PAGE}/runs", DLQ):
        assert await violations(await browser.page(path)) == [], f"{path}, empty"
    await poisoned(site, upstream)
    upstream.fault("html", entity="leases", count=50)
    await settled(site, await run(site, "leases"))
    for path in (f"{PAGE}/runs", DLQ, f"{DLQ}?state=all", f"{DLQ}?entity=units", f"{PAGE}/audit"):
        assert await violations(await browser.page(path)) == [], path
