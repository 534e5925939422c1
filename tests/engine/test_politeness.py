"""Runs that share their limits through the database, against an upstream that keeps a record of every request."""

import asyncio
import itertools
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from keepstep.integrations.doorloop.answers import WINDOWS
from keepstep.integrations.doorloop.connector import DoorLoop
from keepstep.model.integration import Mode, Reading
from keepstep.reliability.politeness import Rules
from keepstep.reliability.shared_pacer import SharedPacer
from keepstep.reliability.windows import Window
from keepstep.service.audit import Audit
from keepstep.service.limits import BreakerView, Limits
from keepstep.store.db import Database
from keepstep.store.desk import shared_pacer
from tests.support.sync import Sync
from tests.support.upstream import Upstream

DEADLINE = 60.0
_COOLED_DOWN = """
UPDATE keepstep.limits SET state = jsonb_set(
    state, '{breaker,reopens_at}', to_jsonb(extract(epoch FROM clock_timestamp() + interval '0.3 s'))
)
"""


@asynccontextmanager
async def polite(sync: Sync, **rules: Any) -> AsyncIterator[SharedPacer]:
    """All that a test sends goes through one shared pacer after another."""
    pacer = pacer_of(sync, **rules)
    sync.pacer = pacer
    try:
        yield pacer
    finally:
        sync.pacer = None
        await pacer.aclose()


def pacer_of(sync: Sync, **rules: Any) -> SharedPacer:
    return shared_pacer(Database(sync.dsn), "doorloop", Rules(**{"max_concurrency": 3, **rules}), title="DoorLoop")


async def breaker(sync: Sync) -> BreakerView:
    return (await Limits(sync.database, lambda _key: Rules(), Audit(sync.database)).current("doorloop"))[0]


async def test_a_whole_sync_goes_through_a_shared_pacer(sync: Sync) -> None:
    async with polite(sync, windows=WINDOWS):
        run = await sync.run()

    assert run.result == "succeeded"
    await sync.assert_in_step()
    counted = await sync.sql("SELECT * FROM keepstep.totals WHERE name = 'requests'")
    assert [(row["labels"]["code"], row["value"]) for row in counted] == [("200", run.requests)]


# The breaker


async def test_a_repeated_5xx_opens_the_breaker_and_not_one_request_leaves_until_a_good_probe(sync: Sync) -> None:
    sync.upstream.fault("503", forever=True)
    async with polite(sync, breaker_threshold=4, breaker_cooldown=3600):
        run = await sync.run()
        assert run.result == "waiting"
        assert (run.error or {})["code"] == "breaker-open"
        assert len(sync.upstream.requests()) == 4
        opened = await breaker(sync)
        assert (opened.state, opened.failures) == ("open", 4)

        connectors = [sync.connector() for _ in range(3)]
        pings = [ping for doorloop in connectors for ping in [await doorloop.ping(), await doorloop.ping()]]
        assert {ping.state for ping in pings} == {"failing"}
        assert all("nothing is sent" in ping.reason for ping in pings)
        assert len(sync.upstream.requests()) == 4

        sync.upstream.clear_faults()
        await sync.sql(_COOLED_DOWN)
        reopens_at = (await breaker(sync)).reopens_at
        assert reopens_at is not None
        while not (await connectors[0].ping()).ok:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        for doorloop in connectors:
            await doorloop.aclose()
        probe = sync.upstream.requests()[4]
        assert probe.ts >= reopens_at.timestamp()
        async with asyncio.timeout(30):  # the good answer is reported beside the ping
            while (await breaker(sync)).state != "closed":  # noqa: ASYNC110
                await asyncio.sleep(0.02)

        await sync.sql("UPDATE keepstep.runs SET state = 'stopped', finished_at = now(), due_at = NULL")
        assert (await sync.run()).result == "succeeded"


