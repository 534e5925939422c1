"""Runs that wait in the database: for how long, how often, and when it is enough."""

from collections.abc import AsyncIterator

from msgspec import Raw

from keepstep.dispatch.queue import Queue
from keepstep.engine.runner import Runner
from keepstep.model.errors import BreakerOpen, RateLimited, UpstreamError
from keepstep.model.integration import Check, Entity, Field, Kind, Mode, Page, Ping, Reading
from keepstep.model.run import Event, Policy, RunRequest
from keepstep.service.shapes import RunSummary
from tests.support.sync import Sync


class Stubborn:
    """An upstream that gives a page before it fails, or does not."""

    key, title, base_url = "stubborn", "Stubborn", ""
    entities = (Entity("things", (Field("name", Kind.TEXT),)),)
    requests = 0

    def __init__(self, error: UpstreamError) -> None:
        self.error: UpstreamError | None = error
        self.gives_a_page = False

    async def ping(self) -> Ping:
        raise NotImplementedError

    async def check(self, endpoint: str, *, page_size: int = 1) -> Check:
        raise NotImplementedError

    async def read(self, entity: Entity, reading: Reading) -> AsyncIterator[Page]:
        """One page, perhaps, and then the error, if there is one."""
        if self.gives_a_page or self.error is None:
            last = self.error is None
            yield Page([Raw(b'{"id":"1","name":"one"}')], ["1"], 1, {"page": 2}, last=last, total=1)
        if self.error is not None:
            raise self.error

    async def aclose(self) -> None:
        """Nothing to give back."""


class Attempts:
    """One run, attempted again and again."""

    def __init__(self, sync: Sync, upstream: Stubborn) -> None:
        self._sync = sync
        self._upstream = upstream
        self.run_id = 0
        self.told: list[Event] = []

    async def begin(self) -> RunSummary:
        """Queue it and make the first attempt."""
        queue = Queue(self._sync.database)
        self.run_id = await queue.enqueue_one("stubborn", RunRequest(("things",), Mode.DELTA))
        return await self._attempt()

    async def again(self) -> RunSummary:
        """The wait is over."""
        await self._sync.sql("UPDATE keepstep.runs SET due_at = now() WHERE state = 'waiting'")
        await self._sync.sql("SELECT keepstep.wake_waiting()")
        return await self._attempt()

    async def _attempt(self) -> RunSummary:
        runner = Runner(self._sync.database, self._upstream, Policy(), self.told.append)
        await runner.take_up(self.run_id)
        return await self._sync.views.run(self.run_id)

    async def waits(self) -> int:
        """How often in a row it has waited for the breaker."""
        waits: int = await self._sync.value("SELECT waits FROM keepstep.runs")
        return waits


async def test_a_run_waits_for_the_breaker_three_times_and_then_fails(sync: Sync) -> None:
    attempts = Attempts(sync, Stubborn(BreakerOpen("Upstream fails.", after=60, fix="Look at it.")))
    run = await attempts.begin()
    for waited in (1, 2, 3):
        assert (run.result, await attempts.waits()) == ("waiting", waited)
        run = await attempts.again()
    assert run.result == "failed"
    assert run.error is not None
    assert (run.error["message"], run.error["fix"]) == ("Upstream fails.", "Look at it.")
    assert [event.type for event in attempts.told].count("run-waiting") == 3
    assert "after 3 waits" in attempts.told[-1].msg
    assert await sync.value("SELECT count(*) FROM keepstep.locks") == 0


async def test_a_page_in_between_makes_the_waits_count_from_one_again(sync: Sync) -> None:
    upstream = Stubborn(BreakerOpen("Upstream fails.", after=60))
    attempts = Attempts(sync, upstream)
    await attempts.begin()
    await attempts.again()
    upstream.gives_a_page = True
    assert (await attempts.again()).result == "waiting"
    assert await attempts.waits() == 1
    upstream.error = None
    assert (await attempts.again()).result == "succeeded"


async def test_a_run_that_upstream_limits_waits_as_often_as_it_takes(sync: Sync) -> None:
    upstream = Stubborn(RateLimited("Not now.", after=2400))
    attempts = Attempts(sync, upstream)
    run = await attempts.begin()
    for _ in range(6):
        assert (run.result, await attempts.waits()) == ("waiting", 0)
        run = await attempts.again()
    upstream.error = None
    assert (await attempts.again()).result == "succeeded"
