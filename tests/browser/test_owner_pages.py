"""The pages of auto-sync: everybody's for an administrator, their own contacts and mail for each user."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Page, expect
from psycopg.types.json import Jsonb

from keepstep.model.errors import AuthFailed, Transient
from keepstep.model.run import error_json
from tests.support.browser import Watched, violations
from tests.support.site import Served, served

MATRIX = "/systems/integrations/users"
KEY = "google_contacts"
THEMES = pytest.mark.parametrize("theme", ["dark"])


@pytest.fixture
async def site(dsn: str, tmp_path: Path) -> AsyncIterator[Served]:
    """Keepstep without workers: what is queued stays so. ana is an admin, ben and eva are users."""
    async with served(dsn, tmp_path, KEEPSTEP_SECRET_KEY="first") as site:
        for known in (site.service.auto_sync.entities, site.service.owners.entities):  # as if it were there
            assert isinstance(known, dict)
            known[KEY] = ["connections", "contacts"]
        for name, role in (("ana", "admin"), ("ben", "user"), ("eva", "user")):
            await site.user(name, role)
        yield site


async def owner(site: Served, name: str) -> str:
    [row] = await site.sql("SELECT owner_id FROM keepstep.users WHERE name = %s", name)
    return str(row["owner_id"])


async def connected(site: Served, name: str, *, hours: int = 24) -> str:
    """A user who has connected their contacts and turned auto-sync on; nothing of it is due."""
    async with site.signed_in(name) as client:
        await client.put("/api/logos-vision/auto-sync/config", json={"enabled": True, "interval_hours": hours})
    whose = await owner(site, name)
    await site.service.owners.connect(KEY, whose, {"tokens": "{}"}, by=name)
    await site.sql("UPDATE keepstep.schedule_times SET delta_at = now() + interval '23 hours 10 minutes',"
                   " due_at = now() + interval '23 hours 10 minutes'")  # fmt: skip
    return whose


async def ended(site: Served, whose: str, error: Exception | None = None) -> int:
    """A run of an owner has begun and ended, as the engine writes it."""
    run_id = await site.service.owners.run(KEY, whose, by="test")
    state, value = ("succeeded", None) if error is None else ("failed", Jsonb(error_json(error)))
    await site.sql("UPDATE keepstep.runs SET state = 'running', started_at = now() WHERE id = %s", run_id)
    if error is None:
        await site.sql(
            "INSERT INTO keepstep.run_entities (run_id, entity, position, state, rows, inserted, skipped) VALUES"
            " (%s, 'connections', 1, 'succeeded', 428, 428, '{}'),"
            " (%s, 'contacts', 2, 'succeeded', 12, 12, '{\"skipped_no_identifier\": 416}')",
            run_id, run_id,
        )  # fmt: skip
    await site.sql(
        "UPDATE keepstep.runs SET state = %s, error = %s, finished_at = now() WHERE id = %s", state, value, run_id
    )
    return run_id


async def opened(browser: Watched, path: str, name: str, theme: str = "light") -> Page:
    await browser.context.add_cookies([{"name": "keepstep_theme", "value": theme, "url": browser.url}])
    await browser.sign_in(name)
    return await browser.page(path)


async def test_an_admin_pauses_with_a_reason_resumes_and_runs_one_now(browser: Watched, site: Served) -> None:
    await connected(site, "ben")
    page = await opened(browser, MATRIX, "ana")
    row = page.locator("#owners tbody tr").filter(has_text="ben")
    await expect(row).to_contain_text("in 23 hours")
    await row.get_by_role("button", name="Pause ben").click()
    await page.locator("#confirm-reason").fill("Too many requests.")
    await page.locator("#confirm-yes").click()
    await expect(row).to_contain_text("Too many requests. (ana)")
    async with site.signed_in("ben") as ben:
        [told] = (await ben.get("/api/auto-sync")).json()
    await row.get_by_role("button", name="Sync ben now").click(force=True)  # it says why it cannot be pressed
    await expect(page.locator("#toasts")).to_contain_text("It cannot be synced: paused.")
    behind = "getComputedStyle(document.getElementById('toasts'), '::backdrop').backgroundColor"
    assert await page.evaluate(behind) == "rgba(0, 0, 0, 0)"  # what is said covers nothing
    await row.get_by_role("button", name="Resume ben").click()
    await expect(row).to_contain_text("connected")
    await row.get_by_role("button", name="Sync ben now").click()
    await expect(page.locator("#toasts")).to_contain_text("of ben is live.")

    assert (told["state"], told["reason"]) == ("paused", "Too many requests.")
    assert len(await site.sql("SELECT 1 FROM keepstep.runs WHERE state = 'queued'")) == 1


async def test_the_matrix_says_who_fails_and_why(browser: Watched, site: Served) -> None:
    await ended(site, await connected(site, "ben"), Transient("Google is away."))
    await ended(site, await connected(site, "eva"), AuthFailed("Google refuses the token.", fix="Connect again."))
    page = await opened(browser, f"{MATRIX}?failing=true", "ana")
    rows = page.locator("#owners tbody tr")
    await expect(rows).to_have_count(2)
    await expect(rows.filter(has_text="ben")).to_contain_text("Google is away.")
    await page.get_by_label("State").select_option("needs-reconnect")
    await expect(rows).to_have_count(1)
    await expect(rows).to_contain_text("Google refuses the token.")
    await expect(page.locator("#owner-counts")).to_contain_text("1 connect again")


async def test_100_000_rows_are_searched_and_paged_by_the_server(browser: Watched, site: Served) -> None:
    await site.sql("INSERT INTO keepstep.connections (integration, own_credentials, owner_id, workspace)"
                   " SELECT 'google_contacts', true, 'owner-' || to_char(n, 'FM000000'), 'ws-' || n % 100"
                   " FROM generate_series(1, 100000) n")  # fmt: skip
    page = await opened(browser, MATRIX, "ana")
    rows = page.locator("#owners tbody tr")
    await expect(rows).to_have_count(50)
    await expect(page.locator("#owner-counts")).to_contain_text("100,000 not connected")
    await page.get_by_role("link", name="Next").click()
    await expect(rows.first).to_contain_text("owner-000051")
    await page.get_by_label("Search").fill("owner-0999")
    await expect(rows.first).to_contain_text("owner-099900")
    assert "after" not in page.url
    await page.get_by_label("Search").fill("nobody at all")
    await expect(page.locator("#owners")).to_contain_text("Nobody matches")


async def test_a_user_turns_contacts_on_chooses_how_often_and_sees_when_it_comes(
    browser: Watched, site: Served
) -> None:
    page = await opened(browser, "/contacts", "ben")
    await expect(page.get_by_role("link", name="Connect")).to_have_attribute(
        "href", "/api/connections/google_contacts/connect?next=/contacts"
    )
    await page.get_by_role("switch", name="AutoSync").click()
    await expect(page.locator("#next-sync")).to_have_text("waits until it is connected")
    await page.get_by_role("button", name="12 hours").click()
    await expect(page.get_by_role("button", name="12 hours")).to_have_attribute("aria-pressed", "true")
    await page.get_by_label("or your own").fill("7")
    await page.get_by_role("button", name="Save").click()
    await expect(page.get_by_role("button", name="12 hours")).to_have_attribute("aria-pressed", "false")
    async with site.signed_in("ben") as client:
        config = (await client.get("/api/logos-vision/auto-sync/config")).json()
    assert (config["enabled"], config["interval_hours"]) == (True, 7)

    whose = await connected(site, "ben")
    await ended(site, whose)
    await page.reload()
    await expect(page.locator("#next-sync")).to_have_text("in 23 hours")
    await expect(page.locator("#last-sync")).to_contain_text("12 synced, 416 skipped")
    await page.locator("#next-sync time").evaluate("(time) => { time.dateTime = new Date(Date.now() + 110e3); }")
    await expect(page.locator("#next-sync")).to_have_text("in 2 minutes")
    await page.get_by_role("button", name="Sync now").click()
    await expect(page.locator("#live-run")).to_contain_text("A sync is queued")


async def test_what_is_wrong_is_said_in_words_with_the_way_out(browser: Watched, site: Served) -> None:
    whose = await connected(site, "ben")
    await ended(site, whose, Transient("Google is away.", fix="Nothing to do."))
    page = await opened(browser, "/contacts", "ben")
    await expect(page.locator("#auto-sync")).to_contain_text("Google is away.")
    await expect(page.locator("#auto-sync")).to_contain_text("It is tried again by itself.")
    await ended(site, whose, AuthFailed("Google refuses the token.", fix="Connect again."))
    await page.reload()
    await expect(page.locator("#auto-sync")).to_contain_text("Google refuses the token.")
    await expect(page.get_by_role("link", name="Reconnect")).to_be_visible()
    await site.service.owners.connect(KEY, whose, {"tokens": "{}"}, by="ben")
    await site.service.owners.pause(KEY, whose, reason="Too many requests.", by="ana")
    await page.reload()
    await expect(page.locator("#auto-sync")).to_contain_text("Paused by ana: Too many requests.")
    await site.service.owners.pause(KEY, whose, reason="We are moving.", by="token:ADMIN_SYNC_TOKEN")
    await page.reload()
    await expect(page.locator("#auto-sync")).to_contain_text("Paused by an administrator: We are moving.")


async def test_a_user_reads_that_an_administrator_decides_about_what_is_gone(browser: Watched, site: Served) -> None:
    run_id = await ended(site, await connected(site, "ben"))
    await site.sql("UPDATE keepstep.runs SET state = 'held' WHERE id = %s", run_id)
    page = await opened(browser, "/contacts", "ben")
    await expect(page.locator("#auto-sync")).to_contain_text("stays here until an administrator has decided")
    await expect(page.locator("#last-sync")).to_contain_text("12 synced, 416 skipped")
    await site.sql("UPDATE keepstep.runs SET state = 'succeeded' WHERE id = %s", run_id)
    await page.reload()
    await expect(page.locator("#last-sync")).to_contain_text("12 synced, 416 skipped")
    await expect(page.locator("#auto-sync")).not_to_contain_text("administrator")


async def test_a_user_who_signs_in_begins_with_their_contacts_and_sees_only_their_own(
    browser: Watched, site: Served
) -> None:
    await ended(site, await connected(site, "eva"), Transient("The secret trouble of eva."))
    page = await browser.page("/login")
    await page.get_by_label("Name").fill("ben")
    await page.get_by_label("Password").fill("a few good words")
    await page.keyboard.press("Enter")
    await page.wait_for_url("**/contacts")
    await expect(page.locator("#own-runs")).to_contain_text("No sync yet")
    await expect(page.locator("#auto-sync")).to_contain_text("Google Contacts is not connected")
    assert "The secret trouble of eva." not in await page.content()
    await page.locator("#user-menu summary").click()
    entries = await page.locator("#user-menu nav a").all_inner_texts()
    assert [entry.strip() for entry in entries] == ["Your contacts", "Your mail"]
    async with site.signed_in("ben") as ben:
        assert (await ben.get(MATRIX)).status_code == 403


async def test_mail_is_set_in_minutes(browser: Watched, site: Served) -> None:
    page = await opened(browser, "/settings/auto-sync", "ben")
    await page.get_by_role("switch", name="AutoSync").click()
    await page.get_by_role("button", name="30 minutes").click()
    await expect(page.get_by_role("button", name="30 minutes")).to_have_attribute("aria-pressed", "true")
    async with site.signed_in("ben") as client:
        loaded = (await client.get("/api/settings/load-auto-sync")).json()
    assert loaded["settings"] == {"enabled": True, "interval_minutes": 30}
    await page.get_by_label("or your own").fill("7")
    await page.get_by_role("button", name="Save").click()
    await expect(page.get_by_role("button", name="30 minutes")).to_have_attribute("aria-pressed", "false")
    async with site.signed_in("eva") as client:
        assert (await client.get("/api/settings/load-auto-sync")).json()["settings"]["enabled"] is False


@THEMES
async def test_the_pages_of_auto_sync_are_accessible(browser: Watched, site: Served, theme: str) -> None:
    await ended(site, await connected(site, "ben"), Transient("Google is away."))
    await ended(site, await connected(site, "eva"), AuthFailed("Google refuses the token.", fix="Connect again."))
    assert await violations(await opened(browser, MATRIX, "ana", theme)) == []
    for name in ("ben", "eva"):
        for path in ("/contacts", "/settings/auto-sync"):
            assert await violations(await opened(browser, path, name, theme)) == [], (name, path)