async def test_a_probe_that_fails_opens_it_again(sync: Sync) -> None:
    sync.upstream.fault("500", forever=True)
    async with polite(sync, breaker_threshold=2, breaker_cooldown=0.3):
        doorloop = sync.connector()
        async with asyncio.timeout(DEADLINE):
            while len(sync.upstream.requests()) < 5:
                await doorloop.ping()
                await asyncio.sleep(0.02)
        await doorloop.aclose()

    times = [request.ts for request in sync.upstream.requests()][1:]
    assert all(later - earlier >= 0.29 for earlier, later in itertools.pairwise(times))


async def test_a_refused_key_is_no_fault_of_upstream(sync: Sync) -> None:
    sync.api_key = "dl_api_key_EMULATOR0000000000000000"
    async with polite(sync, breaker_threshold=1):
        assert (await sync.run()).result == "failed"

    assert (await breaker(sync)).state == "closed"


# Limits


async def test_three_workers_with_five_entities_send_nothing_over_the_limit_once_a_429_has_told(sync: Sync) -> None:
    scale = 0.02
    sync.upstream.switch(rate_per_minute=15, rate_window_scale=scale)
    windows = (Window(15, 60 * scale),)
    workers = [(pacer_of(sync, max_concurrency=2, windows=windows), random.Random(seed)) for seed in range(3)]

    async def read_all(pacer: SharedPacer, rng: random.Random) -> int:
        doorloop = DoorLoop(
            base_url=sync.upstream.url, api_key=sync.upstream.options.api_key, page_size=10, pacer=pacer, rng=rng
        )
        records = 0
        for entity in rng.sample(doorloop.entities, 5):
            async for page in doorloop.read(entity, Reading(Mode.BACKFILL)):
                records += len(page.records)
        await doorloop.aclose()
        return records

    async with asyncio.timeout(DEADLINE):
        read = await asyncio.gather(*(read_all(pacer, rng) for pacer, rng in workers))
    for pacer, _ in workers:
        await pacer.aclose()

    assert len(set(read)) == 1
    assert read[0] > 150
    refused = [request.ts for request in sync.upstream.requests() if request.status == 429]
    assert len(refused) <= 2  # what was in flight when upstream told
    assert max(refused) - min(refused) < 0.5


async def test_an_upstream_that_says_what_is_left_never_refuses(sync: Sync) -> None:
    sync.upstream.switch(rate_per_minute=10, rate_window_scale=0.02, rate_headers="ratelimit")
    async with polite(sync):
        run = await sync.run()

    assert run.result == "succeeded"
    assert {request.status for request in sync.upstream.requests()} == {200}


async def test_a_wait_of_forty_minutes_holds_no_worker_and_another_worker_does_not_ask_either(sync: Sync) -> None:
    sync.upstream.fault("429", entity="leases", page=3, retry_after=2400)
    asked = datetime.now(UTC)
    async with polite(sync):
        run = await sync.run("leases", "owners", flush_rows=1)
    assert run.result == "waiting"
    assert run.due_at is not None
    assert timedelta(seconds=2390) < run.due_at - asked < timedelta(seconds=2500)
    assert await sync.value("SELECT count(*) FROM keepstep.locks") == 0

    sent = len(sync.upstream.requests())
    async with polite(sync):
        doorloop = sync.connector()
        ping = await doorloop.ping()
        await doorloop.aclose()
    assert (ping.state, ping.ok) == ("degraded", True)
    assert "asked for a pause" in ping.reason
    assert len(sync.upstream.requests()) == sent


async def test_a_connection_that_upstream_closed_meanwhile_takes_a_turn_of_its_own(
    sync: Sync, upstream: Upstream
) -> None:
    async with polite(sync):
        upstream.fault("reset", entity="leases", page=2, variant="close")
        run = await sync.run("leases")

    assert run.result == "succeeded"
    assert (await breaker(sync)).failures == 0
    counted = await sync.value("SELECT sum(value) FROM keepstep.totals WHERE name = 'requests'")
    assert counted == len(upstream.requests())
