"""Settings: what the environment does not give is changed on the page, and counts at once."""

import pytest
from playwright.async_api import expect

from tests.support.browser import Watched, violations
from tests.support.site import Served

SETTINGS = "/systems/integrations/settings"


async def test_a_setting_is_changed_undone_and_goes_back_to_its_default(browser: Watched, site: Served) -> None:
    browser.expected = ["422"]
    await browser.sign_in("ana")
    page = await browser.page("/systems/integrations")
    await page.locator("#config").get_by_role("link", name="Change").click()
    row = page.locator("#KEEPSTEP_DROP_GUARD_PERCENT")
    field = row.get_by_label("KEEPSTEP_DROP_GUARD_PERCENT", exact=True)
    await field.fill("much")
    await page.keyboard.press("Enter")
    await expect(page.locator("#toasts")).to_contain_text("Give a whole number from 0 to 100.")
    await row.get_by_role("button", name="Undo").click()
    await expect(field).to_have_value("50")
    await field.fill("35")
    await row.get_by_role("button", name="Save").click()
    await expect(row).to_contain_text("chosen here")
    changed = {line.variable: line.value for line in (await site.service.preferences.setup()).settings}
    await row.get_by_role("button", name="Default").click()
    await expect(row).not_to_contain_text("chosen here")
    await expect(field).to_have_value("50")

    assert changed["KEEPSTEP_DROP_GUARD_PERCENT"] == "35"
    entries = (await site.admin.get("/api/admin/audit?user=ana&action=setting.change")).json()
    assert [entry["payload"]["value"] for entry in entries] == [None, "35"]


async def test_a_secret_is_typed_unseen_and_gone_once_it_is_kept(browser: Watched, site: Served) -> None:
    await browser.sign_in("ana")
    page = await browser.page(SETTINGS)
    field = page.get_by_label("INTEGRATIONS_TEAMS_WEBHOOK", exact=True)
    await expect(field).to_have_attribute("type", "password")
    await field.fill("https://prod.example.test/workflows/1?sig=recognisable")
    await page.keyboard.press("Enter")
    await expect(field).to_have_attribute("placeholder", "https://prod.example.test/…••••")
    await expect(field).to_have_value("")

    assert "recognisable" not in await page.content()


async def test_what_the_environment_gives_is_locked_and_a_viewer_is_told_why_nothing_can_be_changed(
    browser: Watched,
) -> None:
    await browser.sign_in("vic")
    page = await browser.page(SETTINGS)

    await expect(page.locator("#DOORLOOP_BASE_URL")).to_contain_text("Set by environment")
    await expect(page.locator("#DOORLOOP_BASE_URL input")).to_have_count(0)
    field = page.get_by_label("KEEPSTEP_BREAKER_THRESHOLD", exact=True)
    await expect(field).to_be_disabled()
    await expect(field).to_have_attribute("title", "Needs the role admin; you are viewer.")


async def test_a_toast_does_not_dim_the_page(browser: Watched) -> None:
    await browser.sign_in("vic")
    page = await browser.page("/systems/integrations")
    await page.locator("#act-run").click(force=True)
    await expect(page.locator("#toasts")).to_contain_text("Needs the role operator")
    backdrop = await page.evaluate("getComputedStyle(document.getElementById('toasts'), '::backdrop').backgroundColor")

    assert backdrop == "rgba(0, 0, 0, 0)"


@pytest.mark.parametrize("theme", ["dark"])
async def test_the_settings_can_be_read_by_everybody(browser: Watched, theme: str) -> None:
    await browser.sign_in("ana")
    await browser.context.add_cookies([{"name": "keepstep_theme", "value": theme, "url": browser.url}])

    assert await violations(await browser.page(SETTINGS)) == []
