"""The page on which users connect their mailbox, with a real mail server and an emulated Gmail behind it."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from playwright.async_api import Page, expect

from keepstep.integrations.mail.gmail.emulator.options import EmulatorOptions
from keepstep.integrations.mail.gmail.emulator.server import GmailEmulator
from keepstep.model.errors import AuthFailed
from tests.browser.test_owner_pages import THEMES, opened, owner
from tests.support.browser import Watched, violations
from tests.support.dovecot import PASSWORD, Dovecot, dovecot
from tests.support.site import Served, served

PAGE = "/settings/auto-sync"


@pytest.fixture(scope="module")
def imap() -> Iterator[Dovecot]:
    with dovecot() as running:
        yield running


@pytest.fixture
async def gmail() -> AsyncIterator[tuple[GmailEmulator, str]]:
    emulator = GmailEmulator(EmulatorOptions(messages=3))
    async with emulator.serve() as url:
        yield emulator, url


@pytest.fixture
async def site(dsn: str, tmp_path: Path, gmail: tuple[GmailEmulator, str]) -> AsyncIterator[Served]:
    """Keepstep without workers, known at the emulated Google; ben and eva are users."""
    emulator, url = gmail
    given = {
        "KEEPSTEP_SECRET_KEY": "first", "KEEPSTEP_MAIL_PRIVATE_HOSTS": "true", "GMAIL_BASE_URL": url,
        "GOOGLE_CLIENT_ID": emulator.options.client_id, "GOOGLE_CLIENT_SECRET": emulator.options.client_secret,
    }  # fmt: skip
    async with served(dsn, tmp_path, **given) as site:
        for name in ("ben", "eva"):
            await site.user(name, "user")
        yield site


async def fill(page: Page, imap: Dovecot, name: str, *, password: str = PASSWORD) -> None:
    """Type a mailbox in, and press the button: a whole address, as the form itself offers no way without encryption."""
    address = f"imap://{name}%40example.test@127.0.0.1:{imap.port}/?security=none"
    await page.get_by_label("E-mail address").fill(address)
    await page.get_by_label("Password").fill(password)
    await page.get_by_role("button", name="Connect mailbox").click()


async def test_a_user_connects_a_mailbox_sees_whose_it_is_and_disconnects_it(
    browser: Watched, site: Served, imap: Dovecot
) -> None:
    page = await opened(browser, PAGE, "ben")
    await expect(page.locator("#auto-sync")).to_contain_text("Mail is not connected")
    await page.get_by_role("switch", name="AutoSync").click()
    await fill(page, imap, "ben")
    await expect(page.locator("#toasts")).to_contain_text("ben@example.test is connected.")
    await expect(page.locator("#account")).to_have_text("ben@example.test at 127.0.0.1")
    await expect(page.get_by_label("Password")).to_have_value("")
    assert PASSWORD not in await page.content()
    assert len(await site.sql("SELECT keepstep.dispatch_due()")) == 1
    await page.reload()
    await expect(page.locator("#live-run")).to_contain_text("A sync is queued")
    await page.get_by_role("button", name="Disconnect").click()
    await page.locator("#confirm-yes").click()
    await expect(page.locator("#auto-sync")).to_contain_text("Mail is not connected")
    await expect(page.locator("#account")).to_have_count(0)


async def test_what_is_wrong_with_a_mailbox_is_said_in_words_and_what_was_typed_stays(
    browser: Watched, imap: Dovecot
) -> None:
    page = await opened(browser, PAGE, "ben")
    browser.expected.append("422")
    await fill(page, imap, "ben", password="a-wrong-password")
    await expect(page.locator("#toasts")).to_contain_text("refused the user name with its password")
    await expect(page.locator("#toasts")).to_contain_text("app password")
    await expect(page.get_by_label("Password")).to_have_value("a-wrong-password")
    await page.get_by_label("E-mail address").fill("ben@keepstep.invalid")
    await page.get_by_role("button", name="Connect mailbox").click()
    await expect(page.locator("#toasts")).to_contain_text("Give the host of the mail server.")


async def test_the_fields_of_the_form_are_what_the_api_takes(browser: Watched, site: Served, imap: Dovecot) -> None:
    page = await opened(browser, PAGE, "ben")
    browser.expected.append("422")
    await page.get_by_label("E-mail address").fill("ben@example.test")
    await page.get_by_label("Password").fill(PASSWORD)
    await page.get_by_text("Mail server, user name and folders").click()
    await page.get_by_label("Mail server", exact=True).fill("127.0.0.1")
    await page.get_by_label("Port").fill(str(imap.port))
    await page.get_by_label("Encryption").select_option("starttls")
    await page.get_by_label("Folders").fill("INBOX, Clients/*")
    async with page.expect_request("**/api/connections/mail/imap") as asked:
        await page.get_by_role("button", name="Connect mailbox").click()
    await expect(page.locator("#toasts .toast")).to_be_visible()
    request = await asked.value

    assert request.post_data_json == {
        "address": "ben@example.test", "password": PASSWORD, "host": "127.0.0.1", "port": imap.port,
        "security": "starttls", "folders": ["INBOX", "Clients/*"],
    }  # fmt: skip


async def test_gmail_is_connected_at_google_and_one_comes_back_to_the_page(browser: Watched, site: Served) -> None:
    page = await opened(browser, PAGE, "ben")
    await page.get_by_role("link", name="Connect Gmail").first.click()
    await page.wait_for_url(f"**{PAGE}")
    await expect(page.locator("#account")).to_have_text("me@example.test at Gmail")
    await site.service.owners.refuse("mail", await owner(site, "ben"), "Gmail does not accept the consent any more.")
    await page.reload()
    await expect(page.locator("#auto-sync")).to_contain_text("Gmail does not accept the consent any more.")
    await page.get_by_role("link", name="Reconnect Gmail").click()
    await page.wait_for_url(f"**{PAGE}")
    await expect(page.locator("#auto-sync")).not_to_contain_text("any more")


async def test_a_consent_that_is_refused_ends_on_a_page_with_a_way_back(
    browser: Watched, gmail: tuple[GmailEmulator, str]
) -> None:
    gmail[0].switch(consent="deny")
    page = await opened(browser, PAGE, "ben")
    browser.expected.append("409")
    await page.get_by_role("link", name="Connect Gmail").first.click()
    await expect(page.locator("h1")).to_contain_text("did not allow it")
    await page.get_by_role("link", name="Go back").click()
    await page.wait_for_url("**/contacts")


async def test_without_a_client_at_google_there_is_no_button_for_gmail(dsn: str, tmp_path: Path, site: Served) -> None:
    assert site.url
    async with served(dsn, tmp_path) as other, other.signed_in("ben") as ben:
        text = (await ben.get(PAGE)).text

    assert "Connect Gmail" not in text
    assert "Connect with a password" in text


@pytest.mark.parametrize(
    ("wanted", "comes_to"),
    [("/", "/contacts"), ("/systems/integrations", "/contacts"), ("/systems/integrations/runs?entity=x", "/contacts"),
     ("/admin/users", "/contacts"), (PAGE, PAGE), ("/contacts", "/contacts")],
)  # fmt: skip
async def test_a_user_lands_on_a_page_of_their_own_wherever_they_wanted_to_go(
    browser: Watched, wanted: str, comes_to: str
) -> None:
    page = await browser.page(wanted)
    await page.get_by_label("Name").fill("ben")
    await page.get_by_label("Password").fill("a few good words")
    await page.keyboard.press("Enter")
    await page.wait_for_url(f"**{comes_to}")
    await expect(page.locator("h1")).to_contain_text("Your")


@THEMES
async def test_the_page_is_accessible_whatever_its_state(
    browser: Watched, site: Served, imap: Dovecot, theme: str
) -> None:
    page = await opened(browser, PAGE, "ben", theme)
    await page.get_by_text("Mail server, user name and folders").click()
    assert await violations(page) == []
    await fill(page, imap, "ben")
    await expect(page.locator("#account")).to_be_visible()
    await site.service.owners.refuse("mail", await owner(site, "ben"), AuthFailed("Refused.").message)
    await page.reload()
    await expect(page.get_by_role("link", name="Reconnect with a password")).to_be_visible()
    assert await violations(page) == []
