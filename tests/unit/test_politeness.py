"""What several processes together send, in hours that take no time: the real pacer, a desk in memory, an upstream that
counts.
"""

import asyncio
import itertools
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.paced import Counting, MemoryDesk, worker
from tests.support.virtual import run_virtually

from keepstep.model.errors import BreakerOpen, RateLimited
from keepstep.reliability.breaker import Phase
from keepstep.reliability.pacing import Outcome, Turn, Verdict
from keepstep.reliability.politeness import AHEAD, AHEAD_TOGETHER, Politeness, Rules, close_breaker
from keepstep.reliability.shared_pacer import SharedPacer
from keepstep.reliability.sharing import TTL
from keepstep.reliability.windows import Window

MINUTE, HOUR = Window(50, 60.0), Window(500, 3600.0)
SHORT, LONG = Window(12, 10.0), Window(40, 120.0)


def now() -> float:
    return asyncio.get_running_loop().time()


class House:
    """Processes with one desk and one upstream."""

    def __init__(self, upstream: Counting, processes: int = 1, **rules: Any) -> None:
        self.upstream = upstream
        self.desk = MemoryDesk()
        self.rules = Rules(**rules)
        self.pacers = [SharedPacer(self.desk, self.rules, title="Upstream") for _ in range(processes)]

    async def send(self, count: int, ahead: int = 4) -> float:
        """Each process sends so many requests; gives how long that took."""
        started = now()
        done = await asyncio.gather(*(worker(pacer, self.upstream, count, ahead) for pacer in self.pacers))
        assert done == [count] * len(self.pacers)
        return now() - started

    async def one(self, process: int = 0, **options: Any) -> Outcome:
        """One request."""
        async with self.pacers[process].turn(**options) as turn:
            outcome = await self.upstream.request()
            turn.ended(outcome)
        return outcome

    async def close(self) -> None:
        """Every process ends in order."""
        for pacer in self.pacers:
            await pacer.aclose()

    @property
    def refused(self) -> list[float]:
        """When upstream said 429."""
        return [arrival.at for arrival in self.upstream.arrivals if arrival.status == 429]

    @property
    def state(self) -> Politeness:
        return self.desk.state


# The vendor's windows


@pytest.mark.parametrize("sliding", [False, True], ids=["fixed windows", "sliding windows"])
def test_under_50_a_minute_and_500_an_hour_nothing_over_the_limit_is_sent_once_a_429_has_told(sliding: bool) -> None:
    async def story() -> None:
        house = House(Counting((MINUTE, HOUR), sliding), processes=3, max_concurrency=2, windows=(MINUTE, HOUR))
        took = await house.send(200)
        await house.close()

        assert took > 3600  # 600 requests
        first = house.refused[0]
        assert all(at < first + house.upstream.latency[1] + AHEAD_TOGETHER for at in house.refused)
        assert len(house.refused) <= 2  # what was in flight
        assert all(sends.holds(house.desk.now()) for sends in house.state.sends)

    run_virtually(story())


