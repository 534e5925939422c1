"""Each user's own auto-sync of contacts and mail, over real HTTP."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from keepstep.service.auto_sync import CONTACTS, MAIL, AutoSync, Kind
from tests.support.site import Served, served

CONTACTS_URL = "/api/logos-vision/auto-sync/config"
SAVE, LOAD = "/api/settings/save-auto-sync", "/api/settings/load-auto-sync"
DUE = """
SELECT c.owner_id, t.due_at <= now() AS due FROM keepstep.schedule_times t
JOIN keepstep.schedules s ON s.id = t.schedule_id JOIN keepstep.connections c ON c.id = s.connection_id
"""


@pytest.fixture
async def site(dsn: str, tmp_path: Path) -> AsyncIterator[Served]:
    async with served(dsn, tmp_path) as site:
        yield site


@pytest.fixture
async def ana(site: Served) -> AsyncIterator[httpx.AsyncClient]:
    await site.user("ana")
    async with site.signed_in("ana") as client:
        yield client


async def connect(site: Served, owner: str, kind: Kind) -> None:
    """As consent does: the owner's connection has credentials from now on."""
    await site.sql(
        "UPDATE keepstep.connections SET credentials = '\\x00', credentials_set_at = now()"
        " WHERE owner_id = %s AND integration = %s", owner, kind.integration,
    )  # fmt: skip


async def put(client: httpx.AsyncClient, **body: Any) -> httpx.Response:
    return await client.put(CONTACTS_URL, json=body)


async def test_the_defaults_are_told_when_nothing_was_set(site: Served, ana: httpx.AsyncClient) -> None:
    contacts = await ana.get(CONTACTS_URL, params={"workspace_id": "ws-1"})
    mail = await ana.get(LOAD)

    assert contacts.json() == {"enabled": False, "interval_hours": 24, "last_sync_at": None, "next_sync_at": None}
    assert mail.json() == {"success": True, "settings": {"enabled": False, "interval_minutes": 15}}
    assert await site.sql("SELECT 1 FROM keepstep.connections") == []


async def test_contacts_are_turned_on_and_the_next_sync_is_told(site: Served, ana: httpx.AsyncClient) -> None:
    before = datetime.now(UTC)
    answer = await put(ana, workspace_id="ws-1", enabled=True, interval_hours=24)
    again = await ana.get(CONTACTS_URL, params={"workspace_id": "ws-1"})

    assert answer.status_code == 200
    assert set(answer.json()) == {"enabled", "interval_hours", "last_sync_at", "next_sync_at"}
    assert (answer.json()["enabled"], answer.json()["interval_hours"], answer.json()["last_sync_at"]) == (
        True, 24, None,
    )  # fmt: skip
    ahead = datetime.fromisoformat(answer.json()["next_sync_at"]) - before
    assert timedelta(hours=23, minutes=58) < ahead < timedelta(hours=24, minutes=5)
    assert again.json() == answer.json()


async def test_mail_is_saved_and_loaded(ana: httpx.AsyncClient) -> None:
    saved = await ana.post(SAVE, json={"enabled": True, "interval_minutes": 30})
    loaded = await ana.get(LOAD)

    assert saved.json() == {"success": True}
    assert loaded.json() == {"success": True, "settings": {"enabled": True, "interval_minutes": 30}}


async def test_what_is_left_out_stays(ana: httpx.AsyncClient) -> None:
    await put(ana, enabled=True, interval_hours=12)
    off = await put(ana, enabled=False)
    on = await put(ana, enabled=True)

    assert (off.json()["interval_hours"], off.json()["next_sync_at"]) == (12, None)
    assert (on.json()["interval_hours"], on.json()["enabled"]) == (12, True)


@pytest.mark.parametrize("hours", [0, -1, 721, 10**12])
async def test_an_interval_of_contacts_that_cannot_be_is_refused_with_a_fix(
    site: Served, ana: httpx.AsyncClient, hours: int
) -> None:
    answer = await put(ana, enabled=True, interval_hours=hours)

    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert answer.json()["fix"] == "Give a whole number of hours from 1 to 720."
    assert await site.sql("SELECT 1 FROM keepstep.schedules s JOIN keepstep.connections c ON c.id = s.connection_id"
                          " WHERE c.owner_id IS NOT NULL") == []  # fmt: skip


