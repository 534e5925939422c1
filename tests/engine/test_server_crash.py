"""kill -9 of the database server in the middle of a run: the run goes on by itself, and nothing is lost or doubled."""

import asyncio
from collections.abc import Iterator

import pytest

from keepstep.model.run import Event
from tests.support.server import TestServer
from tests.support.sync import Sync, counts_of, entity_of
from tests.support.upstream import SMALL, serving

LEASES = SMALL["leases"]


@pytest.fixture(autouse=True)
def answering(server: TestServer) -> Iterator[None]:
    """Whatever happens, the server answers before and after."""
    server.await_answer()
    yield
    server.await_answer()


class Killer:
    """Kills the server when a run has told its n-th event of a kind."""

    def __init__(self, server: TestServer, kind: str, *numbers: int) -> None:
        self._server = server
        self._kind = kind
        self._numbers = numbers
        self._heard = 0

    def __call__(self, event: Event) -> None:
        """Hear an event."""
        if event.type == self._kind:
            self._heard += 1
            if self._heard in self._numbers:
                self._server.kill()


async def test_a_first_load_goes_on_when_the_server_comes_back(server: TestServer, dsn: str) -> None:
    async with serving(leases=400) as upstream:
        sync = Sync(dsn, upstream)
        started = await sync.value("SELECT pg_postmaster_start_time()")
        upstream.poison("leases", "nul-in-text", count=3)
        run = await sync.run("leases", listener=Killer(server, "page", 3, 9), flush_rows=20)
        assert run.result == "succeeded"
        assert counts_of(run) == {"inserted": 400, "dead_lettered": 3}
        await sync.assert_in_step("leases", apart_from=[letter["record_key"] for letter in await sync.letters()])
        pages = [event for event in await sync.views.events(run.run_id) if event.type == "page"]
        assert sum(event.data["batchRows"] for event in pages if event.data["look"] == 1) == 403
        assert await sync.value("SELECT pg_postmaster_start_time()") > started


async def test_keys_seen_before_the_crash_are_not_taken_for_deleted_rows(server: TestServer, sync: Sync) -> None:
    """A crash empties the unlogged table of seen keys: the run's own proof fails then, and it looks once more."""
    await sync.run("leases")
    lost = sync.upstream.change("leases", delete=2)["deleted"]
    run = await sync.run("leases", listener=Killer(server, "page", 2), flush_rows=1)
    assert run.result == "succeeded"
    rows = await sync.rows("leases")
    assert {key for key, row in rows.items() if row["_deleted_at"]} <= set(lost)
    await sync.run("leases")
    await sync.assert_in_step("leases")


async def test_a_resumed_reading_begins_again_when_a_crash_has_emptied_its_table_of_seen_keys(
    server: TestServer, sync: Sync
) -> None:
    await sync.run("leases")
    [lost] = sync.upstream.change("leases", delete=1)["deleted"]
    sync.upstream.fault("html", entity="leases", page=3)
    assert (await sync.run("leases", flush_rows=1)).result == "failed"
    server.kill()
    await asyncio.to_thread(server.await_answer)
    sync.upstream.reset_requests()
    run = await sync.run("leases")
    assert not entity_of(run, "leases").resumed
    assert counts_of(run) == {"unchanged": LEASES - 1, "deleted": 1}
    assert sync.upstream.asked("leases") == 2 * 3
    assert {key for key, row in (await sync.rows("leases")).items() if row["_deleted_at"]} == {lost}
    assert await sync.value("SELECT count(*) FROM pg_class WHERE relname LIKE 'seen%%'") == 0


async def test_a_crash_before_the_second_look_deletes_no_live_row(server: TestServer, sync: Sync) -> None:
    await sync.run("leases")
    lost = sync.upstream.change("leases", delete=3)["deleted"]
    run = await sync.run("leases", listener=Killer(server, "page", 4), flush_rows=1)
    assert run.result == "succeeded"
    rows = await sync.rows("leases")
    assert {key for key, row in rows.items() if row["_deleted_at"]} <= set(lost)
    await sync.run("leases")
    await sync.assert_in_step("leases")


async def test_a_dry_run_that_loses_the_server_fails_in_words_and_changes_nothing(
    server: TestServer, sync: Sync
) -> None:
    await sync.run("leases")
    before = await sync.rows("leases")
    sync.upstream.change("leases", update=5)
    run_ids = {run.run_id for run in await sync.views.runs()}
    with pytest.raises(Exception, match="database"):
        await sync.run("leases", dry_run=True, listener=Killer(server, "page", 2), flush_rows=1)
    await asyncio.to_thread(server.await_answer)
    assert await sync.rows("leases") == before
    run = await sync.run("leases")
    assert counts_of(run) == {"updated": 5, "unchanged": LEASES - 5}
    [dry] = [known for known in await sync.views.runs() if known.run_id not in {*run_ids, run.run_id}]
    assert dry.result in ("failed", "crashed")
