"""The loop behind all periodic work: woken, stopped, and not ended by any failure."""

import asyncio
from math import inf

import pytest
from structlog.testing import capture_logs

from keepstep.model.errors import StoreError
from keepstep.reliability import loop as loops
from keepstep.reliability.loop import LONGEST_PAUSE, Loop, pause_after

DEADLINE = 20.0


class Rounds:
    """Work that does one thing after the other, then nothing more. ``count`` tells how far it is."""

    def __init__(self, *results: float | Exception) -> None:
        self._results = list(results)
        self.count = 0
        self._counted = asyncio.Condition()

    async def __call__(self) -> float:
        result = self._results.pop(0) if self._results else inf
        async with self._counted:
            self.count += 1
            self._counted.notify_all()
        if isinstance(result, Exception):
            raise result
        return result

    async def until(self, count: int) -> None:
        """Wait for so many rounds."""
        async with asyncio.timeout(DEADLINE), self._counted:
            await self._counted.wait_for(lambda: self.count >= count)


@pytest.fixture
def hurried(monkeypatch: pytest.MonkeyPatch) -> None:
    """Outages whose pauses nobody notices."""
    monkeypatch.setattr(loops, "FIRST_PAUSE", 0.001)
    monkeypatch.setattr(loops, "LONGEST_PAUSE", 0.002)


async def test_rounds_follow_each_other_after_the_pause_that_each_one_names() -> None:
    rounds = Rounds(0, -5, 0.001, inf)
    async with Loop("counting", rounds).running():
        await rounds.until(4)
    assert rounds.count == 4


async def test_waking_begins_the_next_round_however_long_the_pause_is() -> None:
    rounds = Rounds(3600, inf)
    async with Loop("counting", rounds).running() as loop:
        for count in (1, 2, 3, 4):
            await rounds.until(count)
            loop.wake()
        await rounds.until(5)


async def test_waking_during_a_round_is_not_lost() -> None:
    begun, go_on, count = asyncio.Event(), asyncio.Event(), 0

    async def work() -> float:
        nonlocal count
        count += 1
        begun.set()
        await go_on.wait()
        return inf

    async with asyncio.timeout(DEADLINE), Loop("slow", work).running() as loop:
        await begun.wait()
        loop.wake()
        begun.clear()
        go_on.set()
        await begun.wait()
    assert count == 2


async def test_stopping_lets_the_round_under_way_end_and_begins_no_other() -> None:
    begun, ended = asyncio.Event(), []

    async def work() -> float:
        begun.set()
        for _ in range(10):
            await asyncio.sleep(0)
        ended.append(True)
        return 0.0

    async with asyncio.timeout(DEADLINE), Loop("slow", work).running() as loop:
        await begun.wait()
        loop.stop()
    assert ended == [True]


async def test_a_round_that_does_not_end_is_cancelled_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loops, "PATIENCE", 0.01)
    begun, cancelled = asyncio.Event(), asyncio.Event()

    async def work() -> float:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()
        return 0.0

    async with asyncio.timeout(DEADLINE):
        async with Loop("stuck", work).running():
            await begun.wait()
        assert cancelled.is_set()


@pytest.mark.usefixtures("hurried")
async def test_an_outage_is_told_as_it_begins_and_as_it_ends() -> None:
    away = StoreError("The database cannot be reached.", fix="Start it.")
    rounds = Rounds(0, away, away, away, 0, away, inf)
    with capture_logs() as told:
        async with Loop("counting", rounds).running():
            await rounds.until(7)
    begin = {"event": "The database cannot be reached.", "loop": "counting", "fix": "Start it.", "log_level": "warning"}
    assert told[0] == told[2] == begin
    assert (told[1]["event"], told[1]["failures"]) == ("works again", 3)
    assert [line["event"] for line in told].count("The database cannot be reached.") == 2


@pytest.mark.usefixtures("hurried")
async def test_a_fault_of_ours_is_told_with_its_traceback_and_does_not_end_the_loop() -> None:
    rounds = Rounds(StoreError("away"), ZeroDivisionError("by zero"), ZeroDivisionError("by zero"), inf)
    with capture_logs() as told:
        async with Loop("counting", rounds).running():
            await rounds.until(4)
    assert [line["event"] for line in told][:2] == ["away", "unexpected ZeroDivisionError: by zero"]
    assert isinstance(told[1]["exc_info"], ZeroDivisionError)


async def test_an_outage_does_not_hold_up_the_end() -> None:
    rounds = Rounds(StoreError("away"))
    async with asyncio.timeout(DEADLINE), Loop("counting", rounds).running():
        await rounds.until(1)


async def test_waking_does_not_shorten_the_pauses_of_an_outage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loops, "FIRST_PAUSE", 3600.0)
    monkeypatch.setattr(loops, "LONGEST_PAUSE", 3600.0)
    rounds = Rounds(StoreError("away"))
    async with Loop("counting", rounds).running() as loop:
        await rounds.until(1)
        for _ in range(20):
            loop.wake()
            await asyncio.sleep(0)
    assert rounds.count == 1


def test_pauses_grow_to_a_limit() -> None:
    pauses = [pause_after(failures) for failures in (1, 2, 3, 4, 5, 6, 1000)]
    assert pauses == sorted(pauses)
    assert (pauses[0], pauses[-1]) == (0.5, LONGEST_PAUSE)
