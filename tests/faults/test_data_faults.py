"""Every fault of the data, made for real in a run: the status and the run name it."""

from pathlib import Path

from tests.faults.conftest import SYNC, problems
from tests.support.site import Served
from tests.support.sync import Sync


async def test_a_page_that_repeats_is_named(sync: Sync, site: Served) -> None:
    sync.upstream.fault("repeat", entity="leases", page=2, forever=True)
    run = await sync.run("leases")
    told = (await site.admin.get(f"{SYNC}/runs/{run.run_id}")).json()
    found = (await problems(site))["page-repeats"]
    entity = next(e for e in (await site.admin.get(f"{SYNC}/status")).json()["entities"] if e["entity"] == "leases")
    sync.upstream.clear_faults()
    await sync.run("leases")

    assert (told["error"]["code"], told["error"]["kind"]) == ("page-repeats", "not-data")
    assert told["error"]["docs"].endswith("#page-repeats")
    assert (found["entity"], found["message"]) == ("leases", told["error"]["message"])
    assert (entity["code"], entity["lastError"]) == ("page-repeats", found["message"])
    assert "page-repeats" not in await problems(site)


async def test_a_listing_that_moves_while_it_is_read_is_named_until_a_reading_is_whole(
    sync: Sync, site: Served
) -> None:
    sync.upstream.switch(sort="ignored")
    sync.page_size, sync.concurrency = 5, 1
    await sync.run("leases")
    sync.upstream.change("leases", delete=2)
    for page in (1, 4, 7):
        sync.upstream.fault("shift", entity="leases", page=page, variant="rename", rows=2, forever=True)
    await sync.run("leases")
    found = (await problems(site))["listing-shifts"]
    sync.upstream.clear_faults()
    await sync.run("leases")

    assert (found["entity"], "unproven" in found["message"]) == ("leases", True)
    assert "listing-shifts" not in await problems(site)


async def test_a_source_that_is_suddenly_empty_is_held_and_named(sync: Sync, site: Served) -> None:
    await sync.run("leases")
    sync.upstream.fault("empty", entity="leases", forever=True)
    run = await sync.run("leases")
    found = (await problems(site))["source-emptied"]
    sync.upstream.clear_faults()
    await sync.run("leases")

    assert run.result == "held"
    assert (found["severity"], found["entity"], "60" in found["message"]) == ("error", "leases", True)
    assert "keepstep held" in found["fix"]
    assert "source-emptied" not in await problems(site)


async def test_many_deletions_are_held_and_named(sync: Sync, site: Served) -> None:
    await sync.run("leases")
    sync.upstream.change("leases", delete=40)
    await sync.run("leases")

    assert (await problems(site))["deletions-held"]["entity"] == "leases"


async def test_poison_records_are_named_until_they_arrive_in_good_order(sync: Sync, site: Served) -> None:
    sync.upstream.poison("leases", "text-for-number")
    await sync.run("leases")
    found = (await problems(site))["poison-records"]
    sync.upstream.cure("leases")
    await sync.run("leases")

    assert "poison-records" not in await problems(site)
    assert (found["severity"], found["since"] is not None) == ("warning", True)
    assert "keepstep dlq list" in found["fix"]


async def test_fields_that_have_no_column_are_named_until_they_have_one(sync: Sync, site: Served) -> None:
    await sync.run("owners")
    found = (await problems(site))["schema-drift"]
    await site.admin.put(
        "/api/admin/integrations/doorloop/schema-policy", json={"entity": "owners", "policy": "evolve"}
    )
    async with site.service.connectors.lent("doorloop") as (_, policy):
        await sync.run("owners", schema=policy.schema)

    assert (found["severity"], found["entity"], "jobTitle" in found["message"]) == ("info", "owners", True)
    assert "keepstep schema policy doorloop owners evolve" in found["fix"]
    assert "schema-drift" not in await problems(site)


async def test_an_error_of_all_entities_is_told_once_and_since_it_began(sync: Sync, site: Served) -> None:
    sync.upstream.fault("401", forever=True)
    await sync.run()
    first = (await problems(site))["auth-failed"]
    await sync.run()
    await site.service.pinger.ping("doorloop")
    again = await problems(site)
    sync.upstream.clear_faults()

    assert "entity" not in first
    assert [code for code in again if code == "auth-failed"] == ["auth-failed"]
    assert again["auth-failed"]["since"] <= first["since"]


async def test_a_run_that_waits_says_for_what(sync: Sync, site: Served) -> None:
    sync.upstream.fault("429", entity="leases", retry_after=1800, count=1)
    run = await sync.run("leases")
    found = (await problems(site))["rate-limited-hour"]

    assert run.result == "waiting"
    assert (found["severity"], "1800 s" in found["message"]) == ("warning", True)


async def test_the_log_names_the_fault(sync: Sync, site: Served, tmp_path: Path) -> None:
    import io
    import json

    from keepstep.reliability import journal

    out = io.StringIO()
    journal.configure(out, terminal=False)
    sync.upstream.fault("401", forever=True)
    await sync.run("owners", listener=journal.tell)
    lines = [json.loads(line) for line in out.getvalue().splitlines()]

    assert [line["code"] for line in lines if line.get("code")] == ["auth-failed"] * 2
    assert all(line["fix"] for line in lines if line.get("code"))
