"""The control center while it arrives: header first, the rest when the database has answered."""

from playwright.async_api import expect

from tests.support.browser import Watched, browsing
from tests.support.control_center import PAGE
from tests.support.site import Served

_SHIFTS = """
window.shifts = 0;
new PerformanceObserver((list) => {
  for (const one of list.getEntries()) if (!one.hadRecentInput) window.shifts += one.value;
}).observe({ type: "layout-shift", buffered: true });
"""


async def test_a_page_that_waits_for_the_database_says_so_and_nothing_jumps_when_it_comes(
    browser: Watched, site: Served
) -> None:
    await browser.sign_in()
    page = await browser.page()
    await page.add_init_script(_SHIFTS)
    async with site.connection() as connection, connection.transaction():
        await connection.execute("LOCK TABLE keepstep.dead_letters")
        await page.goto(f"{browser.url}{PAGE}", wait_until="commit")
        await expect(page.locator(".waiting")).to_be_visible()
        await expect(page.locator("#pulse")).to_be_hidden()
    await expect(page.locator("#room")).to_be_visible()
    await expect(page.locator(".waiting")).to_be_hidden()
    await expect(page.locator("#pulse-words")).to_have_text("live")
    await expect(page.locator("#act-run")).to_be_visible()

    assert await page.evaluate("window.shifts") < 0.02


async def test_what_failed_instead_of_the_page_is_seen_on_the_tab_and_nothing_is_called_current(
    browser: Watched, site: Served
) -> None:
    await browser.sign_in()
    await site.sql("ALTER TABLE keepstep.dead_letters RENAME TO lost")
    page = await browser.page(PAGE)
    await expect(page.locator("#content")).to_contain_text("The control tables are not up to date")
    await expect(page.locator("#pulse")).to_be_hidden()
    await expect(page.locator("#favicon")).to_have_attribute(
        "href", str(await page.get_attribute("#favicon", "data-bad"))
    )
    await site.sql("ALTER TABLE keepstep.lost RENAME TO dead_letters")

    await expect(page.locator("#room")).to_be_visible()  # it has tried again by itself


async def test_without_scripts_the_page_says_what_that_means(site: Served) -> None:
    async with browsing(site.url, java_script_enabled=False) as browser:
        await browser.sign_in()
        page = await browser.page(PAGE)
        await expect(page.locator("#part-glance")).to_be_visible()
        await expect(page.locator("noscript > p")).to_be_visible()


async def test_everything_is_within_320_pixels(browser: Watched) -> None:
    await browser.sign_in()
    page = await browser.page()
    await page.set_viewport_size({"width": 320, "height": 640})
    for path in (PAGE, f"{PAGE}/settings", f"{PAGE}/runs", f"{PAGE}/dlq"):
        await page.goto(f"{browser.url}{path}")
        assert await page.evaluate("document.documentElement.scrollWidth") <= 320, path
    await page.goto(f"{browser.url}{PAGE}")
    act, menu = await page.locator("#act-run").bounding_box(), await page.locator("#user-menu").bounding_box()
    assert act and menu
    assert act["x"] + act["width"] <= menu["x"]
