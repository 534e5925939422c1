"""Faults of Keepstep's own processes and of the machine, made for real: doctor and status name them."""

import asyncio
import signal
from pathlib import Path

import pytest

from keepstep import always_on
from keepstep.alerts.alerter import Alerter
from keepstep.model.errors import StoreError
from keepstep.service.home import made_once
from tests.faults.conftest import SYNC, at, problems
from tests.support.clinic import command, examine
from tests.support.elsewhere import free_port
from tests.support.site import Served, served
from tests.support.sync import Sync
from tests.support.tiny import fill, tiny_disk
from tests.support.victims import victims
from tests.support.webhook import webhook
from tests.support.workers import until, workers

OLD_KEY, NEW_KEY = "an old phrase of this test", "a new phrase of this test"


async def test_the_lock_of_a_process_that_was_killed_is_named_until_the_next_run_takes_over(
    sync: Sync, site: Served
) -> None:
    sync.upstream.fault("hang", entity="leases", page=2, forever=True)
    async with victims(sync) as processes:
        victim = await processes.start("leases", flush_rows=1)
        await victim.until(events=2)
        victim.signal(signal.SIGKILL)
        await victim.until_gone()

        async def is_named() -> bool:
            return "lock-orphaned" in await problems(site)

        await until(is_named, seconds=10)
    found = (await problems(site))["lock-orphaned"]
    sync.upstream.clear_faults()
    await sync.run("leases")

    assert (found["since"] is not None, "taken over" in found["fix"]) == (True, True)
    assert "lock-orphaned" not in await problems(site)
    await sync.assert_in_step("leases")


async def test_where_a_schedule_is_on_and_nobody_works_both_are_named_until_somebody_does(
    sync: Sync, tmp_path: Path
) -> None:
    on = {"AUTO_SYNC_ENABLED": "true", "KEEPSTEP_PING_EVERY_MINUTES": "0"}
    async with at(sync, tmp_path, sync.upstream.url, **on) as site:
        await site.service.schedules.settle()
        before = await problems(site)
        async with always_on.working(site.service, concurrency=1):

            async def is_well() -> bool:
                return not {"scheduler-silent", "worker-missing"} & set(await problems(site))

            await until(is_well)

    assert {"scheduler-silent", "worker-missing"} <= set(before)
    assert ["keepstep up" in before[code]["fix"] for code in ("scheduler-silent", "worker-missing")] == [True, True]


async def test_a_worker_that_was_killed_is_missed(sync: Sync, site: Served) -> None:
    sync.upstream.fault("hang", entity="leases", page=2, forever=True)
    async with workers(sync) as processes:
        worker = await processes.start()
        run = await processes.enqueue("leases")
        await worker.until("page")
        assert "worker-missing" not in await problems(site)
        await worker.kill()
        # As half a minute later; the run is queued again, so somebody counts on a worker.
        await site.sql(
            "UPDATE keepstep_queue.procrastinate_workers SET last_heartbeat = last_heartbeat - interval '1 minute'"
        )
        await site.sql("UPDATE keepstep.runs SET state = 'queued' WHERE id = %s", run)
        found = await problems(site)

    assert "worker-missing" in found


async def test_a_changed_secret_key_is_named_and_well_with_the_old_one_beside_it(dsn: str, tmp_path: Path) -> None:
    async with served(dsn, tmp_path, KEEPSTEP_SECRET_KEY=OLD_KEY) as site:
        await site.service.credentials.put("doorloop", {"apiKey": "dl_api_key_that_was_stored"}, by="ana")
    async with served(dsn, tmp_path, KEEPSTEP_SECRET_KEY=NEW_KEY) as site:
        changed = await problems(site)
        ping = (await site.admin.get("/api/admin/integrations/doorloop/ping")).json()
    async with served(dsn, tmp_path, KEEPSTEP_SECRET_KEY=f"{NEW_KEY},{OLD_KEY}") as site:
        both = await problems(site)

    assert "KEEPSTEP_SECRET_KEY" in changed["secret-key-changed"]["fix"]
    assert changed["secret-key-changed"]["connection"] == "doorloop"
    assert ping["ok"] is False
    assert "secret-key-changed" not in both


