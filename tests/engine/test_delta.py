"""A delta reads what changed since the watermark, costs one request when nothing did, and never leaves a gap."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

from tests.support.sync import ALL, Sync, counts_of, entity_of
from tests.support.upstream import SMALL, serving, some
from tests.support.victims import victims

LEASES = SMALL["leases"]


async def watermark(sync: Sync, entity: str = "leases") -> datetime | None:
    """How far an entity is in step."""
    rows = await sync.sql("SELECT watermark FROM keepstep.entity_states WHERE entity = %s", entity)
    return rows[0]["watermark"] if rows else None


def stamp(moment: datetime) -> str:
    """A moment as DoorLoop writes it."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


async def test_with_nothing_new_a_delta_takes_one_request_per_listing(sync: Sync) -> None:
    sync.page_size = 10
    await sync.run()
    await sync.delta()  # learns whether the sort is honoured
    sync.upstream.reset_requests()
    run = await sync.delta()
    assert {name: sync.upstream.asked(name) for name in ALL} == dict.fromkeys(ALL, 1) | {"units": 2}
    assert run.requests == 6
    assert run.result == "succeeded"
    assert "inserted" not in counts_of(run) and "updated" not in counts_of(run)


async def test_a_delta_brings_what_changed_and_what_is_new(sync: Sync) -> None:
    await sync.run()
    upstream = sync.upstream
    upstream.change("leases", update=7, create=3)
    upstream.change("units", patch={upstream.ids("units")[0]: {"active": False}}, create=2)
    upstream.reset_requests()
    run = await sync.delta()
    leases = counts_of(entity_of(run, "leases"))
    assert (leases["inserted"], leases["updated"]) == (3, 7)
    assert upstream.asked("leases") <= 2
    await sync.assert_in_step()
    again = counts_of(await sync.delta())
    assert again.keys() <= {"unchanged"}


async def test_a_delta_without_a_watermark_reads_everything(sync: Sync) -> None:
    run = await sync.delta("leases")
    assert counts_of(run) == {"inserted": LEASES}
    assert await watermark(sync) is not None
    await sync.assert_in_step("leases")


async def test_the_watermark_is_the_newest_update_and_never_goes_back(sync: Sync) -> None:
    await sync.run("leases")
    newest = max(datetime.fromisoformat(record["updatedAt"]) for record in sync.upstream.records("leases"))
    assert await watermark(sync) == newest
    sync.upstream.change("leases", delete=[r["id"] for r in sync.upstream.records("leases")
                                           if datetime.fromisoformat(r["updatedAt"]) == newest])  # fmt: skip
    await sync.delta("leases")
    await sync.run("leases")
    assert await watermark(sync) == newest


async def test_the_watermark_never_passes_upstreams_clock_at_the_beginning_of_the_reading(sync: Sync) -> None:
    """A record that changes behind the reader's back would otherwise be older than the watermark, and be missed."""
    sync.page_size, sync.concurrency = 5, 1
    began = datetime.now(UTC)
    sync.upstream.set_clock(offset_s=3600)

    def change(event: Any) -> None:
        if event.type == "page":
            sync.upstream.set_clock(offset_s=7200)
            sync.upstream.change("leases", update=1)

    await sync.run("leases", listener=change, flush_rows=1)
    mark = await watermark(sync)
    assert mark is not None
    assert mark <= began + timedelta(seconds=3600 + 60)
    await sync.delta("leases")
    await sync.assert_in_step("leases")


async def test_an_update_time_in_the_future_does_not_move_the_watermark_there(sync: Sync) -> None:
    [odd] = some(sync.upstream.ids("leases"), 1)
    sync.upstream.change("leases", patch={odd: {"updatedAt": "2099-01-01T00:00:00.000Z"}})
    await sync.run("leases")
    mark = await watermark(sync)
    assert mark is not None
    assert mark < datetime.now(UTC)
    sync.upstream.change("leases", update=2)
    await sync.delta("leases")
    await sync.assert_in_step("leases")


async def test_a_delta_overlaps_what_came_late(sync: Sync) -> None:
    await sync.run("leases")
    sync.upstream.change("leases", update=1)
    await sync.delta("leases")
    mark = await watermark(sync)
    assert mark is not None
    [late] = some(sync.upstream.ids("leases"), 1)
    sync.upstream.change("leases", patch={late: {"notes": "late", "updatedAt": stamp(mark - timedelta(minutes=2))}})
    await sync.delta("leases")
    await sync.assert_in_step("leases")


