"""From the door to the page and out again, as a person goes."""

from urllib.parse import urlsplit

import pytest
from playwright.async_api import expect

from tests.support.browser import Watched, violations
from tests.support.control_center import PAGE
from tests.support.site import PASSWORD, Served


async def test_a_person_is_led_to_the_door_and_from_there_to_where_they_wanted_to_go(browser: Watched) -> None:
    page = await browser.page(f"{PAGE}/patterns?a=1&b=2")
    assert urlsplit(page.url).path == "/login"
    await page.get_by_label("Name").fill("vic")
    await page.get_by_label("Password").fill(PASSWORD)
    await page.keyboard.press("Enter")
    await page.wait_for_url(f"**{PAGE}/patterns?a=1&b=2")
    await page.get_by_label("vic: menu").click()
    await page.get_by_role("button", name="Sign out").click()
    await page.wait_for_url("**/login")
    await page.goto(browser.url + PAGE)
    assert urlsplit(page.url).path == "/login"


async def test_a_wrong_password_is_told_in_words_and_the_name_stays(browser: Watched) -> None:
    browser.expected.append("401")
    page = await browser.page("/login")
    await page.get_by_label("Name").fill("ana")
    await page.get_by_label("Password").fill("wrong")
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("alert")).to_contain_text("The name or the password is wrong.")
    assert await page.get_by_label("Name").input_value() == "ana"
    assert await page.get_by_label("Password").input_value() == ""


@pytest.mark.parametrize("theme", ["dark"])
async def test_door_and_patterns_are_accessible(site: Served, browser: Watched, theme: str) -> None:
    await browser.context.add_cookies([{"name": "keepstep_theme", "value": theme, "url": site.url}])
    assert await violations(await browser.page("/login")) == []
    await browser.sign_in("vic")
    page = await browser.page(f"{PAGE}/patterns")
    assert await page.locator("html").get_attribute("data-theme") == theme
    assert await violations(page) == []


async def test_the_theme_is_chosen_in_the_menu_and_kept_by_the_server(browser: Watched) -> None:
    await browser.sign_in("ana")
    page = await browser.page(f"{PAGE}/patterns")
    await page.get_by_label("ana: menu").click()
    await page.get_by_label("Dark theme").click()
    assert await page.locator("html").get_attribute("data-theme") == "dark"
    rendered = await browser.context.request.get(f"{browser.url}{PAGE}/patterns")
    assert 'data-theme="dark"' in await rendered.text()
