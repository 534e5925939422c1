"""The pages of whoever looks after Keepstep: the raw state, users and tokens, one's own account."""

import json
import re
from typing import Any

import pytest
from playwright.async_api import Page, expect

from tests.support.browser import Watched, violations
from tests.support.control_center import run, settled
from tests.support.site import PASSWORD, Served
from tests.support.upstream import Upstream


async def opened(browser: Watched, path: str, name: str = "ana") -> Page:
    await browser.sign_in(name)
    return await browser.page(path)


async def raw(page: Page) -> Any:
    return json.loads(str(await page.locator("#raw-text").text_content()))


async def test_the_raw_state_is_the_answer_of_the_api_and_keeps_up_with_it(
    browser: Watched, site: Served, upstream: Upstream
) -> None:
    page = await opened(browser, "/admin/sync", "vic")
    await expect(page.locator("#raw-text")).to_contain_text('"activeRun": null')
    known = (await site.admin.get("/api/admin/sync/status")).json()
    assert (await raw(page)).keys() == known.keys()
    await settled(site, await run(site, "owners"))
    await expect(page.locator("#raw-text")).to_contain_text('"rows": 7')
    await page.get_by_label("What", exact=True).select_option("ready")
    await expect(page.locator("#raw-text")).to_contain_text('"checks"')
    await expect(page.locator("#raw-address")).to_have_text("/readyz")
    assert page.url.endswith("?show=ready")
    await page.reload()
    await expect(page.locator("#raw-text")).to_contain_text('"checks"')
    await page.get_by_label("What", exact=True).select_option("metrics")
    await expect(page.locator("#raw-text")).to_contain_text("# TYPE keepstep_")


async def test_the_raw_state_rests_while_it_is_paused(browser: Watched, site: Served) -> None:
    page = await opened(browser, "/admin/sync?show=runs", "vic")
    await expect(page.locator("#raw-text")).to_have_text("[]")
    await page.get_by_role("button", name="Pause").click()
    await settled(site, await run(site, "owners"))
    await expect(page.locator("#run")).not_to_contain_text("waits for a worker")
    await expect(page.locator("#raw-text")).to_have_text("[]")
    await page.get_by_role("button", name="Go on").click()
    await expect(page.locator("#raw-text")).to_contain_text('"runId": 1')


async def test_a_run_is_started_stopped_and_the_breaker_closed_by_hand(
    browser: Watched, site: Served, upstream: Upstream
) -> None:
    upstream.fault("hang", entity="owners")
    page = await opened(browser, "/admin/sync")
    for name in ("properties", "units", "leases", "tenants"):
        await page.locator("#run-form").get_by_role("checkbox", name=name).uncheck()
    await page.locator("#run-form").get_by_role("button", name="Run now").click()
    await expect(page.locator("#toasts")).to_contain_text("Run 1 is queued.")
    await expect(page.locator("#run-active")).to_be_visible()
    await expect(page.locator("#breaker")).to_contain_text("The lock is held by run 1")
    await page.locator("#run-active").get_by_role("button", name="Stop").click()
    await page.locator("#confirm-yes").click()
    await expect(page.locator("#run-form")).to_be_visible()
    upstream.release()
    assert [entity["entity"] for entity in (await settled(site, 1))["entities"]] == ["owners"]
    upstream.fault("503", entity="owners", count=50)
    await settled(site, await run(site, "owners"))
    upstream.clear_faults()
    await expect(page.locator("#breaker")).to_contain_text("tries again in")
    await page.get_by_role("button", name="Close breaker").click()
    await page.locator("#confirm-yes").click()
    await expect(page.locator("#toasts")).to_contain_text("The breaker is closed.")


async def test_what_somebody_is_filling_in_stays_while_the_page_looks_again(browser: Watched, site: Served) -> None:
    page = await opened(browser, "/admin/sync")
    await page.locator("#run-form").get_by_role("checkbox", name="units").uncheck()
    await page.get_by_text("Backfill", exact=True).click()
    await settled(site, await run(site, "owners"))
    await expect(page.locator("#run-form")).to_contain_text("owners7")
    await expect(page.locator("#run-form").get_by_role("checkbox", name="units")).not_to_be_checked()
    await expect(page.locator("#run-form input[value=backfill]")).to_be_checked()


async def test_an_unknown_state_is_said_with_those_there_are(browser: Watched) -> None:
    browser.expected.append("404")
    page = await opened(browser, "/admin/sync?show=nothing", "vic")
    await expect(page.locator("main")).to_contain_text("There are: status, schedule")


async def test_a_user_is_added_given_a_role_and_a_password_and_removed(browser: Watched, site: Served) -> None:
    page = await opened(browser, "/admin/users")
    add = page.locator("#add-user")
    await add.get_by_label("Name").fill("nora")
    await add.get_by_label("Password").fill("short")
    await add.get_by_role("button", name="Add user").click()
    browser.expected.append("422")
    await expect(page.locator("#toasts")).to_contain_text("8 characters")
    await add.get_by_label("Password").fill(PASSWORD)
    await add.get_by_label("Role").select_option("operator")
    await add.get_by_role("button", name="Add user").click()
    await expect(page.locator("#toasts")).to_contain_text("nora may sign in.")
    row = page.locator("#users tbody tr").filter(has_text="nora")
    await expect(row).to_contain_text("operator")
    assert await add.get_by_label("Password").input_value() == ""

    async with site.signed_in("nora") as nora:
        await row.get_by_role("link", name="Change nora").click()
        drawer = page.locator("#drawer")
        await drawer.get_by_role("combobox", name="Role").select_option("viewer")
        await drawer.get_by_role("button", name="Change role").click()
        await expect(row).to_contain_text("viewer")
        assert (await nora.get("/api/auth/me")).json()["role"] == "viewer"
        await row.locator("td").nth(1).click()
        await drawer.get_by_role("textbox", name="Password").fill("some other words")
        await drawer.get_by_role("button", name="Set password").click()
        await expect(page.locator("#toasts")).to_contain_text("nora has a new password.")
        assert (await nora.get("/api/auth/me")).status_code == 401

    await row.get_by_role("link", name="Change nora").click()
    await drawer.get_by_role("button", name="Remove nora").click()
    await expect(page.locator("#confirm")).to_contain_text("Remove nora?")
    await page.locator("#confirm-yes").click()
    await expect(row).to_have_count(0)
    done = [entry["action"] for entry in (await site.admin.get("/api/admin/audit?user=ana&action=user")).json()]
    assert done == ["user.remove", "user.change", "user.change", "user.add"]