def test_a_lost_secret_key_is_found_by_doctor(dsn: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    async def store_a_key() -> None:
        async with served(dsn, tmp_path) as site:
            await site.service.credentials.put("doorloop", {"apiKey": "dl_api_key_that_was_stored"}, by="ana")

    environment = {"DATABASE_URL": dsn, "KEEPSTEP_HOME": str(tmp_path)}
    asyncio.run(store_a_key())
    kept = (tmp_path / "secret-key").rename(tmp_path / "elsewhere")
    code, lost = examine(capfd, **environment)
    kept.replace(tmp_path / "secret-key")
    _, back = examine(capfd, **environment, DOORLOOP_BASE_URL=f"http://127.0.0.1:{free_port()}/api")

    assert (code, "secret-key-changed" in lost) == (1, True)
    assert "secret-key-changed" not in back


def test_a_disk_that_is_full_is_found_by_doctor_before_and_when_it_is(
    dsn: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    with tiny_disk(tmp_path, 300) as place:
        environment = {"DATABASE_URL": dsn, "KEEPSTEP_HOME": str(place)}
        low = examine(capfd, **environment)
        filler = fill(place)
        full = examine(capfd, **environment)
        with pytest.raises(StoreError) as refused:
            made_once(place / "secret-key")
        filler.unlink()

        assert made_once(place / "secret-key")

    assert (low[0], low[1]["disk-low"]["state"]) == (0, "warning")
    assert (full[0], full[1]["disk-full"]["state"]) == (1, "failed")
    assert (refused.value.code, str(place) in refused.value.message) == ("disk-full", True)


async def test_the_status_names_a_full_disk(sync: Sync, tmp_path: Path) -> None:
    with tiny_disk(tmp_path, 8) as place:
        async with at(sync, place, sync.upstream.url) as site:
            assert (await problems(site))["disk-full"]["severity"] == "error"


@pytest.mark.parametrize("address", ["http://hooks.example.test/a?sig=b", "https://hooks.example.test"])
async def test_an_address_for_alerts_that_cannot_work_is_named(
    sync: Sync, tmp_path: Path, capfd: pytest.CaptureFixture[str], address: str
) -> None:
    async with at(sync, tmp_path, sync.upstream.url, INTEGRATIONS_TEAMS_WEBHOOK=address) as site:
        found = (await problems(site))["webhook-malformed"]

    assert (found["severity"], "sig=b" in str(found)) == ("warning", False)


async def test_alerts_that_do_not_arrive_are_named_until_one_does(sync: Sync, tmp_path: Path) -> None:
    async with webhook() as hook:
        address = f"{hook.host}/workflows/a?sig={'s' * 24}"
        hook.status, hook.body = 404, "The workflow is disabled."
        async with at(sync, tmp_path, sync.upstream.url, INTEGRATIONS_TEAMS_WEBHOOK=address) as site:
            await site.admin.post("/api/admin/alerts/test")
            named = (await problems(site))["webhook-refused"]
            hook.status, hook.body = 202, ""
            await site.admin.post("/api/admin/alerts/test")
            after = await problems(site)

    assert (named["severity"], named["since"] is not None) == ("warning", True)
    assert "INTEGRATIONS_TEAMS_WEBHOOK" in named["fix"]
    assert "webhook-refused" not in after


async def test_a_way_of_alerts_that_was_removed_is_no_longer_said_to_refuse(sync: Sync, site: Served) -> None:
    setting = f"{SYNC}/settings/INTEGRATIONS_TEAMS_WEBHOOK"
    nowhere = f"http://127.0.0.1:{free_port()}/workflows/a?sig={'s' * 24}"
    await site.admin.put(setting, json={"value": nowhere})
    await site.admin.post("/api/admin/alerts/test")
    named = await problems(site)
    await site.admin.delete(setting)

    assert "webhook-refused" in named
    assert "webhook-refused" not in await problems(site)


def test_doctor_says_what_was_answered_to_an_alert_that_did_not_arrive(
    dsn: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    known = {"DATABASE_URL": dsn, "KEEPSTEP_HOME": str(tmp_path)}
    nowhere = f"http://127.0.0.1:{free_port()}/workflows/a?sig={'s' * 24}"
    command(capfd, "alerts", "test", **known, INTEGRATIONS_TEAMS_WEBHOOK=nowhere)

    _, found = examine(capfd, **known, INTEGRATIONS_TEAMS_WEBHOOK=nowhere)

    assert "cannot be reached" in found["webhook-refused"]["message"]


async def test_a_connection_that_had_no_success_for_long_is_named_until_it_has(sync: Sync, site: Served) -> None:
    await site.admin.put("/api/admin/sync/schedule", json={"enabled": True})
    sync.upstream.fault("500", forever=True)
    await sync.run("owners")
    await site.sql("UPDATE keepstep.connections SET created_at = created_at - interval '13 hours'")
    alerter = Alerter(site.service.database, site.service.alerts.arrangement)
    await alerter.round()
    named = await problems(site)
    sync.upstream.clear_faults()
    await sync.run("owners")
    await site.sql("DELETE FROM keepstep.ticks WHERE name = 'alerter'")
    await alerter.round()

    assert "keepstep runs" in named["no-success"]["fix"]
    assert "no-success" not in await problems(site)
