"""The pages of the ERP as people meet them: sync types, how fresh each report is, refused reports, agents."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from keepstep.model.errors import NotData, Transient
from tests.support import reports
from tests.support.browser import Watched, violations
from tests.support.site import Served, served

ERP = "/systems/integrations/erp"
SUMS = "Saldo adds up to 1,00, but 2,00 is printed"
WRONG = NotData.named("report-total", facts={"path": "customers", "detail": SUMS})
AWAY = Transient.named("upstream-failed", facts={"title": "The ERP", "status": 503})
THEMES = pytest.mark.parametrize("theme", ["dark"])


@pytest.fixture
async def site(dsn: str, tmp_path: Path) -> AsyncIterator[Served]:
    """Keepstep without workers: what is queued stays so. ana is an admin, otto an operator, vic a viewer."""
    async with served(dsn, tmp_path) as site:
        for name, role in (("ana", "admin"), ("otto", "operator"), ("vic", "viewer")):
            await site.user(name, role)
        yield site


async def agents(site: Served, count: int = 3, *, rounds: int = 3) -> None:
    """So many agents, 001 and on, whose reports are fresh."""
    async with site.connection() as connection:
        await reports.agents(connection, [f"{n:03d}" for n in range(1, count + 1)], rounds=rounds)


async def fails(site: Served, agent: str, report: str, error: Exception, times: int = 1) -> int:
    async with site.connection() as connection:
        return await reports.ended(connection, agent, report, error, times=times)


async def kept(site: Served, flaw: str = "bad-cell", *, report: str = "customers", agent: str = "001") -> str:
    """The address of a kept report."""
    one = reports.document(report, agent, flaw=flaw)
    return f"{ERP}/documents/{await site.service.documents.keep('erp', one)}"


async def opened(browser: Watched, path: str, name: str = "ana", theme: str = "light") -> Page:
    await browser.context.add_cookies([{"name": "keepstep_theme", "value": theme, "url": browser.url}])
    await browser.sign_in(name)
    return await browser.page(path)


async def minutes(site: Served) -> dict[str, int]:
    answer = (await site.admin.get("/api/sync/intervals")).json()
    return dict(answer["intervals"])


async def test_an_interval_is_edited_in_place_and_only_its_own_type_changes(browser: Watched, site: Served) -> None:
    await agents(site)
    before = await minutes(site)
    page = await opened(browser, ERP)
    row = page.locator("#type-orders")
    every = row.get_by_role("spinbutton")
    await expect(every).to_have_value("10")
    await expect(row.get_by_role("button", name="Save")).to_be_hidden()
    await every.fill("25")
    await row.get_by_role("button", name="Save").click()
    await expect(page.locator("#toasts")).to_contain_text("Orders: every 25 minutes.")
    await expect(row.get_by_role("button", name="Save")).to_be_hidden()
    await page.reload()
    await expect(every).to_have_value("25")
    assert await minutes(site) == {**before, "orders": 25}


async def test_an_interval_out_of_bounds_is_not_sent_and_undo_brings_the_old_one_back(
    browser: Watched, site: Served
) -> None:
    before = await minutes(site)
    page = await opened(browser, ERP)
    row = page.locator("#type-prices")
    every = row.get_by_role("spinbutton")
    for wrong in ("4", "1441", ""):
        await every.fill(wrong)
        await row.get_by_role("button", name="Save").click()
        assert not await every.evaluate("(input) => input.checkValidity()")
    await row.get_by_role("button", name="Undo").click()
    await expect(every).to_have_value("60")
    await expect(row.get_by_role("button", name="Save")).to_be_hidden()
    assert await minutes(site) == before


async def test_live_updates_leave_alone_what_is_not_saved_yet(browser: Watched, site: Served) -> None:
    await agents(site)
    page = await opened(browser, ERP)
    every = page.locator("#every-orders")
    await every.fill("33")
    await page.locator("#filter-state").select_option("failing")  # asks for the page anew
    await expect(page.locator("#freshness")).to_contain_text("Nobody matches")
    await expect(every).to_have_value("33")
    await page.locator("#type-orders").get_by_role("button", name="Save").click()
    await expect(page.locator("#toasts")).to_contain_text("every 33 minutes")


async def test_a_type_is_turned_off_and_on(browser: Watched, site: Served) -> None:
    await agents(site)
    page = await opened(browser, ERP)
    row = page.locator("#type-invoices")
    await row.get_by_role("switch").click()
    await expect(row.locator(".type-fresh")).to_contain_text("3 off")
    await expect(row.locator(".type-next")).to_contain_text("off")
    types = (await site.admin.get("/api/sync/intervals")).json()["types"]
    assert [name for name, one in types.items() if not one["enabled"]] == ["invoices"]
    await row.get_by_role("switch").click()
    await expect(row.locator(".type-fresh")).to_contain_text("3 fresh")


async def test_the_matrix_shows_the_worst_first_and_is_searched_and_paged_by_the_server(
    browser: Watched, site: Served
) -> None:
    await agents(site, 60)
    last = await fails(site, "042", "customers", WRONG, times=3)
    await fails(site, "017", "orders", AWAY)
    async with site.connection() as connection:
        await reports.held(connection, "050", "invoices", live_rows=200, delete_rows=130)
    page = await opened(browser, ERP)
    rows = page.locator("#freshness tbody tr")
    await expect(rows).to_have_count(25)
    codes = [text.split()[0] for text in await rows.locator("th").all_inner_texts()]
    assert codes[:3] == ["050", "042", "017"]
    await expect(rows.nth(1)).to_contain_text("failing")
    await expect(rows.nth(1)).to_contain_text("×3")
    await expect(rows.nth(2)).to_contain_text("retrying")
    await expect(page.locator("#freshness")).to_contain_text("1 to 25 of 60")
    await page.get_by_role("link", name="Next").click()
    await expect(page.locator("#freshness")).to_contain_text("26 to 50 of 60")
    await page.get_by_label("Search").fill("042")
    await expect(rows).to_have_count(1)
    assert "after" not in page.url
    await page.get_by_label("Search").fill("")
    await page.get_by_label("Reports that are").select_option("failing")
    await expect(rows).to_have_count(2)
    assert "state=failing" in page.url
    await page.locator(f"a[href='/systems/integrations/runs/{last}']").first.click()
    await page.wait_for_url(f"**/runs/{last}")
    await expect(page.locator("h1")).to_contain_text(str(last))


async def test_one_fault_that_hits_many_is_told_once_with_what_to_do(browser: Watched, site: Served) -> None:
    await agents(site, 12)
    for n in range(1, 11):
        await fails(site, f"{n:03d}", "orders", AWAY, times=3)
    page = await opened(browser, ERP)
    failures = page.locator("#failures li")
    await expect(failures).to_have_count(1)
    await expect(failures).to_contain_text("10 reports")
    await expect(failures).to_contain_text("Upstream fails on its side (5xx)")
    await expect(failures).to_contain_text("and 2 more")
    await failures.get_by_role("link").first.click()
    await expect(page.locator("#drawer-title")).to_contain_text("Orders of")


async def test_a_cell_opens_what_is_known_of_it_by_keyboard_and_closes_again(browser: Watched, site: Served) -> None:
    await agents(site)
    await fails(site, "002", "customers", WRONG, times=3)
    await kept(site, agent="002")
    page = await opened(browser, ERP)
    await page.keyboard.press("/")
    await expect(page.get_by_label("Search")).to_be_focused()
    cell = page.locator("#agent-002").get_by_role("link", name="Customers of 002: failing")
    await cell.focus()
    await page.keyboard.press("Enter")
    drawer = page.locator("#drawer")
    await expect(drawer).to_contain_text(SUMS)
    await expect(drawer).to_contain_text("Look at the kept document.")
    await expect(drawer).to_contain_text("3 runs in a row failed")
    await expect(drawer.locator("table tbody tr")).to_have_count(6)
    await expect(drawer.get_by_role("link", name="Document 1")).to_be_visible()
    await page.keyboard.press("Escape")
    await expect(drawer).to_be_hidden()
    await expect(cell).to_be_focused()


async def test_what_is_queued_and_runs_is_counted(browser: Watched, site: Served) -> None:
    await agents(site)
    async with site.connection() as connection:
        await reports.live(connection, "001", "orders", "running")
        await reports.live(connection, "002", "orders", "queued")
        await reports.live(connection, "003", "ddt", "queued")
    page = await opened(browser, ERP)
    await expect(page.get_by_role("link", name="In the queue")).to_contain_text("2")
    await expect(page.get_by_role("link", name="Running")).to_contain_text("1")
    await expect(page.locator("#type-orders .type-next")).to_contain_text("1 running, 1 queued")
    await expect(page.locator("#agent-001").get_by_role("img", name="running")).to_be_visible()


async def test_a_refused_report_is_shown_with_the_row_that_failed(browser: Watched, site: Served) -> None:
    await agents(site)
    await kept(site)
    bad = reports.document("customers", "001", flaw="bad-cell")
    page = await opened(browser, ERP)
    suspicious = page.locator("#suspicious")
    await expect(suspicious).to_contain_text("Customers of 001")
    await suspicious.get_by_role("link", name="Look at it").click()
    await expect(page.locator("h1")).to_contain_text("Customers of 001")
    await expect(page.locator("#document")).to_contain_text("is not a number such as 1.234,56")
    await expect(page.locator("#proofs li", has_text="every cell is of its type")).to_contain_text("Does not hold")
    pictures = page.locator("#picture img")
    await expect(pictures).to_have_count(2)
    await expect(pictures.last).to_have_attribute(
        "alt", f"Page 1 of 2 of the report, with row {bad.row} of page 1 marked"
    )
    await pictures.last.evaluate("(image) => image.decode()")
    assert await pictures.last.evaluate("(image) => image.naturalWidth") == 1684
    await page.get_by_role("link", name="Next").click()
    await expect(page.locator("#picture")).to_contain_text("Page 2 of 2")
    await page.get_by_role("link", name="What failed").click()
    await expect(page.locator("#picture")).to_contain_text("Page 1 of 2")
    async with page.expect_download() as asked:
        await page.get_by_role("link", name="Download").click()
    assert (await asked.value).suggested_filename.startswith("customers-001-")
    assert len(await site.service.audit.newest(action="document.download")) == 1


async def test_a_report_that_was_good_again_is_not_told_as_suspicious(browser: Watched, site: Served) -> None:
    await agents(site)
    await kept(site)
    await kept(site, flaw="")
    page = await opened(browser, ERP)
    await expect(page.get_by_role("link", name="Suspicious")).to_contain_text("0 refused, 0 held")
    await expect(page.locator("#suspicious li")).to_contain_text("good since")


async def test_a_viewer_sees_everything_but_personal_data_and_is_told_why_they_cannot_act(
    browser: Watched, site: Served
) -> None:
    await agents(site)
    await fails(site, "002", "customers", WRONG, times=3)
    base = await kept(site)
    page = await opened(browser, ERP, "vic")
    await expect(page.locator("#agent-002")).to_contain_text("failing")
    await expect(page.locator("#every-orders")).to_be_disabled()
    await page.locator("#type-orders").get_by_role("switch").click(force=True)
    await expect(page.locator("#toasts")).to_contain_text("Needs the role admin; you are viewer.")
    await page.locator("#type-orders").get_by_role("button", name="Run now").click(force=True)
    await expect(page.locator("#toasts")).to_contain_text("Needs the role operator; you are viewer.")
    assert await site.sql("SELECT 1 FROM keepstep.runs WHERE state = 'queued'") == []
    await page.goto(browser.url + base)
    await expect(page.locator("#document")).to_contain_text("is not a number such as 1.234,56")
    await expect(page.locator("#picture")).to_contain_text("A report holds personal data.")
    await page.locator("#document").get_by_role("button", name="Download").click(force=True)
    await expect(page.locator("#toasts")).to_contain_text("Needs the role admin; you are viewer.")
    await page.goto(f"{browser.url}{ERP}/agents")
    await expect(page.locator("#agents tbody tr")).to_have_count(3)
    await expect(page.locator("#agent-code")).to_be_disabled()
    await page.get_by_role("button", name="Remove 001").click(force=True)
    await expect(page.locator("#toasts")).to_contain_text("Needs the role admin; you are viewer.")


async def test_an_operator_sees_the_picture_and_cannot_download(browser: Watched, site: Served) -> None:
    page = await opened(browser, await kept(site), "otto")
    await expect(page.locator("#picture img")).to_have_count(2)
    await page.locator("#document").get_by_role("button", name="Download").click(force=True)
    await expect(page.locator("#toasts")).to_contain_text("Needs the role admin; you are operator.")


async def test_a_type_is_run_now_for_all_and_for_one(browser: Watched, site: Served) -> None:
    await agents(site)
    async with site.connection() as connection:
        await reports.live(connection, "003", "ddt", "queued")
    page = await opened(browser, ERP, "otto")
    await page.locator("#type-orders").get_by_role("button", name="Run now").click()
    await expect(page.locator("#toasts")).to_contain_text("Orders: 2 queued, 1 busy with another report")
    await expect(page.locator("#type-orders .type-next")).to_contain_text("2 queued")
    await page.locator("#type-prices").get_by_role("button", name="Run now").click()
    await expect(page.locator("#toasts")).to_contain_text("Prices: 1 queued.")
    await site.sql("UPDATE keepstep.runs SET state = 'stopped', finished_at = now() WHERE state = 'queued'")
    await page.locator("#agent-002").get_by_role("link", name="Invoices of 002").click()
    await page.locator("#drawer").get_by_role("button", name="Run now").click()
    await expect(page.locator("#toasts")).to_contain_text("Invoices of 002: 1 queued")
    await expect(page.locator("#drawer")).to_be_hidden()
    queued = await site.sql(
        "SELECT c.owner_id, r.entities, r.actor FROM keepstep.runs r"
        " JOIN keepstep.connections c ON c.id = r.connection_id WHERE r.state = 'queued'"
    )
    assert [(row["owner_id"], row["entities"], row["actor"]) for row in queued] == [("002", ["invoices"], "otto")]


async def test_agents_are_added_named_turned_off_and_removed(browser: Watched, site: Served) -> None:
    await agents(site, 2)
    page = await opened(browser, f"{ERP}/agents")
    rows = page.locator("#agents tbody tr")
    await page.get_by_label("Code", exact=True).fill("A7 è")
    await page.locator("#agent-name").fill("Niccolò Già")
    await page.get_by_role("button", name="Add agent").click()
    await expect(page.locator("#toasts")).to_contain_text("The agent A7 è is on the list.")
    await expect(rows).to_have_count(3)
    await expect(page.get_by_label("Code", exact=True)).to_have_value("")
    await page.get_by_label("Name of 001").fill("Perla Forlì")
    await rows.filter(has_text="001").get_by_role("button", name="Save").click()
    await expect(page.locator("#toasts")).to_contain_text("The name of 001 is changed.")
    await page.get_by_role("switch", name="Read 002").click()
    await expect(rows.filter(has_text="002")).to_contain_text("4 off")
    await page.get_by_label("Name of A7 è").fill("")
    await rows.filter(has_text="A7 è").get_by_role("button", name="Save").click()
    await expect(page.locator("#toasts")).to_contain_text("The name of A7 è is changed.")
    found = {row["code"]: (row["name"], row["enabled"]) for row in (await site.admin.get("/api/sync/agents")).json()}
    assert found == {"001": ("Perla Forlì", True), "002": ("Perla Forlì", False), "A7 è": ("", True)}

    await page.get_by_role("button", name="Remove A7 è").click()
    await expect(page.locator("#confirm")).to_contain_text("The rows that are in the tables stay.")
    await page.keyboard.press("Escape")
    await expect(rows).to_have_count(3)
    await page.get_by_role("button", name="Remove A7 è").click()
    await page.locator("#confirm-yes").click()
    await expect(rows).to_have_count(2)
    await page.get_by_label("Code", exact=True).fill("001")
    await page.get_by_role("button", name="Add agent").click()
    await expect(page.locator("#toasts")).to_contain_text("There is an agent 001 already.")
    await page.get_by_label("Agents that are").select_option("off")
    await expect(rows).to_have_count(1)
    browser.expected.append("409")


async def test_the_page_of_an_erp_that_nothing_is_known_of_says_what_to_do(browser: Watched, site: Served) -> None:
    page = await opened(browser, ERP)
    await expect(page.locator("#content")).to_contain_text("The ERP is not connected")
    await expect(page.locator("#freshness")).to_contain_text("No agent yet")
    for report in ("orders", "prices"):
        await expect(page.locator(f"#type-{report} .type-next")).to_contain_text("nothing to read")
    await page.locator("#type-orders").get_by_role("button", name="Run now").click(force=True)
    await expect(page.locator("#toasts")).to_contain_text("The ERP is not connected.")
    await page.get_by_role("link", name="Add agents").click()
    await expect(page.locator("#agents")).to_contain_text("No agent yet")


@THEMES
async def test_the_pages_of_the_erp_are_accessible(browser: Watched, site: Served, theme: str) -> None:
    await agents(site, 30)
    await fails(site, "002", "customers", WRONG, times=3)
    await fails(site, "003", "orders", AWAY)
    async with site.connection() as connection:
        await reports.held(connection, "004", "invoices", live_rows=200, delete_rows=130)
        await reports.live(connection, "005", "orders", "running")
    pages = [ERP, f"{ERP}?state=late", f"{ERP}/agents", await kept(site), await kept(site, flaw="")]
    html = reports.read("prices", "", b"<html>Servizio non disponibile</html>")
    pages.append(f"{ERP}/documents/{await site.service.documents.keep('erp', html)}")
    for path in pages:
        page = await opened(browser, path, "ana", theme)
        if "documents" in path:
            await page.locator("#picture-place .card-body").wait_for()
        assert await violations(page) == [], path
    page = await opened(browser, ERP, "vic", theme)
    assert await violations(page) == []
    await page.locator("#agent-002").get_by_role("link", name="Customers of 002").click()
    await page.locator("#drawer[open] [data-title]").wait_for()
    assert await violations(page) == []