@settings(max_examples=15, deadline=None)
@given(
    sliding=st.booleans(),
    processes=st.integers(1, 3),
    concurrency=st.integers(1, 5),
    per_second=st.sampled_from([0.0, 0.7, 4.0, 30.0]),
    slow=st.floats(0.01, 3.0),
    delay=st.floats(0.001, 0.5),
    seed=st.integers(0, 1000),
)
def test_whatever_the_windows_the_processes_and_the_delays_a_limit_is_met_once_at_most(
    sliding: bool, processes: int, concurrency: int, per_second: float, slow: float, delay: float, seed: int
) -> None:
    async def story() -> None:
        upstream = Counting((SHORT, LONG), sliding, latency=(0.005, slow), rng=random.Random(seed))
        house = House(upstream, processes, max_concurrency=concurrency, per_second=per_second, windows=(SHORT, LONG))
        house.desk.latency = delay
        await house.send(60 // processes, 2 * concurrency)
        await house.close()

        known = slow + delay + AHEAD + 2 * delay  # in flight, told, and granted before it was told
        assert all(at <= house.refused[0] + known for at in house.refused)
        assert upstream.most <= concurrency

    run_virtually(story())


@settings(max_examples=10, deadline=None)
@given(
    sliding=st.booleans(),
    processes=st.integers(1, 3),
    concurrency=st.integers(1, 5),
    slow=st.floats(0.01, 2.0),
    seed=st.integers(0, 1000),
)
def test_an_upstream_that_says_what_is_left_never_has_to_refuse(
    sliding: bool, processes: int, concurrency: int, slow: float, seed: int
) -> None:
    async def story() -> None:
        upstream = Counting((SHORT, LONG), sliding, headers=True, latency=(0.005, slow), rng=random.Random(seed))
        house = House(upstream, processes, max_concurrency=concurrency, windows=(SHORT, LONG))
        await house.send(60 // processes, 2 * concurrency)
        await house.close()

        assert house.refused == []

    run_virtually(story())


def test_headers_alone_are_enough_where_the_vendors_limits_are_not_known() -> None:
    async def story() -> None:
        house = House(Counting((SHORT,), headers=True), max_concurrency=3)
        took = await house.send(60)
        await house.close()

        assert house.refused == []
        assert 40 < took < 60  # five windows of 12

    run_virtually(story())


def test_a_limit_that_upstream_has_not_shown_costs_nothing() -> None:
    async def story() -> None:
        house = House(Counting(latency=(0.01, 0.01)), max_concurrency=2, windows=(MINUTE, HOUR))
        took = await house.send(1000)
        await house.close()

        assert took < 7
        assert house.desk.questions < 4 * took + 10

    run_virtually(story())


def test_a_429_does_not_bring_a_limit_into_force_that_was_passed_many_times_over() -> None:
    async def story() -> None:
        upstream = Counting()
        house = House(upstream, max_concurrency=2, windows=(MINUTE,))
        await house.send(150)
        upstream.status = lambda _now: 429 if len(upstream.arrivals) == 150 else 200

        assert await house.send(150) < 60
        assert not house.state.sends[0].holds(house.desk.now())

    run_virtually(story())


def test_a_wait_of_forty_minutes_is_refused_at_once_and_nothing_leaves() -> None:
    async def story() -> None:
        house = House(Counting((MINUTE, HOUR)), processes=2, max_concurrency=2, windows=(MINUTE, HOUR))
        async with house.pacers[0].turn() as turn:
            turn.ended(Outcome(Verdict.LIMITED, 429, retry_after=1.0))
        for _ in range(11):
            await house.send(21)
            await asyncio.sleep(100)
        with pytest.raises(RateLimited, match="500 requests in 60 min") as refusal:
            for _ in range(50):
                await house.one()
        asked = now()
        with pytest.raises(RateLimited) as again:
            await house.one(1)

        assert now() - asked < 0.1
        assert 2300 < (again.value.after or 0) <= (refusal.value.after or 0) < 2600
        assert len(house.upstream.arrivals) == 499
        assert house.refused == []
        await house.close()

    run_virtually(story())


# Retry-After


def test_a_long_pause_holds_everybody_and_is_told_before_anything_leaves() -> None:
    async def story() -> None:
        house = House(Counting(), processes=2)
        async with house.pacers[0].turn() as turn:
            turn.ended(Outcome(Verdict.LIMITED, 429, retry_after=2400.0))
        await asyncio.sleep(0.1)

        with pytest.raises(RateLimited, match="asked for a pause: the next request may leave in 40 min") as refusal:
            await house.one(1)
        assert refusal.value.after == pytest.approx(2400, abs=1)
        assert house.upstream.arrivals == []

        await asyncio.sleep(2400)
        await house.one(1)

    run_virtually(story())


def test_a_short_pause_is_sat_out_and_one_without_a_time_grows() -> None:
    async def story() -> None:
        house = House(Counting(latency=(0, 0)))
        waits = []
        for after in (7.0, None, None, None):
            async with house.pacers[0].turn() as turn:
                turn.ended(Outcome(Verdict.LIMITED, 429, retry_after=after))
            paused = now()
            async with house.pacers[0].turn() as turn:
                waits.append(now() - paused)

        assert waits[0] == pytest.approx(7, abs=0.1)
        assert waits[1:] == pytest.approx([0.9, 1.62, 2.916], abs=0.1)

    run_virtually(story())


# Rate and concurrency


@settings(max_examples=15, deadline=None)
@given(processes=st.integers(1, 3), per_second=st.floats(0.2, 40.0), seed=st.integers(0, 1000))
def test_the_ceiling_holds_for_all_processes_together_and_is_used(processes: int, per_second: float, seed: int) -> None:
    async def story() -> None:
        upstream = Counting(latency=(0.0, 0.0), rng=random.Random(seed))
        house = House(upstream, processes, max_concurrency=5, per_second=per_second)
        took = await house.send(60 // processes)
        await house.close()

        starts = [arrival.at for arrival in upstream.arrivals]
        for count in (2, 5, 20):
            for first, last in zip(starts, starts[count:], strict=False):
                assert last - first >= (count - 1) / per_second - 0.02
        assert took < 60 / per_second * 1.25 + 3

    run_virtually(story())


def test_starts_of_one_process_are_evenly_spaced() -> None:
    async def story() -> None:
        house = House(Counting(latency=(0.0, 0.3)), max_concurrency=3, per_second=4)
        starts = []
        for _ in range(20):
            async with house.pacers[0].turn():
                starts.append(now())

        gaps = [later - earlier for earlier, later in itertools.pairwise(starts)]
        assert min(gaps) > 0.24
        assert max(gaps) < 0.27

    run_virtually(story())


def test_it_begins_with_one_request_in_flight_and_rises() -> None:
    async def story() -> None:
        upstream = Counting(latency=(0.1, 0.1))
        house = House(upstream, max_concurrency=6)
        await house.send(2)
        assert upstream.most == 1
        await house.send(100, 12)
        assert upstream.most == 6

        upstream.status = lambda _now: 500 if len(upstream.arrivals) == 102 else 200
        await house.send(2)
        assert house.state.ramp.places(6) == 3
        await asyncio.sleep(400)
        await house.send(1)
        assert house.state.ramp.places(6) == 1  # it begins anew after a rest

    run_virtually(story())


@pytest.mark.parametrize("concurrency", [1, 2, 5])
@pytest.mark.parametrize("per_second", [0.0, 4.0])
def test_a_question_of_another_process_gets_its_turn_within_about_a_second(concurrency: int, per_second: float) -> None:
    async def story() -> None:
        house = House(Counting(latency=(0.2, 0.3)), processes=2, max_concurrency=concurrency, per_second=per_second)
        run = asyncio.create_task(worker(house.pacers[0], house.upstream, 1000, 2 * concurrency))
        for _ in range(5):
            await asyncio.sleep(3.3)
            asked = now()
            async with house.pacers[1].turn():
                waited = now() - asked
            assert waited < 1.3
        assert not run.done()
        run.cancel()

    run_virtually(story())


def test_of_more_processes_than_slots_each_gets_about_the_same() -> None:
    async def story() -> None:
        upstream = Counting(latency=(0.05, 0.1))
        house = House(upstream, processes=3, max_concurrency=1)
        done = [0, 0, 0]

        async def hungry(process: int) -> None:
            while True:
                await house.one(process)
                done[process] += 1

        running = [asyncio.create_task(hungry(process)) for process in range(3)]
        await asyncio.sleep(60)
        for one in running:
            one.cancel()

        assert upstream.most == 1
        assert min(done) > 0.6 * max(done)
        assert sum(done) > 60 / 0.075 * 0.6

    run_virtually(story())


def test_what_a_dead_process_held_comes_back() -> None:
    async def story() -> None:
        house = House(Counting(), processes=2, max_concurrency=1)
        held = Turn()

        async def dying() -> None:
            async with house.pacers[0].turn() as turn:
                nonlocal held
                held = turn
                house.pacers[0]._fetching.cancel()  # type: ignore[union-attr]
                await asyncio.Event().wait()

        dead = asyncio.create_task(dying())
        await asyncio.sleep(0.5)
        asked = now()
        await house.one(1)

        assert TTL - 1 < now() - asked < TTL + 1
        dead.cancel()

    run_virtually(story())


def test_a_clock_that_is_set_back_stops_nothing() -> None:
    async def story() -> None:
        house = House(Counting((SHORT,), sliding=True), max_concurrency=2, per_second=4, windows=(SHORT,))
        await house.send(20)
        house.desk.turn_back = 86_400.0
        took = await house.send(40)
        await house.close()

        assert took < 60
        assert len(house.refused) <= 2

    run_virtually(story())


# The breaker


def test_the_breaker_opens_at_the_threshold_and_not_one_request_leaves_while_it_is_open() -> None:
    async def story() -> None:
        upstream = Counting(status=lambda _now: 503, latency=(0.01, 0.3))
        house = House(upstream, processes=3, max_concurrency=2, breaker_threshold=5, breaker_cooldown=60.0)

        async def insistent(process: int) -> None:
            while True:
                try:
                    await house.one(process)
                except BreakerOpen:
                    await asyncio.sleep(0.05)

        running = [asyncio.create_task(insistent(process)) for process in (0, 1, 2, 0, 1, 2)]
        await asyncio.sleep(50)
        assert len(upstream.arrivals) == 5
        assert house.state.breaker.phase(house.desk.now()) is Phase.OPEN

        await asyncio.sleep(60)
        assert len(upstream.arrivals) == 6  # one probe, and it failed
        last = upstream.arrivals[-1].at
        assert 60 < last - upstream.arrivals[4].at < 62

        upstream.status = lambda _now: 200
        await asyncio.sleep(last + 59 - now())
        assert len(upstream.arrivals) == 6
        await asyncio.sleep(20)
        assert upstream.arrivals[6].at - last > 60
        assert house.state.breaker.phase(house.desk.now()) is Phase.CLOSED
        assert len(upstream.arrivals) > 100
        for one in running:
            one.cancel()

    run_virtually(story())


def test_while_it_is_open_a_request_is_refused_with_the_time_of_the_probe() -> None:
    async def story() -> None:
        house = House(Counting(status=lambda _now: 500), breaker_threshold=2, breaker_cooldown=10.0)
        await house.one()
        await house.one()

        with pytest.raises(BreakerOpen, match="failed too often in a row") as refusal:
            await house.one()
        assert refusal.value.after == pytest.approx(10, abs=0.5)
        assert len(house.upstream.arrivals) == 2

    run_virtually(story())


@pytest.mark.parametrize("status", [200, 401, 404, 429])
def test_an_answer_that_is_no_fault_closes_it(status: int) -> None:
    async def story() -> None:
        house = House(Counting(status=lambda _now: 500), breaker_threshold=1, breaker_cooldown=5.0)
        await house.one()
        await asyncio.sleep(6)
        async with house.pacers[0].turn() as turn:
            verdict = Verdict.LIMITED if status == 429 else Verdict.GOOD
            turn.ended(Outcome(verdict, status))
        await house.close()

        assert house.state.breaker.phase(house.desk.now()) is Phase.CLOSED

    run_virtually(story())


def test_a_probe_that_proves_nothing_is_followed_by_another_one() -> None:
    async def story() -> None:
        house = House(Counting(status=lambda _now: 500), processes=2, breaker_threshold=1, breaker_cooldown=5.0)
        await house.one()
        await asyncio.sleep(6)
        async with house.pacers[0].turn():
            pass
        await asyncio.sleep(0.5)
        assert house.state.breaker.phase(house.desk.now()) is Phase.HALF_OPEN
        house.upstream.status = lambda _now: 200
        await house.one(1)
        await house.close()

        assert house.state.breaker.phase(house.desk.now()) is Phase.CLOSED

    run_virtually(story())


def test_it_can_be_closed_by_force() -> None:
    async def story() -> None:
        house = House(Counting(status=lambda _now: 500), breaker_threshold=1)
        await house.one()
        with pytest.raises(BreakerOpen):
            await house.one()
        house.desk.text = close_breaker(house.state).stored_form()
        house.upstream.status = lambda _now: 200
        await asyncio.sleep(1)

        assert (await house.one()).code == 200

    run_virtually(story())


def test_one_good_answer_among_bad_ones_keeps_it_closed() -> None:
    async def story() -> None:
        upstream = Counting()
        upstream.status = lambda _now: 200 if len(upstream.arrivals) % 4 == 3 else 500
        house = House(upstream, breaker_threshold=4)
        for _ in range(20):
            await house.one()
        await house.close()

        assert house.state.breaker.phase(house.desk.now()) is Phase.CLOSED

    run_virtually(story())


# Cancelling and closing


def test_cancelling_a_wait_gives_its_place_back() -> None:
    async def story() -> None:
        house = House(Counting(), max_concurrency=1, per_second=1)
        async with house.pacers[0].turn():
            waiting = [asyncio.create_task(house.one()) for _ in range(5)]
            await asyncio.sleep(0.5)
            for one in waiting:
                one.cancel()
            await asyncio.gather(*waiting, return_exceptions=True)

        async with asyncio.timeout(3):
            await house.one()
        await house.close()
        assert house.state.holders[house.pacers[0]._holder].places == 0

    run_virtually(story())


def test_a_pacer_that_is_no_longer_used_gives_everything_back_by_itself() -> None:
    async def story() -> None:
        house = House(Counting())
        await house.one()
        await asyncio.sleep(1)
        assert all(holder.places == holder.pending == 0 for holder in house.state.holders.values())
        asked = house.desk.questions
        await asyncio.sleep(3600)
        assert house.desk.questions == asked
        assert house.desk.codes == {"200": 1}
        await house.one()

    run_virtually(story())