async def test_where_the_sort_is_not_honoured_a_delta_reads_everything_and_writes_only_what_changed(dsn: str) -> None:
    async with serving(sort="ignored") as upstream:
        sync = Sync(dsn, upstream)
        await sync.run("leases")
        upstream.change("leases", update=5)
        run = await sync.delta("leases")
        assert counts_of(run) == {"updated": 5, "unchanged": LEASES - 5}
        await sync.assert_in_step("leases")
        upstream.reset_requests()
        upstream.change("leases", update=2)
        assert counts_of(await sync.delta("leases")) == {"updated": 2, "unchanged": LEASES - 2}
        assert upstream.asked("leases") == 3
        await sync.assert_in_step("leases")


# A since of the caller's


async def test_a_since_before_the_watermark_reads_further_back(sync: Sync) -> None:
    await sync.run("leases")
    [silent] = some(sync.upstream.ids("leases"), 1)
    record = next(r for r in sync.upstream.records("leases") if r["id"] == silent)
    sync.upstream.change("leases", patch={silent: {"notes": "changed in silence"}}, silent=True)
    await sync.delta("leases")
    assert await sync.differences("leases")
    await sync.delta("leases", since=datetime.fromisoformat(record["updatedAt"]))
    await sync.assert_in_step("leases")


async def test_a_since_after_the_watermark_does_not_hide_the_gap_from_the_next_delta(sync: Sync) -> None:
    await sync.run("leases")
    before = await watermark(sync)
    [early, late] = some(sync.upstream.ids("leases"), 2)
    now = datetime.now(UTC)
    sync.upstream.change("leases", patch={early: {"notes": "e", "updatedAt": stamp(now - timedelta(hours=2))}})
    sync.upstream.change("leases", patch={late: {"notes": "l", "updatedAt": stamp(now)}})
    await sync.delta("leases", since=now - timedelta(minutes=1))
    assert (await sync.rows("leases"))[late]["notes"] == "l"
    assert await watermark(sync) == before
    await sync.delta("leases")
    await sync.assert_in_step("leases")


# Interruptions


async def test_an_interrupted_delta_goes_on_where_it_was_and_ends_in_step(sync: Sync) -> None:
    sync.page_size = 5
    await sync.run("leases")
    await sync.delta("leases")
    mark = await watermark(sync)
    sync.upstream.change("leases", update=30)
    sync.upstream.fault("html", entity="leases", page=4)
    failed = await sync.delta("leases", flush_rows=1)
    assert failed.result == "failed"
    assert failed.updated == 15
    assert await watermark(sync) == mark
    sync.upstream.change("leases", update=4)  # these go before everything that was read already
    run = await sync.delta("leases", flush_rows=1)
    assert entity_of(run, "leases").resumed
    await sync.delta("leases")
    await sync.assert_in_step("leases")


async def test_a_delta_that_is_killed_at_random_moments_loses_nothing(dsn: str) -> None:
    async with serving(leases=400) as upstream:
        sync = Sync(dsn, upstream)
        await sync.run("leases")
        await sync.delta("leases")
        chance = random.Random(5)
        async with victims(sync) as processes:
            for _ in range(5):
                upstream.change("leases", update=60, create=10)
                for _ in range(3):
                    victim = await processes.start("leases", mode="delta", page_size=10, flush_rows=10)
                    await victim.until(chance.randrange(1, 6))
                    await victim.kill()
                    upstream.change("leases", update=5)
            await sync.delta("leases")
            await sync.delta("leases")
            await sync.assert_in_step("leases")
            inserted = await sync.value("SELECT sum(inserted) FROM keepstep.run_entities")
            assert inserted == 400 + 50


async def test_a_backfill_and_a_delta_can_be_unfinished_at_the_same_time(sync: Sync) -> None:
    sync.page_size = 5
    await sync.run("leases")
    sync.upstream.change("leases", update=20)
    sync.upstream.fault("html", entity="leases", page=3, after=0)
    assert (await sync.run("leases", flush_rows=1)).result == "failed"
    sync.upstream.fault("html", entity="leases", page=3)
    assert (await sync.delta("leases", flush_rows=1)).result == "failed"
    lost = sync.upstream.change("leases", delete=2)["deleted"]
    assert entity_of(await sync.delta("leases"), "leases").resumed
    assert entity_of(await sync.run("leases"), "leases").resumed
    await sync.run("leases")
    await sync.assert_in_step("leases")
    assert lost