@pytest.mark.parametrize("minutes", [4, 1441, 0])
async def test_an_interval_of_mail_that_cannot_be_is_refused_with_a_fix(ana: httpx.AsyncClient, minutes: int) -> None:
    answer = await ana.post(SAVE, json={"enabled": True, "interval_minutes": minutes})

    assert (answer.status_code, answer.json()["fix"]) == (422, "Give a whole number of minutes from 5 to 1440.")


@pytest.mark.parametrize("body", [{"enabled": "yes"}, {"interval_hours": 1.5}, {"interval_hours": "24"},
                                  {"enabled": True, "owner": "1"}, {"workspace_id": "a\x00"}])  # fmt: skip
async def test_a_body_of_another_shape_is_a_problem(ana: httpx.AsyncClient, body: dict[str, Any]) -> None:
    answer = await put(ana, **body)

    assert answer.status_code == 422
    assert answer.json()["fix"]


async def test_the_bounds_themselves_are_accepted(ana: httpx.AsyncClient) -> None:
    for hours in (1, 720):
        assert (await put(ana, enabled=True, interval_hours=hours)).json()["interval_hours"] == hours
    for minutes in (5, 1440):
        await ana.post(SAVE, json={"enabled": True, "interval_minutes": minutes})
        assert (await ana.get(LOAD)).json()["settings"]["interval_minutes"] == minutes


async def test_two_tabs_and_double_toggles_make_one_schedule(site: Served, ana: httpx.AsyncClient) -> None:
    async with site.signed_in("ana") as tab:
        answers = await asyncio.gather(*(put(client, enabled=True, interval_hours=4) for client in (ana, tab) * 5))

    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["next_sync_at"] for answer in answers}) == 1
    [row] = await site.sql(
        "SELECT count(*) AS n, count(DISTINCT s.connection_id) AS connections FROM keepstep.schedules s"
        " JOIN keepstep.connections c ON c.id = s.connection_id WHERE c.owner_id IS NOT NULL"
    )
    assert (row["n"], row["connections"]) == (1, 1)


async def test_what_is_not_connected_is_never_due(site: Served, ana: httpx.AsyncClient) -> None:
    await put(ana, enabled=True, interval_hours=1)
    await site.sql("SELECT keepstep.make_due(id) FROM keepstep.schedules")
    [dispatched] = await site.sql("SELECT started FROM keepstep.dispatch_due(100, now() + interval '3 days')")

    assert await site.sql(DUE) == []
    assert dispatched["started"] == []
    assert await site.sql("SELECT state FROM keepstep.connections WHERE owner_id IS NOT NULL") == [
        {"state": "needs-connecting"}
    ]


