"""The pages of the ERP beside an ERP that works: from the first agent to a refused report, and back to a fresh one."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.support.browser import Watched, violations
from tests.support.erp import PER_AGENT, SHARED, Office, at_work, office
from tests.support.site import Served
from tests.support.workers import until

ERP = "/systems/integrations/erp"
AGENT = "007"
IN_TIME = 60_000
"""Milliseconds within which a report that is due has come, also on a machine that does much else."""
TIMES = (
    "SELECT s.sync_type, min(t.due_at) AS due FROM keepstep.schedule_times t"
    " JOIN keepstep.schedules s ON s.id = t.schedule_id WHERE s.sync_type IS NOT NULL GROUP BY 1"
)


@pytest.fixture
async def place(dsn: str, tmp_path: Path) -> AsyncIterator[Office]:
    """Keepstep with workers beside an ERP that makes reports. ana is an admin; nobody is on the list."""
    async with office(dsn, tmp_path) as found, at_work(found):
        await found.site.user("ana", "admin")
        yield found


@pytest.fixture
def site(place: Office) -> Served:
    return place.site


async def opened(browser: Watched, path: str) -> Page:
    await browser.sign_in("ana")
    return await browser.page(path)


async def accessible(browser: Watched, page: Page, ready: str) -> None:
    """Axe finds nothing in light and in dark, once ``ready`` is there."""
    await expect(page.locator(ready).first).to_be_visible()
    assert await violations(page) == [], page.url


async def added(page: Page, code: str = AGENT, name: str = "Niccolò Già") -> None:
    await page.get_by_label("Code", exact=True).fill(code)
    await page.locator("#agent-name").fill(name)
    await page.get_by_role("button", name="Add agent").click()
    await expect(page.locator("#toasts")).to_contain_text(f"The agent {code} is on the list.")


async def reads(page: Page, report: str, state: str) -> None:
    """Until the agent's report is shown so, by itself."""
    link = page.locator(f"#agent-{AGENT}").get_by_role("link", name=f"{report} of {AGENT}: {state}")
    await expect(link).to_be_visible(timeout=IN_TIME)


async def run_now(page: Page, report: str, title: str) -> None:
    await page.locator(f"#type-{report}").get_by_role("button", name="Run now").click()
    await expect(page.locator("#toasts")).to_contain_text(f"{title}: 1 queued")


async def rows(place: Office) -> list[dict[str, Any]]:
    """The agent's customers as they stand on the disk."""
    return await place.rows("customers", AGENT, "id, ctid::text AS place, xmin::text AS written, _deleted_at")


async def test_reports_of_a_new_agent_become_fresh_by_themselves_and_are_asked_for_by_hand(
    browser: Watched, place: Office
) -> None:
    page = await opened(browser, f"{ERP}/agents")
    await added(page)
    await accessible(browser, page, f"#agent-{AGENT}")
    await page.goto(browser.url + ERP)
    for report in PER_AGENT:
        await reads(page, "DDT" if report == "ddt" else report.capitalize(), "fresh")
    for report in SHARED:
        shared = page.locator("#freshness dl").get_by_role("link", name=f"{report.capitalize()}: fresh")
        await expect(shared).to_be_visible(timeout=IN_TIME)
    await until(lambda: place.all_in_step([AGENT]))
    await place.idle()
    await accessible(browser, page, f"#agent-{AGENT}")

    before = {row["sync_type"]: row["due"] for row in await place.site.sql(TIMES)}
    row = page.locator("#type-orders")
    await row.get_by_role("spinbutton").fill("25")
    await row.get_by_role("button", name="Save").click()
    await expect(page.locator("#toasts")).to_contain_text("Orders: every 25 minutes.")
    after = {row["sync_type"]: row["due"] for row in await place.site.sql(TIMES)}
    assert {name for name in before if after[name] != before[name]} == {"orders"}
    assert (await place.site.admin.get("/api/sync/intervals")).json()["intervals"]["orders"] == 25

    place.emulator.change("orders", agent=AGENT, create=2, update=1, delete=1)
    await run_now(page, "orders", "Orders")
    await until(lambda: place.in_step("orders", AGENT))
    await place.idle()
    await reads(page, "Orders", "fresh")


@pytest.mark.parametrize(
    ("fault", "reason", "proof", "changed"),
    [
        ({"kind": "wrong-total"}, "is printed", "Every printed total is the sum of the rows.", True),
        ({"kind": "bad-cell"}, "is not a number", "Every line has a place, every cell is of its type.", False),
        ({"kind": "truncate", "variant": "body", "keep": 0.6}, "is not whole", "came whole", False),
    ],
    ids=["a total, then other rows", "a cell, then the same rows", "cut off, then the same rows"],
)
async def test_a_refused_report_is_shown_with_its_reason_and_is_over_once_a_good_one_comes(
    browser: Watched, place: Office, fault: dict[str, Any], reason: str, proof: str, changed: bool
) -> None:
    await place.add(AGENT)
    await until(lambda: place.all_in_step([AGENT]))
    await place.idle()
    untouched = await rows(place)
    page = await opened(browser, ERP)
    await reads(page, "Customers", "fresh")

    place.emulator.fault(report="customers", agent=AGENT, **fault)
    await run_now(page, "customers", "Customers")
    await reads(page, "Customers", "retrying")
    assert await rows(place) == untouched
    await expect(page.get_by_role("link", name="Suspicious")).to_contain_text("1 refused")
    await page.locator("#suspicious").get_by_role("link", name="Look at it").click()
    await expect(page.locator("#document")).to_contain_text(reason)
    await expect(page.locator("#proofs li", has_text=proof)).to_contain_text("Does not hold")
    ready = "#picture-place .card-body"
    if fault["kind"] == "truncate":
        await expect(page.locator("#picture-place")).to_contain_text("There is no picture")
        ready = "#picture-place .empty"
    else:
        image = page.locator("#picture img").last
        await image.evaluate("(image) => image.decode()")
        assert await image.evaluate("(image) => image.naturalWidth") > 1000
    await accessible(browser, page, ready)

    if changed:
        place.emulator.change("customers", agent=AGENT, create=1, update=2)
    await page.goto(browser.url + ERP)
    await run_now(page, "customers", "Customers")
    await reads(page, "Customers", "fresh")
    await until(lambda: place.in_step("customers", AGENT))
    await expect(page.get_by_role("link", name="Suspicious")).to_contain_text("0 refused")
    await expect(page.locator("#suspicious li")).to_contain_text("good since")


async def test_an_agent_whose_code_has_a_slash_is_changed_and_removed_on_the_page(
    browser: Watched, place: Office
) -> None:
    page = await opened(browser, f"{ERP}/agents")
    for code in ("A/7", "50%?#"):
        await added(page, code, "")
        await page.get_by_label(f"Name of {code}").fill("Perla Forlì")
        row = page.locator("#agents tbody tr").filter(has_text=code)
        await row.get_by_role("button", name="Save").click()
        await expect(page.locator("#toasts")).to_contain_text(f"The name of {code} is changed.")
        await page.get_by_role("switch", name=f"Read {code}").click()
        await expect(row).to_contain_text("4 off")
        await row.get_by_role("link").click()
        await expect(page.locator("#freshness tbody tr")).to_have_count(1)
        await page.go_back()
        await page.get_by_role("button", name=f"Remove {code}").click()
        await page.locator("#confirm-yes").click()
        await expect(page.locator("#toasts")).to_contain_text(f"The agent {code} is removed.")
    await expect(page.locator("#agents")).to_contain_text("No agent yet")
