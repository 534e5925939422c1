"""Two processes and one connection: who may write, who takes over, and who must let go."""

import asyncio
import contextlib
import random
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from keepstep.model.errors import LockHeld
from keepstep.model.run import Event
from keepstep.store import locks
from tests.support.sync import Sync, counts_of, entity_of
from tests.support.upstream import SMALL, serving
from tests.support.victims import victims

LEASES = SMALL["leases"]


async def until(condition: Callable[[], object]) -> None:
    """Wait until something is so; fail when it never is."""
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 - what it waits for is another process
            await asyncio.sleep(0.005)


async def test_a_second_run_is_refused_while_another_process_runs(sync: Sync, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(locks, "_TAKEOVER_PATIENCE", 0.1)
    sync.upstream.fault("hang", entity="leases", page=3)
    async with victims(sync) as processes:
        victim = await processes.start("leases", flush_rows=1)
        await victim.until(3)
        with pytest.raises(LockHeld) as refusal:
            await sync.run("leases")
        assert int(refusal.value.run_id) == await sync.value("SELECT run_id FROM keepstep.locks")
        sync.upstream.release()
        await victim.until_gone()
        assert victim.result == "succeeded"
    await sync.assert_in_step("leases")


async def test_a_killed_process_is_replaced_at_once_and_its_run_called_crashed(sync: Sync) -> None:
    sync.upstream.fault("hang", entity="leases", page=3)
    async with victims(sync) as processes:
        victim = await processes.start("leases", flush_rows=1, lease=3600)
        await victim.until(3)
        assert await victim.kill()
    sync.upstream.clear_faults()
    run = await sync.run("leases")
    assert entity_of(run, "leases").resumed
    assert counts_of(run) == {"inserted": LEASES - 40}
    states = await sync.sql("SELECT state FROM keepstep.runs ORDER BY id")
    assert [row["state"] for row in states] == ["crashed", "succeeded"]
    await sync.assert_in_step("leases")


async def test_a_frozen_process_that_wakes_up_after_its_lease_commits_nothing_more(dsn: str) -> None:
    chance = random.Random(3)
    async with serving(leases=600) as upstream:
        sync = Sync(dsn, upstream)
        async with victims(sync) as processes:
            for _ in range(4):
                before = await sync.value("SELECT coalesce(max(id), 0) FROM keepstep.runs")
                changed = upstream.change("leases", update=400)["updated"]
                victim = await processes.start("leases", flush_rows=20, lease=0.4)
                await victim.until(chance.randrange(2, 8))
                await asyncio.sleep(chance.random() * 0.01)  # anywhere in a flush
                victim.signal(signal.SIGSTOP)
                if victim.result is None:
                    await until(partial(_is_stopped, victim.pid))
                heir = await sync.run("leases")
                assert heir.result == "succeeded"
                rows = await sync.rows("leases")
                victim.signal(signal.SIGCONT)
                await victim.until_gone()
                assert victim.result is not None
                assert victim.result.partition(" ")[0] in ("Fenced", "StoreError", "succeeded")
                assert await sync.rows("leases") == rows
                await sync.assert_in_step("leases")
                written = await sync.value(
                    "SELECT sum(inserted + updated) FROM keepstep.run_entities WHERE run_id > %s", before
                )
                assert written == (600 if before == 0 else len(changed))


def _is_stopped(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
    return True


async def test_a_run_that_is_asked_to_stop_ends_as_stopped_and_the_next_one_goes_on(sync: Sync) -> None:
    sync.page_size = 10
    sync.upstream.fault("hang", entity="leases", page=4)
    started = asyncio.create_task(sync.run("leases", flush_rows=1, lease=0.2))
    await until(lambda: sum(event.type == "page" for event in sync.events) == 3)
    assert await sync.commands.stop("doorloop") is not None
    run = await started
    assert run.result == "stopped"
    assert (entity_of(run, "leases").state, run.inserted) == ("stopped", 30)
    assert await sync.value("SELECT count(*) FROM doorloop.leases") == 30
    assert await sync.commands.stop("doorloop") is None

    sync.upstream.clear_faults()
    run = await sync.run("leases")
    assert (entity_of(run, "leases").resumed, run.inserted) == (True, 30)
    await sync.assert_in_step("leases")


async def test_a_run_that_is_cancelled_ends_as_stopped_and_gives_its_lock_back(sync: Sync) -> None:
    sync.upstream.fault("hang", entity="leases", page=2)
    started = asyncio.create_task(sync.run("leases", flush_rows=1))
    await until(lambda: any(event.type == "page" for event in sync.events))
    started.cancel()
    with pytest.raises(asyncio.CancelledError):
        await started
    [run] = await sync.views.runs()
    assert run.result == "stopped"
    assert await sync.value("SELECT count(*) FROM keepstep.locks") == 0
    sync.upstream.clear_faults()
    assert (await sync.run("leases")).inserted == LEASES - 20
    await sync.assert_in_step("leases")


@pytest.mark.parametrize("kind", ["run-started", "page", "entity-finished", "run-finished"])
async def test_whenever_a_run_is_cancelled_its_lock_is_given_back(sync: Sync, kind: str) -> None:
    def cancel(event: Event) -> None:
        if event.type == kind:
            started.cancel()

    started = asyncio.create_task(sync.run("leases", flush_rows=1, listener=cancel))
    with pytest.raises(asyncio.CancelledError):
        await started
    [run] = await sync.views.runs()
    assert run.result == ("succeeded" if kind == "run-finished" else "stopped")
    assert await sync.value("SELECT count(*) FROM keepstep.locks") == 0
    assert (await sync.run("leases")).result == "succeeded"
    await sync.assert_in_step("leases")


async def test_a_run_that_is_cancelled_again_while_it_stops_gives_its_lock_back(sync: Sync) -> None:
    def cancel(event: Event) -> None:
        if event.type in ("page", "run-stopped"):
            started.cancel()

    started = asyncio.create_task(sync.run("leases", flush_rows=1, listener=cancel))
    with pytest.raises(asyncio.CancelledError):
        await started
    assert (await sync.views.runs())[0].result == "stopped"
    assert await sync.value("SELECT count(*) FROM keepstep.locks") == 0


async def test_a_requeue_and_a_run_wait_for_each_other(sync: Sync) -> None:
    sync.upstream.poison("leases", "nul-in-text", count=5)
    await sync.run("leases")
    letters = [letter["id"] for letter in await sync.letters()]
    sync.upstream.change("leases", update=50)
    run, answers = await asyncio.gather(sync.run("leases", flush_rows=1), sync.commands.requeue(letters, by="ann"))
    assert run.result == "succeeded"
    assert {answer.result for answer in answers} == {"failed"}
    assert {letter["attempts"] for letter in await sync.letters()} == {3}


async def test_a_stopped_waiting_run_is_over(sync: Sync) -> None:
    sync.upstream.fault("429", entity="leases", retry_after=3600)
    run = await sync.run("leases")
    assert run.result == "waiting"
    assert await sync.commands.stop("doorloop") == run.run_id
    assert (await sync.views.run(run.run_id)).result == "stopped"