async def test_the_first_sync_is_due_at_once_when_the_connection_is_there(
    site: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = str(await site.user("ben"))
    monkeypatch.setitem(site.service.auto_sync.entities, CONTACTS.integration, ["connections"])  # as if it were there
    async with site.signed_in("ben") as ben:
        await put(ben, enabled=False)
        await connect(site, owner, CONTACTS)
        waiting = await site.sql(DUE)
        answer = await put(ben, enabled=True, interval_hours=4)
        due = await site.sql(DUE)
        await put(ben, enabled=True, interval_hours=4)
        [run] = await site.sql("SELECT cardinality(started) AS n FROM keepstep.dispatch_due()")
        again = await put(ben, enabled=True, interval_hours=4)
        [none] = await site.sql("SELECT cardinality(started) AS n FROM keepstep.dispatch_due()")

    assert (waiting, due) == ([], [{"owner_id": owner, "due": True}])
    assert (run["n"], none["n"]) == (1, 0)
    assert again.json()["next_sync_at"] == answer.json()["next_sync_at"]


async def test_a_schedule_begins_by_itself_once_its_owner_has_connected(site: Served, ana: httpx.AsyncClient) -> None:
    [user] = await site.sql("SELECT id FROM keepstep.users WHERE name = 'ana'")
    await put(ana, enabled=True, interval_hours=4)
    await connect(site, str(user["id"]), CONTACTS)

    assert await site.sql(DUE) == [{"owner_id": str(user["id"]), "due": True}]


async def test_an_integration_that_is_not_there_makes_nothing_due_until_it_is(
    site: Served, ana: httpx.AsyncClient
) -> None:
    [user] = await site.sql("SELECT id FROM keepstep.users WHERE name = 'ana'")
    await put(ana, enabled=True, interval_hours=4)
    await connect(site, str(user["id"]), CONTACTS)
    without = AutoSync(site.service.database, site.service.audit, {})
    await without.settle()
    nothing = await site.sql(DUE)
    there = AutoSync(site.service.database, site.service.audit, {CONTACTS.integration: ["people", "groups"]})
    await there.settle()
    await there.settle()

    assert (nothing, await site.sql(DUE)) == ([], [{"owner_id": str(user["id"]), "due": True}])
    assert await site.sql("SELECT entities FROM keepstep.schedules s JOIN keepstep.connections c"
                          " ON c.id = s.connection_id WHERE c.owner_id IS NOT NULL") == [
        {"entities": ["people", "groups"]}
    ]  # fmt: skip


async def test_a_user_has_only_their_own_and_an_admin_any(site: Served, ana: httpx.AsyncClient) -> None:
    [user] = await site.sql("SELECT id FROM keepstep.users WHERE name = 'ana'")
    own = str(user["id"])
    await site.user("ben", role="operator")
    await put(ana, workspace_id="ws-1", enabled=True, interval_hours=4)
    async with site.signed_in("ben") as ben:
        peeked = await ben.get(CONTACTS_URL, params={"workspace_id": own})
        changed = await put(ben, workspace_id=own, enabled=False)
        bens = await ben.get(CONTACTS_URL, params={"workspace_id": "ws-1"})
    by_id = await site.admin.get(CONTACTS_URL, params={"workspace_id": own})
    by_workspace = await site.admin.get(CONTACTS_URL, params={"workspace_id": "ws-1"})
    by_admin = await put(site.admin, workspace_id=own, interval_hours=8)

    assert (peeked.status_code, changed.status_code, bens.json()["enabled"]) == (403, 403, False)
    assert peeked.json()["fix"]
    assert by_id.json() == by_workspace.json()
    assert by_id.json()["interval_hours"] == 4
    assert (by_admin.json()["interval_hours"], (await ana.get(CONTACTS_URL)).json()["interval_hours"]) == (8, 8)


async def test_an_admin_is_asked_whom_they_mean_where_several_users_share_a_workspace(
    site: Served, ana: httpx.AsyncClient
) -> None:
    await site.user("ben")
    await put(ana, workspace_id="ws-1", enabled=True)
    async with site.signed_in("ben") as ben:
        await put(ben, workspace_id="ws-1", enabled=True)
    answer = await site.admin.get(CONTACTS_URL, params={"workspace_id": "ws-1"})

    assert (answer.status_code, answer.json()["fix"]) == (409, "Give the id of one of them as workspace_id.")


async def test_an_administrator_who_gives_an_id_changes_nothing_of_the_owners_workspace(
    site: Served, ana: httpx.AsyncClient
) -> None:
    [user] = await site.sql("SELECT id FROM keepstep.users WHERE name = 'ana'")
    await put(ana, workspace_id="ws-1", enabled=True)
    await put(site.admin, workspace_id=str(user["id"]), enabled=False)

    assert await site.sql("SELECT workspace FROM keepstep.connections WHERE owner_id IS NOT NULL") == [
        {"workspace": "ws-1"}
    ]


async def test_nobody_takes_the_place_of_another_user_by_naming_a_workspace_like_them(
    site: Served, ana: httpx.AsyncClient
) -> None:
    await put(ana, workspace_id="999", enabled=True, interval_hours=3)
    await site.sql("INSERT INTO keepstep.users (name, subject, role) VALUES ('ben', 'ben-id', 'user')")
    await put(ana, workspace_id="ben-id-to-come", enabled=True)
    await site.sql("INSERT INTO keepstep.users (name, subject, role) VALUES ('cy', 'ben-id-to-come', 'user')")
    answer = await site.admin.get(CONTACTS_URL, params={"workspace_id": "ben-id-to-come"})

    assert answer.json()["enabled"] is False


async def test_a_user_who_is_removed_leaves_nothing_that_goes_on(site: Served, ana: httpx.AsyncClient) -> None:
    [user] = await site.sql("SELECT id FROM keepstep.users WHERE name = 'ana'")
    await put(ana, enabled=True)
    await connect(site, str(user["id"]), CONTACTS)
    await site.admin.delete(f"/api/admin/users/{user['id']}")
    [left] = await site.sql(
        "SELECT c.credentials, c.state, s.enabled FROM keepstep.connections c"
        " JOIN keepstep.schedules s ON s.connection_id = c.id WHERE c.owner_id IS NOT NULL"
    )

    assert left == {"credentials": None, "state": "needs-connecting", "enabled": False}
    assert await site.sql(DUE) == []


async def test_a_token_is_an_owner_of_its_own(site: Served) -> None:
    header = await site.token("viewer")
    saved = await site.nobody.post(SAVE, json={"enabled": True, "interval_minutes": 20}, headers=header)
    own = await site.nobody.get(LOAD, headers=header)
    admins = await site.admin.get(LOAD)

    assert saved.json() == {"success": True}
    assert own.json()["settings"] == {"enabled": True, "interval_minutes": 20}
    assert admins.json()["settings"]["enabled"] is False


async def test_every_change_is_audited(site: Served, ana: httpx.AsyncClient) -> None:
    await put(ana, workspace_id="ws-1", enabled=True, interval_hours=12)
    await put(ana, enabled=True, interval_hours=12)
    rows = await site.sql("SELECT \"user\", payload, result FROM keepstep.admin_logs WHERE action = 'auto-sync.set'"
                          " ORDER BY id")  # fmt: skip

    assert [(row["user"], row["result"]) for row in rows] == [
        ("ana", "off (24 hours) -> every 12 hours"), ("ana", "nothing changed"),
    ]  # fmt: skip
    assert rows[0]["payload"]["workspace"] == "ws-1"
    assert (rows[0]["payload"]["integration"], rows[0]["payload"]["interval_hours"]) == ("google_contacts", 12)


async def test_a_config_survives_a_restart(dsn: str, tmp_path: Path) -> None:
    async with served(dsn, tmp_path) as first:
        await first.user("ana")
        async with first.signed_in() as ana:
            before = (await put(ana, enabled=True, interval_hours=48)).json()
    async with served(dsn, tmp_path) as second, second.signed_in() as ana:
        after = (await ana.get(CONTACTS_URL)).json()

    assert after == before


def test_each_kind_has_its_own_unit() -> None:
    assert (CONTACTS.name, MAIL.name) == ("interval_hours", "interval_minutes")


async def test_an_empty_workspace_is_none_and_leaves_the_one_that_is_known(
    site: Served, ana: httpx.AsyncClient
) -> None:
    await put(ana, workspace_id="ws-1", enabled=True)
    await put(ana, workspace_id="", interval_hours=4)
    by_workspace = await site.admin.get(CONTACTS_URL, params={"workspace_id": "ws-1"})

    assert by_workspace.json()["interval_hours"] == 4


async def test_no_next_sync_is_told_while_somebody_has_to_end_a_wait_first(
    site: Served, ana: httpx.AsyncClient
) -> None:
    [user] = await site.sql("SELECT id FROM keepstep.users WHERE name = 'ana'")
    whose = {"integration": CONTACTS.integration, "owner": str(user["id"])}
    await put(ana, enabled=True)
    await connect(site, whose["owner"], CONTACTS)
    await site.admin.post("/api/admin/owners/pause", json={**whose, "reason": "Not now."})
    paused = (await ana.get(CONTACTS_URL)).json()
    await site.admin.post("/api/admin/owners/resume", json=whose)
    resumed = (await ana.get(CONTACTS_URL)).json()
    await site.service.owners.refuse(whose["integration"], whose["owner"], "The consent is gone.")
    refused = await put(ana, interval_hours=8)

    assert (paused["enabled"], paused["next_sync_at"]) == (True, None)
    assert resumed["next_sync_at"]
    assert (refused.json()["interval_hours"], refused.json()["next_sync_at"]) == (8, None)