async def test_a_token_is_shown_once_works_and_is_revoked(browser: Watched, site: Served) -> None:
    page = await opened(browser, "/admin/users")
    await browser.context.grant_permissions(["clipboard-read", "clipboard-write"], origin=browser.url)
    add = page.locator("#add-token")
    await add.get_by_label("Name").fill("nightly-report")
    await add.get_by_role("button", name="Make token").click()
    shown = page.locator("#new-token-text")
    await expect(shown).to_have_text(re.compile("^keepstep_"))
    token = str(await shown.text_content())
    await page.get_by_role("button", name="Copy").click()
    await expect(page.locator("#toasts")).to_contain_text("The token is copied.")
    assert await page.evaluate("navigator.clipboard.readText()") == token
    assert token not in await page.locator("#toasts").inner_text()
    header = {"authorization": f"Bearer {token}"}
    assert (await site.nobody.get("/api/auth/me", headers=header)).json()["role"] == "viewer"
    await page.get_by_role("button", name="I have it").click()
    await expect(page.locator("#new-token")).to_be_hidden()
    assert token not in await page.content()
    await page.reload()
    assert token not in await page.content()
    row = page.locator("#tokens tbody tr").filter(has_text="nightly-report")
    await expect(row.locator("td").nth(2)).not_to_have_text("never")
    await row.get_by_role("button", name="Revoke").click()
    await page.locator("#confirm-yes").click()
    await expect(row).to_have_count(0)
    assert (await site.nobody.get("/api/auth/me", headers=header)).status_code == 401


async def test_only_an_admin_sees_users_and_tokens(browser: Watched, site: Served) -> None:
    browser.expected.append("403")
    page = await opened(browser, "/admin/users", "otto")
    await expect(page.get_by_role("heading", level=1)).to_contain_text("This needs the role admin; otto has operator.")
    page = await browser.page("/account")
    assert await page.get_by_role("link", name="Users and tokens").count() == 0


async def test_a_link_to_a_user_or_to_the_tokens_leads_to_their_place(browser: Watched, site: Served) -> None:
    page = await opened(browser, "/admin/tokens")
    assert page.url.endswith("/admin/users#tokens")
    await page.goto(f"{browser.url}/admin/users/2")
    assert page.url.endswith("/admin/users#user-2")


async def test_somebody_changes_their_own_password(browser: Watched, site: Served) -> None:
    page = await opened(browser, "/account", "vic")
    form = page.locator("#own-password")
    await form.get_by_label("Now").fill("not this one")
    await form.get_by_label("New", exact=True).fill("some other words")
    await form.get_by_label("New, once more").fill("some other word")
    await form.get_by_role("button", name="Change password").click()
    assert await form.get_by_label("New, once more").evaluate("field => field.validationMessage") != ""
    browser.expected.append("403")
    await form.get_by_label("New, once more").fill("some other words")
    await form.get_by_role("button", name="Change password").click()
    await expect(page.locator("#toasts")).to_contain_text("The current password is wrong.")
    await form.get_by_label("Now").fill(PASSWORD)
    await form.get_by_role("button", name="Change password").click()
    await expect(page.locator("#toasts")).to_contain_text("Your password is changed.")
    answer = await site.nobody.post("/api/auth/login", json={"name": "vic", "password": "some other words"})
    assert answer.status_code == 200
    await page.reload()
    await expect(page.get_by_role("heading", level=1)).to_have_text("Your account")


async def test_who_is_signed_out_is_told_and_led_back(browser: Watched, site: Served) -> None:
    browser.expected.append("401")
    page = await opened(browser, "/admin/sync", "vic")
    await site.sql("DELETE FROM keepstep.sessions")
    await expect(page.locator("#side-session")).to_be_visible()
    await page.get_by_role("link", name="Sign in again").click()
    await page.get_by_label("Name").fill("vic")
    await page.get_by_label("Password").fill(PASSWORD)
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/admin/sync")


@pytest.mark.parametrize("theme", ["dark"])
async def test_the_admin_pages_are_accessible(browser: Watched, site: Served, theme: str) -> None:
    await browser.context.add_cookies([{"name": "keepstep_theme", "value": theme, "url": site.url}])
    await site.token("viewer", "report")
    page = await opened(browser, "/admin/users")
    assert await violations(page) == []
    await page.locator("#add-token").get_by_label("Name").fill("another")
    await page.locator("#add-token").get_by_role("button").click()
    await expect(page.locator("#new-token")).to_be_visible()
    await page.get_by_role("link", name="Change vic").click()
    await expect(page.locator("#drawer")).to_be_visible()
    assert await violations(page) == []
    for path in ("/admin/sync", "/account"):
        assert await violations(await browser.page(path)) == [], path
