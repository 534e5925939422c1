"""The ceiling on rate and on requests in flight."""

import asyncio
import itertools
from datetime import UTC, datetime, timedelta

import pytest

from keepstep.reliability.pacing import TIMER_SLACK, Pacer


class HandClock:
    """A clock on which time passes only while somebody sleeps."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.seconds)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, seconds: float) -> None:
        self.seconds += seconds
        await asyncio.sleep(0)


async def starts(pacer: Pacer, clock: HandClock, count: int) -> list[float]:
    found = []
    for _ in range(count):
        async with pacer.turn():
            found.append(clock.seconds)
    return found


async def test_starts_are_spread_evenly_over_the_second() -> None:
    clock = HandClock()
    pacer = Pacer(max_concurrency=2, per_second=4, clock=clock)

    times = await starts(pacer, clock, 9)

    gaps = [later - earlier for earlier, later in itertools.pairwise(times)]
    assert all(gap >= 0.25 - TIMER_SLACK - 1e-9 for gap in gaps)
    assert times[-1] - times[0] == pytest.approx(2.0, abs=2 * TIMER_SLACK)


async def test_a_pause_before_is_not_made_up_for_with_a_burst() -> None:
    clock = HandClock()
    pacer = Pacer(max_concurrency=9, per_second=2, clock=clock)
    await starts(pacer, clock, 1)
    clock.seconds += 60

    first, second, third = await starts(pacer, clock, 3)

    assert second - first >= 0.5 - TIMER_SLACK - 1e-9
    assert third - second >= 0.5 - TIMER_SLACK - 1e-9


@pytest.mark.parametrize("per_second", [None, 0])
async def test_without_a_rate_nothing_waits(per_second: float | None) -> None:
    clock = HandClock()
    pacer = Pacer(max_concurrency=1, per_second=per_second, clock=clock)

    assert await starts(pacer, clock, 50) == [100.0] * 50


async def test_no_more_than_the_ceiling_is_ever_in_flight() -> None:
    pacer = Pacer(max_concurrency=3, per_second=None, clock=HandClock())
    in_flight, most = 0, 0

    async def request() -> None:
        nonlocal in_flight, most
        async with pacer.turn():
            in_flight += 1
            most = max(most, in_flight)
            await asyncio.sleep(0)
            in_flight -= 1

    await asyncio.gather(*(request() for _ in range(20)))

    assert most == 3


async def test_a_pause_that_upstream_asked_for_holds_everyone() -> None:
    clock = HandClock()
    pacer = Pacer(max_concurrency=5, per_second=100, clock=clock)
    pacer.pause(7)

    times = await starts(pacer, clock, 2)

    assert times[0] >= 107
    pacer.pause(1)
    pacer.pause(0.1)
    assert (await starts(pacer, clock, 1))[0] >= times[1] + 1


async def test_cancelling_a_wait_gives_its_place_back() -> None:
    class Stuck(HandClock):
        async def sleep(self, seconds: float) -> None:
            await asyncio.Event().wait()

    stuck = Stuck()
    pacer = Pacer(max_concurrency=1, per_second=1, clock=stuck)
    async with pacer.turn():
        pass
    waiting = [asyncio.create_task(starts(pacer, stuck, 1)) for _ in range(3)]
    await asyncio.sleep(0)
    for one in waiting:
        one.cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    stuck.seconds += 1.0

    async with asyncio.timeout(5), pacer.turn():
        pass


async def test_a_failure_inside_gives_the_place_back() -> None:
    pacer = Pacer(max_concurrency=1, per_second=None, clock=HandClock())
    with pytest.raises(ZeroDivisionError):
        async with pacer.turn():
            raise ZeroDivisionError

    async with asyncio.timeout(5), pacer.turn():
        pass


def test_impossible_ceilings_are_refused() -> None:
    with pytest.raises(ValueError, match="max_concurrency"):
        Pacer(max_concurrency=0, per_second=1, clock=HandClock())
    with pytest.raises(ValueError, match="per_second"):
        Pacer(max_concurrency=1, per_second=-1, clock=HandClock())
