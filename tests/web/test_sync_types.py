"""The intervals of the sync types, over real HTTP."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest

from keepstep.service.sync_types import SEEDS
from keepstep.store import agents, runs, sync_types
from tests.support.site import Served, served

URL = "/api/sync/intervals"
DEFAULTS = {"orders": 10, "customers": 15, "products": 30, "prices": 60, "ddt": 20, "invoices": 20}
TIMES = (
    "SELECT s.sync_type, t.delta_at FROM keepstep.schedule_times t JOIN keepstep.schedules s ON s.id = t.schedule_id"
)


@pytest.fixture
async def site(dsn: str, tmp_path: Path) -> AsyncIterator[Served]:
    async with served(dsn, tmp_path) as site:
        yield site


async def planned(site: Served) -> None:
    """A schedule of every type, with its first run behind it."""
    async with site.connection() as connection, connection.transaction():
        await agents.give(connection, ["base_url", "credentials"])
        owner = await runs.connection_id(connection, "erp")
        for name in SEEDS:
            await sync_types.plan(connection, name, owner, [name])
    await site.sql("UPDATE keepstep.schedule_times SET delta_at = n.at, due_at = n.at FROM (SELECT id,"
                   " keepstep.next_slot(now(), anchor_at, interval_seconds) AS at FROM keepstep.schedules) n"
                   " WHERE n.id = schedule_id")  # fmt: skip


async def times(site: Served) -> dict[str, datetime]:
    return {row["sync_type"]: row["delta_at"] for row in await site.sql(TIMES)}


async def change(site: Served, name: str, **body: Any) -> httpx.Response:
    return await site.admin.post(f"{URL}/{name}", json=body)


async def test_the_defaults_are_told(site: Served) -> None:
    answer = (await site.admin.get(URL)).json()

    assert (answer["success"], answer["intervals"]) == (True, DEFAULTS)
    assert list(answer["intervals"]) == list(DEFAULTS)
    assert all(one["enabled"] and one["updatedAt"] for one in answer["types"].values())
    assert DEFAULTS == SEEDS


async def test_only_the_changed_types_next_run_moves(site: Served) -> None:
    await planned(site)
    before = await times(site)
    answer = await change(site, "prices", intervalMinutes=5)
    after = await times(site)

    assert answer.status_code == 200
    assert (answer.json()["success"], answer.json()["type"], answer.json()["intervalMinutes"]) == (True, "prices", 5)
    assert {name for name in before if after[name] != before[name]} == {"prices"}
    assert after["prices"] <= datetime.now(UTC) + timedelta(minutes=5)
    assert (await site.admin.get(URL)).json()["intervals"] == {**DEFAULTS, "prices": 5}
    shown = (await site.admin.get(URL)).json()["types"]["prices"]["nextRun"]
    assert datetime.fromisoformat(shown) == after["prices"]


async def test_the_same_interval_again_moves_nothing(site: Served) -> None:
    await planned(site)
    before = await times(site)
    await change(site, "orders", intervalMinutes=10)

    assert await times(site) == before


@pytest.mark.parametrize("minutes", [4, 1441, 0, -5])
async def test_an_interval_that_cannot_be_is_refused_with_a_fix(site: Served, minutes: int) -> None:
    answer = await change(site, "orders", intervalMinutes=minutes)

    assert (answer.status_code, answer.headers["content-type"]) == (422, "application/problem+json")
    assert answer.json()["fix"] == "Give a whole number of minutes from 5 to 1440."


@pytest.mark.parametrize("body", [{}, {"intervalMinutes": "10"}, {"intervalMinutes": 10.5}, {"enabled": 1}, {"x": 1}])
async def test_a_body_of_another_shape_is_refused(site: Served, body: dict[str, Any]) -> None:
    answer = await change(site, "orders", **body)

    assert (answer.status_code, bool(answer.json()["fix"])) == (422, True)


async def test_an_unknown_type_is_not_found(site: Served) -> None:
    answer = await change(site, "nothing", intervalMinutes=10)

    assert (answer.status_code, answer.json()["fix"]) == (
        404, "Known are: orders, customers, ddt, invoices, products, prices.",
    )  # fmt: skip


async def test_a_type_is_turned_off_and_on(site: Served) -> None:
    await planned(site)
    off = await change(site, "ddt", enabled=False)
    without = await times(site)
    on = await change(site, "ddt", enabled=True)

    assert (off.json()["enabled"], off.json()["nextRun"], off.json()["intervalMinutes"]) == (False, None, 20)
    assert set(without) == set(DEFAULTS) - {"ddt"}
    assert (on.json()["enabled"], set(await times(site))) == (True, set(DEFAULTS))


async def test_only_an_admin_changes_and_every_change_is_audited(site: Served) -> None:
    viewer = await site.token("viewer")
    looked = await site.nobody.get(URL, headers=viewer)
    refused = await site.nobody.post(f"{URL}/orders", json={"enabled": False}, headers=viewer)
    await change(site, "orders", intervalMinutes=25)

    assert (looked.status_code, refused.status_code) == (200, 403)
    [row] = await site.sql("SELECT payload, result FROM keepstep.admin_logs WHERE action = 'sync-interval.set'")
    assert row == {
        "payload": {"type": "orders", "intervalMinutes": 25}, "result": "every 10 minutes -> every 25 minutes",
    }  # fmt: skip


async def test_the_environment_overrides_the_seeds_and_never_what_somebody_saved(dsn: str, tmp_path: Path) -> None:
    async with served(dsn, tmp_path) as site:
        await site.service.sync_types.settle()
        await change(site, "orders", intervalMinutes=25)
        await change(site, "customers", intervalMinutes=15)
    async with served(dsn, tmp_path, SYNC_INTERVALS="orders=50, customers=50; prices = 45") as site:
        await site.service.sync_types.settle()
        await site.service.sync_types.settle()
        told = (await site.admin.get(URL)).json()["intervals"]
    async with served(dsn, tmp_path) as site:
        await site.service.sync_types.settle()
        silent = (await site.admin.get(URL)).json()["intervals"]

    assert told == {**DEFAULTS, "orders": 25, "customers": 15, "prices": 45}
    assert silent == {**DEFAULTS, "orders": 25, "customers": 15}


async def test_what_is_changed_by_hand_counts_as_saved_and_moves_its_schedules(site: Served) -> None:
    await planned(site)
    before = await times(site)
    await site.sql("UPDATE keepstep.sync_settings SET interval_minutes = 40 WHERE sync_type = 'invoices'")
    after = await times(site)
    await site.service.sync_types.settle()

    assert {name for name in before if after[name] != before[name]} == {"invoices"}
    assert (await site.admin.get(URL)).json()["intervals"]["invoices"] == 40


async def test_a_new_schedule_takes_the_interval_of_its_type(site: Served) -> None:
    await change(site, "orders", intervalMinutes=35)
    await change(site, "ddt", enabled=False)
    async with site.connection() as connection, connection.transaction():
        owner = await runs.connection_id(connection, "erp", "agent-7")
        for name in ("orders", "ddt", "orders"):
            await sync_types.plan(connection, name, owner, [name])

    assert await site.sql("SELECT sync_type, interval_seconds, enabled FROM keepstep.schedules"
                          " WHERE sync_type IS NOT NULL ORDER BY 1") == [
        {"sync_type": "ddt", "interval_seconds": 1200, "enabled": False},
        {"sync_type": "orders", "interval_seconds": 2100, "enabled": True},
    ]  # fmt: skip


async def test_types_of_one_connection_take_turns_instead_of_losing_theirs(site: Served) -> None:
    async with site.connection() as connection, connection.transaction():
        await agents.give(connection, ["base_url", "credentials"])
        owner = await runs.connection_id(connection, "erp")
        for name in SEEDS:
            await sync_types.plan(connection, name, owner, [name])
    ran = []
    for minute in range(len(SEEDS)):
        [found] = await site.sql(f"SELECT started FROM keepstep.dispatch_due(100, now() + interval '{minute} min')")
        ran += await site.sql(
            "SELECT r.entities, r.planned_at FROM keepstep.runs r WHERE r.id = ANY (%s)", found["started"]
        )
        await site.sql("UPDATE keepstep.runs SET state = 'succeeded', finished_at = now()")
        assert len(found["started"]) == 1

    assert sorted(row["entities"][0] for row in ran) == sorted(SEEDS)


async def test_the_view_of_mail_jobs_has_who_turned_it_on(site: Served) -> None:
    ana, ben = await site.user("ana"), await site.user("ben")
    for name, enabled in (("ana", True), ("ben", False)):
        async with site.signed_in(name) as client:
            await client.post("/api/settings/save-auto-sync", json={"enabled": enabled, "interval_minutes": 30})
            await client.put("/api/logos-vision/auto-sync/config", json={"enabled": True, "interval_hours": 5})

    rows = await site.sql("SELECT * FROM keepstep.auto_sync_jobs")
    assert list(rows[0]) == ["user_id", "interval_minutes", "created_at", "updated_at"]
    assert [(row["user_id"], row["interval_minutes"]) for row in rows] == [(str(ana), 30)]
    assert ben != ana
