"""The schedule, the settings and the alerts, changed while Keepstep runs."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from keepstep.alerts.teams import is_legacy, judged
from tests.support.site import Served, served
from tests.support.webhook import Webhook, webhook

SETTINGS = "/api/admin/sync/settings"
SCHEDULE = "/api/admin/sync/schedule"
SECRET = "webhook-signature-0123456789"


@pytest.fixture
async def site(dsn: str, tmp_path: Path) -> AsyncIterator[Served]:
    async with served(dsn, tmp_path, DOORLOOP_API_KEY="k" * 30, DOORLOOP_PAGE_SIZE="50") as site:
        yield site


@pytest.fixture
async def hook() -> AsyncIterator[Webhook]:
    async with webhook() as hook:
        yield hook


async def lines(site: Served) -> dict[str, dict[str, Any]]:
    setup = (await site.admin.get(SETTINGS)).json()
    return {line["variable"]: line for line in setup["settings"]}


async def choose(site: Served, variable: str, value: Any) -> httpx.Response:
    return await site.admin.put(f"{SETTINGS}/{variable}", json={"value": value})


async def test_every_setting_says_where_it_comes_from(site: Served) -> None:
    found = await lines(site)

    assert found["DOORLOOP_PAGE_SIZE"] == {
        "variable": "DOORLOOP_PAGE_SIZE", "value": "50", "source": "environment", "note": "", "locked": True,
        "editable": False, "secret": False, "accepts": "1 to 1000", "meaning": "Records asked for in one request.",
    }  # fmt: skip
    assert (found["KEEPSTEP_DROP_GUARD_PERCENT"]["source"], found["KEEPSTEP_DROP_GUARD_PERCENT"]["editable"]) == (
        "default", True,
    )  # fmt: skip
    assert found["DOORLOOP_API_KEY"]["value"] == "kkkk…kkkk"


async def test_a_setting_is_changed_without_a_restart_and_goes_back_to_its_default(site: Served) -> None:
    changed = await choose(site, "ALLOW_MANUAL_BACKFILL", "off")
    refused = await site.admin.post("/api/admin/sync/run", json={"entities": ["owners"], "mode": "full"})
    forgotten = await site.admin.delete(f"{SETTINGS}/ALLOW_MANUAL_BACKFILL")
    accepted = await site.admin.post("/api/admin/sync/run", json={"entities": ["owners"], "mode": "full"})

    assert (changed.json()["value"], changed.json()["source"]) == ("false", "database")
    assert (refused.status_code, accepted.status_code) == (403, 202)
    assert (forgotten.json()["value"], forgotten.json()["source"]) == ("true", "default")
    audit = (await site.admin.get("/api/admin/audit")).json()
    assert [entry["payload"] for entry in audit if entry["action"] == "setting.change"] == [
        {"setting": "ALLOW_MANUAL_BACKFILL", "value": None}, {"setting": "ALLOW_MANUAL_BACKFILL", "value": "off"},
    ]  # fmt: skip


async def test_another_process_sees_the_change_within_seconds(site: Served, dsn: str, tmp_path: Path) -> None:
    async with served(dsn, tmp_path / "other", DOORLOOP_API_KEY="k" * 30) as other:
        before = (await lines(other))["KEEPSTEP_STALE_AFTER_HOURS"]["value"]
        await choose(site, "KEEPSTEP_STALE_AFTER_HOURS", "3")
        async with asyncio.timeout(30):
            while (await lines(other))["KEEPSTEP_STALE_AFTER_HOURS"]["value"] != "3":  # noqa: ASYNC110
                await asyncio.sleep(0.1)

    assert before == "12"


async def test_what_the_environment_gives_is_locked(site: Served) -> None:
    for answer in (
        await choose(site, "DOORLOOP_PAGE_SIZE", "10"),
        await choose(site, "DATABASE_URL", "postgresql://x/y"),
    ):
        assert (answer.status_code, answer.json()["fix"].startswith("Set by environment")) == (409, True)
    for variable in ("KEEPSTEP_PORT", "KEEPSTEP_SECRET_KEY", "AUTO_SYNC_ENABLED"):
        answer = await choose(site, variable, "1")
        assert (answer.status_code, bool(answer.json()["fix"])) == (409, True), variable
    assert (await choose(site, "NO_SUCH_SETTING", "1")).status_code == 404
    assert (await lines(site))["DOORLOOP_PAGE_SIZE"]["value"] == "50"


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("KEEPSTEP_DROP_GUARD_PERCENT", "101", "more than 100"),
        ("KEEPSTEP_DROP_GUARD_PERCENT", "many", "not a whole number"),
        ("ALLOW_MANUAL_BACKFILL", "perhaps", "neither true nor false"),
        ("INTEGRATIONS_TEAMS_WEBHOOK", "not an address", "is not a web address"),
        ("DOORLOOP_BASE_URL", "ftp://x", "is not a web address"),
        ("KEEPSTEP_BREAKER_THRESHOLD", "9" * 400, "KEEPSTEP_BREAKER_THRESHOLD is"),
        ("KEEPSTEP_BREAKER_THRESHOLD", 5, "value"),
        ("KEEPSTEP_BREAKER_THRESHOLD", "", "value"),
        ("KEEPSTEP_BREAKER_THRESHOLD", " ", "value"),
        ("KEEPSTEP_BREAKER_THRESHOLD", "5\0", "value"),
    ],
)
async def test_a_value_that_cannot_be_is_refused_in_words(site: Served, variable: str, value: Any, words: str) -> None:
    refused = await choose(site, variable, value)

    assert (refused.status_code, words in refused.json()["detail"]) == (422, True), refused.text
    assert (await lines(site))[variable]["source"] == "default"


async def test_a_secret_setting_is_readable_nowhere(site: Served, hook: Webhook) -> None:
    changed = await choose(site, "INTEGRATIONS_TEAMS_WEBHOOK", f"{hook.host}/workflows/x?sig={SECRET}")
    shown = [changed.text, (await site.admin.get(SETTINGS)).text, (await site.admin.get("/api/admin/audit")).text]
    kept = await site.sql(
        "SELECT value::text FROM keepstep.settings UNION ALL SELECT payload::text FROM keepstep.admin_logs"
    )

    assert changed.json()["source"] == "database"
    assert SECRET not in "".join(shown) + str(kept)
    assert (await site.admin.post("/api/admin/alerts/test")).json()["delivered"] is True


async def test_a_setting_that_no_key_opens_any_more_counts_as_not_set(dsn: str, tmp_path: Path, hook: Webhook) -> None:
    async with served(dsn, tmp_path, KEEPSTEP_SECRET_KEY="one") as site:
        await choose(site, "INTEGRATIONS_TEAMS_WEBHOOK", f"{hook.host}/x")
    async with served(dsn, tmp_path, KEEPSTEP_SECRET_KEY="another") as site:
        line = (await lines(site))["INTEGRATIONS_TEAMS_WEBHOOK"]

    assert line["source"] == "default"


async def test_a_part_of_the_schedule_is_changed_and_the_rest_stays(site: Served) -> None:
    before = (await site.admin.get(SCHEDULE)).json()
    enabled = (await site.admin.put(SCHEDULE, json={"enabled": True, "fullAtHourUtc": 5})).json()
    later = (await site.admin.put(SCHEDULE, json={"intervalMinutes": 30, "fullAtHourUtc": None})).json()
    status = (await site.admin.get("/api/admin/sync/status")).json()

    assert (before["enabled"], before["nextRun"]) == (False, None)
    assert (enabled["enabled"], enabled["fullAtHourUtc"], enabled["intervalMinutes"]) == (True, 5, 10)
    assert enabled["nextRun"] is not None
    assert (later["enabled"], later["fullAtHourUtc"], later["intervalMinutes"]) == (True, None, 30)
    assert (status["scheduler"]["enabled"], status["scheduler"]["intervalMinutes"]) == (True, 30)
    assert status["nextRun"] == later["nextRun"]
    assert (await lines(site))["AUTO_SYNC_INTERVAL_MINUTES"]["value"] == "30"


@pytest.mark.parametrize(
    "body",
    [{}, {"intervalMinutes": 1}, {"intervalMinutes": "10"}, {"fullAtHourUtc": 24}, {"entities": []},
     {"entities": ["nosuch"]}, {"enabled": 1}, {"interval": 10}, {"intervalMinutes": None}, {"enabled": None}],
)  # fmt: skip
async def test_a_schedule_that_cannot_be_is_refused(site: Served, body: dict[str, Any]) -> None:
    refused = await site.admin.put(SCHEDULE, json=body)

    assert refused.status_code == 422, refused.text


async def test_a_schedule_of_the_environment_is_locked(dsn: str, tmp_path: Path) -> None:
    async with served(dsn, tmp_path, AUTO_SYNC_ENABLED="true", AUTO_SYNC_INTERVAL_MINUTES="15") as site:
        refused = await site.admin.put(SCHEDULE, json={"intervalMinutes": 20})
        same = await site.admin.put(SCHEDULE, json={"intervalMinutes": 15, "fullAtHourUtc": 3})
        status = (await site.admin.get("/api/admin/sync/status")).json()

    assert (refused.status_code, refused.json()["fix"].startswith("Set by environment")) == (409, True)
    assert same.status_code == 200
    assert status["scheduler"]["envLocked"] == ["enabled", "intervalMinutes"]


async def test_there_are_no_alerts_and_a_test_needs_a_webhook(site: Served) -> None:
    alerts = await site.admin.get("/api/admin/alerts")
    without = await site.admin.post("/api/admin/alerts/test")

    assert (alerts.status_code, alerts.json()["items"], alerts.json()["count"]) == (200, [], 0)
    assert (alerts.json()["webhook"]["set"], alerts.json()["webhook"]["kind"]) == (False, "none")
    assert (without.status_code, "INTEGRATIONS_TEAMS_WEBHOOK" in without.json()["fix"]) == (409, True)


async def test_a_test_message_is_an_adaptive_card_or_for_a_connector_its_own(site: Served, hook: Webhook) -> None:
    await choose(
        site, "INTEGRATIONS_TEAMS_WEBHOOK", f"{hook.host}/workflows/abc/triggers/manual/paths/invoke?sig={SECRET}"
    )
    accepted = (await site.admin.post("/api/admin/alerts/test")).json()
    hook.status, hook.body = (
        200,
        "Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 429",
    )
    limited = (await site.admin.post("/api/admin/alerts/test")).json()
    await choose(site, "INTEGRATIONS_TEAMS_WEBHOOK", f"{hook.host}/webhookb2/abc")
    hook.body = "1"
    legacy = (await site.admin.post("/api/admin/alerts/test")).json()
    hook.status = 302
    moved = (await site.admin.post("/api/admin/alerts/test")).json()
    await choose(site, "INTEGRATIONS_TEAMS_WEBHOOK", "http://127.0.0.1:1/nobody")
    nobody = (await site.admin.post("/api/admin/alerts/test")).json()

    workflow, _, connector, _ = hook.posted
    [attachment] = workflow["attachments"]
    assert (workflow["type"], attachment["contentType"]) == ("message", "application/vnd.microsoft.card.adaptive")
    assert (attachment["content"]["type"], attachment["content"]["version"]) == ("AdaptiveCard", "1.4")
    assert (connector["@type"], bool(connector["sections"])) == ("MessageCard", True)
    assert (accepted["delivered"], accepted["status"], legacy["delivered"]) == (True, 202, True)
    assert [answer["delivered"] for answer in (limited, moved, nobody)] == [False] * 3
    assert all(answer["fix"] for answer in (limited, moved, nobody))
    assert (nobody["status"], SECRET in str([accepted, limited, legacy])) == (None, False)
    kept = await site.sql("SELECT channel, kind, state, status, answer FROM keepstep.alert_messages ORDER BY id")
    assert [(row["kind"], row["state"]) for row in kept] == [
        ("test", state) for state in ("sent", "failed", "sent", "failed", "failed")
    ]
    assert SECRET not in str(kept)


def test_an_address_tells_which_card_it_takes() -> None:
    legacy = (
        "https://outlook.office.com/webhook/x",
        "https://contoso.webhook.office.com/webhookb2/a@b/IncomingWebhook/c",
    )
    workflows = (
        "https://prod-01.westeurope.logic.azure.com:443/workflows/x/triggers/manual/paths/invoke?sig=y",
        "https://default1.environment.api.powerplatform.com:443/powerautomate/automations/direct/workflows/x",
    )

    assert [is_legacy(address) for address in (*legacy, *workflows)] == [True, True, False, False]


@pytest.mark.parametrize(
    ("status", "body", "delivered"),
    [(202, "", True), (200, "1", True), (200, "", True), (200, "returned HTTP error 429 with ContextId", False),
     (429, "", False), (401, "", False), (404, "", False), (413, "Request entity too large", False), (500, "", False)],
)  # fmt: skip
def test_success_is_202_or_200_without_an_embedded_429(status: int, body: str, delivered: bool) -> None:
    found = judged(status, body)

    assert (found.delivered, bool(found.fix)) == (delivered, not delivered)
