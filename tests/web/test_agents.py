"""The list of agents and one type now, over real HTTP, without an ERP that answers."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from keepstep.alerts.alerter import Alerter
from tests.support.host import SECRET, bearer, token
from tests.support.site import Served, served

URL = "/api/sync/agents"
ERP = {"ERP_BASE_URL": "http://127.0.0.1:9/erp", "ERP_USERNAME": "keepstep", "ERP_PASSWORD": "a password of the ERP"}


@pytest.fixture
async def site(dsn: str, tmp_path: Path) -> AsyncIterator[Served]:
    async with served(dsn, tmp_path, **ERP) as site:
        await site.service.agents.settle()
        yield site


async def add(site: Served, code: str, **more: Any) -> httpx.Response:
    return await site.admin.post(URL, json={"code": code, **more})


async def run(site: Served, name: str, **body: Any) -> httpx.Response:
    return await site.admin.post(f"/api/sync/run/{name}", json=body)


async def test_an_agent_is_added_changed_and_removed_and_each_act_is_written_down(site: Served) -> None:
    added = await add(site, "007", name="Niccolò Già")
    changed = await site.admin.patch(f"{URL}/007", json={"enabled": False})
    again = await site.admin.patch(f"{URL}/007", json={"enabled": False})
    removed = await site.admin.delete(f"{URL}/007")

    assert (added.status_code, added.json()["nextRun"] is None) == (201, False)
    assert (changed.status_code, changed.json()["enabled"], changed.json()["nextRun"]) == (200, False, None)
    assert (again.status_code, removed.status_code) == (200, 204)
    assert (await site.admin.get(URL)).json() == []
    acts = (await site.admin.get("/api/admin/audit")).json()
    assert [(act["action"], act["result"]) for act in reversed(acts)] == [
        ("agent.add", "done"), ("agent.change", "disabled"), ("agent.change", "nothing changed"),
        ("agent.remove", "done"),
    ]  # fmt: skip


async def test_what_cannot_be_is_refused_with_a_fix(site: Served) -> None:
    await add(site, "007")
    await add(site, "008", enabled=False)
    answers = {
        409: [await add(site, "007"), await run(site, "orders", agent="008")],
        404: [
            await site.admin.patch(f"{URL}/009", json={"enabled": True}), await site.admin.delete(f"{URL}/009"),
            await run(site, "orders", agent="009"), await run(site, "nosuch"),
            await site.admin.delete(f"{URL}/007/credentials"),
        ],
        422: [
            await add(site, ""), await add(site, " \u0001 "), await add(site, "x" * 65),
            await site.admin.patch(f"{URL}/007", json={}), await run(site, "prices", agent="007"),
            await site.admin.put(f"{URL}/007/credentials", json={"username": " ", "password": "x"}),
        ],
    }  # fmt: skip

    for status, refused in answers.items():
        for answer in refused:
            assert answer.status_code == status, answer.text
            assert answer.headers["content-type"].startswith("application/problem+json")
            assert answer.json()["detail"] and answer.json()["fix"]


async def test_who_may_not_act_may_look(site: Served) -> None:
    await add(site, "007")
    viewer, operator = await site.token("viewer"), await site.token("operator")
    listed = await site.nobody.get(URL, headers=viewer)
    acts = [
        await site.nobody.post(URL, json={"code": "008"}, headers=operator),
        await site.nobody.patch(f"{URL}/007", json={"enabled": False}, headers=operator),
        await site.nobody.delete(f"{URL}/007", headers=operator),
        await site.nobody.put(f"{URL}/007/credentials", json={"username": "a", "password": "b"}, headers=operator),
        await site.nobody.post("/api/sync/run/orders", headers=viewer),
    ]
    ran = await site.nobody.post("/api/sync/run/orders", headers=operator)

    assert (listed.status_code, len(listed.json())) == (200, 1)
    assert [answer.status_code for answer in acts] == [403] * 5
    assert ran.status_code == 202
    assert (await site.nobody.get(URL)).status_code == 401


async def test_one_type_now_says_what_becomes_of_every_agent(site: Served) -> None:
    for code in ("007", "008", "009"):
        await add(site, code)
    await site.admin.patch(f"{URL}/009", json={"enabled": False})
    [ddt] = (await run(site, "ddt", agent="007")).json()["runIds"]
    told = (await run(site, "orders")).json()
    again = (await run(site, "orders")).json()

    [eight] = told["runIds"]
    assert told == {
        "success": True, "type": "orders", "runIds": [eight], "busy": ["007"],
        "runs": [
            {"agent": "007", "state": "due", "runId": ddt}, {"agent": "008", "state": "queued", "runId": eight},
        ],
    }  # fmt: skip
    assert again["runIds"] == []
    assert again["runs"][1] == {"agent": "008", "state": "live", "runId": eight}
    [row] = await site.sql("SELECT trigger, actor, entities, mode FROM keepstep.runs WHERE id = %s", eight)
    assert row == {"trigger": "manual", "actor": "token:ADMIN_SYNC_TOKEN", "entities": ["orders"], "mode": "backfill"}


async def test_a_type_that_is_off_can_be_read_now_but_is_not_made_due(site: Served) -> None:
    await add(site, "007")
    await site.admin.post("/api/sync/intervals/orders", json={"enabled": False})
    await run(site, "ddt")
    busy = (await run(site, "orders")).json()
    await site.admin.post("/api/admin/sync/stop", params={"integration": "erp", "owner": "007"})
    free = (await run(site, "orders")).json()

    assert [one["state"] for one in busy["runs"]] == ["busy"]
    assert [one["state"] for one in free["runs"]] == ["queued"]


async def test_full_runs_by_hand_that_are_turned_off_leave_a_reading_without_deletions(
    dsn: str, tmp_path: Path
) -> None:
    async with served(dsn, tmp_path, **ERP, ALLOW_MANUAL_BACKFILL="false") as site:
        await site.service.agents.settle()
        await add(site, "007")
        [one] = (await run(site, "orders")).json()["runIds"]
        [row] = await site.sql("SELECT mode FROM keepstep.runs WHERE id = %s", one)

    assert row["mode"] == "delta"


async def test_what_belongs_to_agents_is_not_read_for_nobody(site: Served) -> None:
    answer = await site.admin.post("/api/admin/sync/run", json={"integration": "erp", "entities": ["customers"]})
    shared = await site.admin.post("/api/admin/sync/run", json={"integration": "erp"})

    assert (answer.status_code, "POST /api/sync/run/TYPE" in answer.json()["fix"]) == (422, True)
    [row] = await site.sql("SELECT entities FROM keepstep.runs WHERE id = %s", shared.json()["runId"])
    assert row["entities"] == ["products", "prices"]


async def test_an_erp_that_waits_for_its_account_is_not_stale(dsn: str, tmp_path: Path) -> None:
    async with served(dsn, tmp_path) as site:
        await add(site, "007")
        await site.sql("UPDATE keepstep.connections SET created_at = now() - interval '3 days'")
        planned = await site.sql("SELECT id FROM keepstep.schedules WHERE sync_type IS NOT NULL AND enabled")
        await Alerter(site.service.database, site.service.alerts.arrangement).round()
        alerts = await site.sql("SELECT rule FROM keepstep.alerts WHERE connection_id IS NOT NULL")

    assert len(planned) == 6
    assert alerts == []


async def test_runs_of_an_agent_are_for_staff_and_for_no_user_who_is_called_so(dsn: str, tmp_path: Path) -> None:
    async with served(dsn, tmp_path, KEEPSTEP_JWT_SECRET=SECRET, **ERP) as site:
        await site.service.agents.settle()
        await add(site, "A07")
        [connection] = await site.sql("SELECT id, of_user FROM keepstep.connections WHERE owner_id = 'A07'")
        [made] = await site.sql(
            "INSERT INTO keepstep.runs (connection_id, mode, dry_run, trigger, entities, state,"
            " started_at, finished_at) VALUES (%s, 'backfill', false, 'manual', '{orders}', 'succeeded', now(), now())"
            " RETURNING id",
            connection["id"],
        )
        path, seen = f"/api/admin/sync/runs/{made['id']}", {}
        for role in ("user", "viewer", "operator", "admin"):
            header = bearer(token(subject="A07" if role == "user" else role, app_metadata={"keepstep_role": role}))
            listed = (await site.nobody.get("/api/admin/sync/runs", headers=header)).json()
            one = (await site.nobody.get(path, headers=header)).status_code
            seen[role] = (made["id"] in [run["runId"] for run in listed], one)
        header = bearer(token(subject="A07", app_metadata={"keepstep_role": "user"}))
        config = {"enabled": True, "interval_hours": 6, "workspace_id": "ws"}
        put = await site.nobody.put("/api/logos-vision/auto-sync/config", json=config, headers=header)
        assert put.status_code == 200, put.text
        [user] = await site.sql("SELECT id FROM keepstep.users WHERE owner_id = 'A07'")
        gone = await site.admin.delete(f"/api/admin/users/{user['id']}")
        schedules = await site.sql("SELECT enabled FROM keepstep.schedules WHERE connection_id = %s", connection["id"])

    assert connection["of_user"] is None
    assert seen == {"user": (False, 404), "viewer": (True, 200), "operator": (True, 200), "admin": (True, 200)}
    assert (gone.status_code, [row["enabled"] for row in schedules]) == (204, [True] * 4)


async def test_an_address_says_405_for_what_it_does_not_take(site: Served) -> None:
    await add(site, "A/7")
    answers = {method: await site.admin.request(method, f"{URL}/A%2F7/credentials") for method in ("PATCH", "GET")}
    changed = await site.admin.patch(f"{URL}/A%2F7", json={"enabled": False})

    assert {method: (one.status_code, one.headers["allow"]) for method, one in answers.items()} == dict.fromkeys(
        answers, (405, "DELETE, PUT")
    )
    assert (changed.status_code, changed.json()["code"]) == (200, "A/7")
