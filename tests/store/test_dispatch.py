"""Dispatch in the database: who is due becomes a queued run, once, in one transaction, whatever the clock does."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.support.schedules import NOON, Stage, at

from keepstep.dispatch import schedule as pure
from keepstep.store import schedules
from keepstep.store.db import Connection, Database
from keepstep.store.notices import listening

ZONES = ("UTC", "Europe/Rome", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
SECOND, MINUTE, HOUR, DAY = (timedelta(**{unit: 1}) for unit in ("seconds", "minutes", "hours", "days"))
instants = st.integers(631_152_000_000_000, 4_733_510_400_000_000).map(lambda us: EPOCH + timedelta(microseconds=us))


@pytest.fixture
def stage(connection: Connection) -> Stage:
    return Stage(connection)


@pytest.fixture(params=["UTC", "America/New_York"])
async def elsewhere(request: pytest.FixtureRequest, stage: Stage) -> Stage:
    """The same in a session whose days can have 23 or 25 hours."""
    await stage.call(f"SET timezone = '{request.param}'")
    return stage


async def until_somebody_waits(database: Database) -> None:
    """Wait until a session waits for a lock of another one."""
    waiting = b"SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with database.connection() as connection, asyncio.timeout(20):
        while not await (await connection.execute(waiting)).fetchall():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


# The arithmetic


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    zone=st.sampled_from(ZONES),
    cases=st.lists(
        st.tuples(
            instants, instants, st.integers(60, 2_592_000), st.integers(0, 23), st.integers(1, 2**62), st.booleans()
        ),
        min_size=60,
        max_size=60,
    ),
)
@example(zone="Europe/Rome", cases=[(at("2026-03-29T00:59:59.999999"), at("2026-03-28T01:00"), 86_400, 1, 1, False)])
@example(zone="America/New_York", cases=[(at("2003-10-26T04:56:13"), at("2004-01-29T02:22:39"), 227, 1, 1, False)])
@example(zone="America/New_York", cases=[(at("2026-11-01T05:30"), at("2020-01-01"), 2_592_000, 5, 2**62, True)])
def test_the_functions_of_the_database_are_those_of_python(
    dsn: str, zone: str, cases: Sequence[tuple[datetime, datetime, int, int, int, bool]]
) -> None:
    statement = """
        SELECT keepstep.next_slot(c.moment, c.anchor, c.interval_seconds),
               keepstep.jitter(c.id, c.interval_seconds),
               keepstep.next_full(c.moment, c.hour, keepstep.jitter(c.id, 86400), c.done)
        FROM unnest(%s::timestamptz[], %s::timestamptz[], %s::int[], %s::int[], %s::bigint[], %s::boolean[])
            WITH ORDINALITY AS c (moment, anchor, interval_seconds, hour, id, done, n) ORDER BY c.n"""
    with psycopg.connect(dsn, options=f"-c timezone={zone}") as connection:
        found = connection.execute(statement, [list(column) for column in zip(*cases, strict=True)]).fetchall()
    for (now, anchor, seconds, hour, schedule_id, done), (slot, share, full) in zip(cases, found, strict=True):
        interval = timedelta(seconds=seconds)
        # In UTC: Python calls an hour that comes twice in one zone unequal to itself in any other.
        assert slot.astimezone(UTC) == pure.next_slot(now, anchor, interval)
        assert share == pure.jitter(schedule_id, interval)
        assert full.astimezone(UTC) == pure.next_full(now, hour, pure.jitter(schedule_id, DAY), done_today=done)


# What a dispatch does


async def test_a_due_schedule_becomes_one_queued_run_with_its_queue_row(stage: Stage) -> None:
    schedule = await stage.add(entities=["owners", "units"])
    assert await stage.dispatch(NOON) == ([1], [])
    assert await stage.dispatch(NOON) == ([], [])
    [run] = await stage.runs()
    expected = {
        "connection_id": 1, "mode": "delta", "trigger": "schedule", "state": "queued", "in_queue": True,
        "dry_run": False, "schedule_id": schedule, "entities": ["owners", "units"], "planned_at": NOON,
        "created_at": NOON, "queued_at": NOON, "caught_up": False, "started_at": None, "actor": None,
    }  # fmt: skip
    assert {name: run[name] for name in expected} == expected
    [row] = await stage.queue()
    assert row == {
        "task_name": "keepstep.run", "args": {"run_id": run["id"]}, "queue_name": "scheduled", "priority": 50,
        "lock": "connection/1", "queueing_lock": f"run/{run['id']}", "status": "todo", "scheduled_at": None,
    }  # fmt: skip


async def test_missed_slots_are_one_run_and_the_next_lies_on_the_old_grid(elsewhere: Stage) -> None:
    schedule = await elsewhere.add(interval=600, anchor=at("2026-03-01T00:03"))
    await elsewhere.plan(schedule, delta_at=NOON - 3 * DAY)
    assert await elsewhere.dispatch(NOON) == ([1], [])
    assert (await elsewhere.times(schedule))["delta_at"] == NOON + 3 * MINUTE
    assert (await elsewhere.runs())[0]["planned_at"] == NOON - 3 * DAY


async def test_a_connection_with_a_live_run_is_skipped_and_moves_on(stage: Stage) -> None:
    schedule = await stage.add(interval=600, anchor=NOON)
    for state in ("queued", "running", "waiting"):
        await stage.live_run(1, state)
        await stage.plan(schedule, delta_at=NOON)
        assert await stage.dispatch(NOON + SECOND) == ([], [schedule])
        assert (await stage.times(schedule))["due_at"] == NOON + 10 * MINUTE
        await stage.end_runs()
    assert await stage.queue() == []


async def test_of_two_schedules_of_one_connection_the_full_one_goes_first(stage: Stage) -> None:
    delta = await stage.add(name="often", interval=600, anchor=NOON)
    full = await stage.add(name="nightly", interval=600, anchor=NOON, full_at=12)
    await stage.plan(delta, delta_at=NOON - MINUTE)
    await stage.plan(full, delta_at=NOON, full_at=NOON)
    assert await stage.dispatch(NOON) == ([1], [delta])
    assert [run["mode"] for run in await stage.runs()] == ["backfill"]


async def test_a_full_run_covers_the_delta_that_is_due_with_it(elsewhere: Stage) -> None:
    schedule = await elsewhere.add(interval=600, anchor=NOON, full_at=12)
    await elsewhere.plan(schedule, delta_at=NOON, full_at=NOON)
    assert await elsewhere.dispatch(NOON) == ([1], [])
    [run] = await elsewhere.runs()
    assert (run["mode"], run["trigger"], run["caught_up"]) == ("backfill", "nightly", False)
    [row] = await elsewhere.queue()
    assert (row["queue_name"], row["priority"]) == ("full", 10)
    times = await elsewhere.times(schedule)
    assert times["delta_at"] == times["due_at"] == NOON + 10 * MINUTE
    assert times["full_at"] == NOON + DAY + pure.jitter(schedule, DAY)


async def test_a_full_run_whose_hour_was_missed_comes_on_return_and_counts_for_that_day(elsewhere: Stage) -> None:
    schedule = await elsewhere.add(interval=600, anchor=NOON, full_at=12)
    await elsewhere.plan(schedule, delta_at=NOON, full_at=NOON)
    back = NOON + 2 * DAY - 3 * HOUR
    await elsewhere.dispatch(back)
    [run] = await elsewhere.runs()
    assert (run["trigger"], run["caught_up"], run["planned_at"]) == ("nightly", True, NOON)
    await elsewhere.end_runs()
    days = [await elsewhere.full_runs_of(schedule, back + offset * DAY) for offset in range(1, 5)]
    assert days == [1, 1, 1, 1]  # none at noon of the day of return itself


async def test_a_full_run_that_finds_the_connection_busy_is_tried_again_and_not_lost(stage: Stage) -> None:
    schedule = await stage.add(interval=600, anchor=NOON, full_at=12)
    await stage.plan(schedule, delta_at=NOON, full_at=NOON)
    await stage.live_run(1, "running")
    assert await stage.dispatch(NOON + SECOND) == ([], [schedule])
    times = await stage.times(schedule)
    assert (times["delta_at"], times["full_at"]) == (NOON + 10 * MINUTE, NOON + SECOND + 5 * MINUTE)
    await stage.end_runs()
    started, skipped = await stage.dispatch(NOON + 6 * MINUTE)
    assert (len(started), skipped) == (1, [])
    assert (await stage.runs())[-1]["trigger"] == "nightly"


async def test_with_outages_of_any_length_every_day_that_saw_the_service_has_one_full_run(elsewhere: Stage) -> None:
    schedule = await elsewhere.add(interval=7200, anchor=NOON, full_at=5)
    await elsewhere.plan(schedule, delta_at=NOON, full_at=NOON + 17 * HOUR)
    moment, served = NOON, set[str]()
    outages = {10: 3, 20: 30, 27: 50, 33: 9, 40: 20, 41: 1}
    for day in range(60):
        for _ in range(6):
            moment += 4 * HOUR
            await elsewhere.dispatch(moment)
            await elsewhere.end_runs()
            if moment > NOON + 17 * HOUR and moment.hour > 5:
                served.add(f"{moment:%F}")
        moment += timedelta(hours=outages.get(day, 0))
    runs = [run for run in await elsewhere.runs() if run["trigger"] == "nightly"]
    days = [f"{run['created_at'].astimezone(UTC):%F}" for run in runs]
    assert len(days) == len(set(days))
    assert served <= set(days)
    assert all(run["caught_up"] == (run["created_at"].astimezone(UTC).hour != 5) for run in runs)


async def test_no_more_than_a_batch_is_claimed_and_the_longest_due_first(stage: Stage) -> None:
    first, second, third = [await stage.add(owner=f"user {n}") for n in range(3)]
    await stage.plan(first, delta_at=NOON - MINUTE)
    await stage.plan(second, delta_at=NOON - HOUR)
    await stage.plan(third, delta_at=NOON - SECOND)
    found = await stage.call("SELECT * FROM keepstep.dispatch_due(2, %s)", NOON)
    assert (len(found["started"]), found["more"]) == (2, True)
    assert {run["schedule_id"] for run in await stage.runs()} == {first, second}
    found = await stage.call("SELECT * FROM keepstep.dispatch_due(2, %s)", NOON)
    assert (len(found["started"]), found["more"]) == (1, False)
    assert found["next_due"] > NOON


async def test_one_notification_for_each_queue_wakes_the_workers(stage: Stage, database: Database) -> None:
    for n in range(5):
        await stage.add(owner=f"user {n}")
    full = await stage.add(owner="nightly", full_at=12)
    await stage.plan(full, delta_at=NOON, full_at=NOON)
    async with (
        listening(database, "procrastinate_queue_v1#scheduled", name="test") as scheduled,
        listening(database, "procrastinate_queue_v1#full", name="test") as nightly,
        asyncio.timeout(20),
    ):
        await stage.dispatch(NOON)
        last = max((await stage.call("SELECT max(id) AS id FROM keepstep_queue.procrastinate_jobs"))["id"], 0)
        told = [await anext(scheduled), await anext(nightly)]
        assert all('"job_inserted"' in notice for notice in told)
        assert any(f'"job_id" : {last}' in notice for notice in told)
        await stage.call("SELECT pg_notify('procrastinate_queue_v1#scheduled', 'after')")
        assert await anext(scheduled) == "after"


async def test_many_dispatchers_at_once_start_every_run_once(stage: Stage, database: Database) -> None:
    await stage.many(300)

    async def one() -> list[int]:
        started: list[int] = []
        async with database.connection() as connection:
            while (done := await schedules.dispatch_due(connection, batch=20)).more or done.started:
                started += done.started
        return started

    found = [run for started in await asyncio.gather(*(one() for _ in range(6))) for run in started]
    assert len(found) == len(set(found)) == 300
    assert len(await stage.queue()) == 300
    assert len({run["connection_id"] for run in await stage.runs()}) == 300


async def test_two_dispatchers_that_meet_at_the_same_connections_do_not_lock_each_other_out(
    stage: Stage, database: Database
) -> None:
    for n in range(40):
        for name in ("a", "b"):
            await stage.add(owner=f"user {n}", name=name)

    async def one() -> int:
        count = 0
        async with database.connection() as connection:
            while (done := await schedules.dispatch_due(connection, batch=7)).started or done.skipped:
                count += len(done.started)
        return count

    assert sum(await asyncio.gather(*(one() for _ in range(4)))) == 40


async def test_it_does_not_wait_for_the_disk_and_leaves_the_session_as_it_was(stage: Stage, database: Database) -> None:
    await stage.add()
    async with database.connection() as other:
        async with other.transaction():
            await schedules.dispatch_due(other)
            within = await Stage(other).call("SHOW synchronous_commit")
        assert (within, await Stage(other).call("SHOW synchronous_commit")) == (
            {"synchronous_commit": "off"},
            {"synchronous_commit": "on"},
        )


async def test_a_dispatch_that_is_rolled_back_leaves_nothing(stage: Stage, database: Database) -> None:
    schedule = await stage.add()
    before = await stage.times(schedule)
    async with database.connection() as other:
        with suppress(ZeroDivisionError):
            async with other.transaction():
                assert len((await schedules.dispatch_due(other)).started) == 1
                raise ZeroDivisionError
    assert (await stage.times(schedule), await stage.runs(), await stage.queue()) == (before, [], [])


# Edits


async def test_enabling_makes_it_due_at_once_and_disabling_ends_it(stage: Stage) -> None:
    schedule = await stage.add(enabled=False)
    assert await stage.times(schedule) == {}
    await stage.edit(schedule, "enabled = true")
    now = await stage.now()
    assert abs((await stage.times(schedule))["due_at"] - now) < MINUTE
    assert (await stage.dispatch())[0] != []
    left = (await stage.times(schedule))["due_at"] - now
    assert timedelta(seconds=570) - MINUTE <= left <= timedelta(seconds=601)
    await stage.edit(schedule, "enabled = false")
    assert await stage.times(schedule) == {}
    assert await stage.dispatch() == ([], [])


async def test_a_new_interval_moves_only_this_schedule_and_by_one_new_interval_at_most(stage: Stage) -> None:
    edited, other = await stage.add(interval=86_400), await stage.add(owner="other", interval=86_400)
    await stage.dispatch()
    before = await stage.times(other)
    await stage.edit(edited, "interval_seconds = 600")
    left = (await stage.times(edited))["due_at"] - await stage.now()
    assert timedelta(seconds=570) - MINUTE < left <= timedelta(seconds=600)
    assert await stage.times(other) == before


async def test_what_is_overdue_stays_so_through_an_edit(stage: Stage) -> None:
    schedule = await stage.add()
    due = (await stage.times(schedule))["due_at"]
    await stage.edit(schedule, "interval_seconds = 86400, entities = '{units}'")
    assert (await stage.times(schedule))["due_at"] == due


async def test_a_new_hour_takes_effect_at_once_but_not_twice_on_one_day(stage: Stage) -> None:
    schedule = await stage.add(full_at=5)
    now = await stage.now()
    later = (now + HOUR).astimezone(UTC)
    await stage.edit(schedule, f"full_at_hour_utc = {later.hour}")
    full = (await stage.times(schedule))["full_at"]
    assert full.astimezone(UTC).hour == later.hour
    assert timedelta(0) < full - now <= HOUR + MINUTE
    await stage.plan(schedule, delta_at=now, full_at=now)
    await stage.dispatch()  # today's
    await stage.edit(schedule, "full_at_hour_utc = 23")
    assert (await stage.times(schedule))["full_at"].astimezone(UTC).date() == now.astimezone(UTC).date() + DAY
    await stage.edit(schedule, "full_at_hour_utc = NULL")
    assert (await stage.times(schedule))["full_at"] is None


async def test_an_edit_is_told_to_the_dispatchers(stage: Stage, database: Database) -> None:
    async with listening(database, "keepstep_schedules", name="test") as notices, asyncio.timeout(20):
        schedule = await stage.add()
        await anext(notices)
        await stage.edit(schedule, "interval_seconds = 700")
        await anext(notices)


async def test_an_edit_during_a_dispatch_is_not_lost(stage: Stage, database: Database) -> None:
    schedule = await stage.add(interval=86_400)
    async with database.connection() as dispatcher, dispatcher.transaction():
        await schedules.dispatch_due(dispatcher)
        edit = asyncio.create_task(stage.edit(schedule, "interval_seconds = 600"))
        await until_somebody_waits(database)
    await edit
    assert (await stage.times(schedule))["due_at"] - await stage.now() <= timedelta(seconds=600)


# The clock


async def test_after_the_clock_went_back_nothing_waits_longer_than_its_interval(elsewhere: Stage) -> None:
    schedule = await elsewhere.add(interval=600, anchor=NOON, full_at=13)
    await elsewhere.plan(schedule, delta_at=NOON + 500 * DAY, full_at=NOON + 500 * DAY)
    await elsewhere.dispatch(NOON + 500 * DAY)
    await elsewhere.end_runs()
    waiting = await elsewhere.live_run(1, "waiting", due_at=NOON + 500 * DAY + 40 * MINUTE)
    await elsewhere.dispatch(NOON)
    times = await elsewhere.times(schedule)
    assert (times["delta_at"], times["full_at"]) == (NOON + 10 * MINUTE, NOON + HOUR + pure.jitter(schedule, DAY))
    assert (await elsewhere.runs())[-1]["id"] == waiting
    assert (await elsewhere.runs())[-1]["due_at"] == NOON + 40 * MINUTE


async def test_a_clock_that_goes_forward_starts_one_run_and_none_for_what_it_jumped_over(elsewhere: Stage) -> None:
    schedule = await elsewhere.add(interval=600, anchor=NOON)
    await elsewhere.plan(schedule, delta_at=NOON)
    await elsewhere.dispatch(NOON)
    await elsewhere.end_runs()
    assert len((await elsewhere.dispatch(NOON + 30 * DAY))[0]) == 1
    assert (await elsewhere.times(schedule))["due_at"] == NOON + 30 * DAY + 10 * MINUTE


async def test_the_tick_is_a_sign_of_life_that_nobody_waits_for(stage: Stage, database: Database) -> None:
    await stage.dispatch(NOON)
    assert await stage.tick() == NOON
    await stage.dispatch(NOON + timedelta(seconds=0.9))
    assert await stage.tick() == NOON
    async with database.connection() as other, other.transaction():
        await other.execute("UPDATE keepstep.ticks SET at = at")
        async with asyncio.timeout(20):
            await stage.dispatch(NOON + 2 * SECOND)
    assert await stage.tick() == NOON
    await stage.dispatch(NOON + 3 * SECOND)
    assert await stage.tick() == NOON + 3 * SECOND


# Waiting runs


async def test_a_run_whose_wait_is_over_is_queued_again(stage: Stage) -> None:
    await stage.add()
    due = await stage.live_run(1, "waiting", due_at=NOON)
    await stage.add(owner="later")
    await stage.live_run(2, "waiting", due_at=NOON + MINUTE)
    await stage.add(owner="in its own process")
    await stage.live_run(3, "waiting", due_at=NOON, in_queue=False)
    found = await stage.call("SELECT * FROM keepstep.wake_waiting(500, %s)", NOON)
    assert (found["woken"], found["more"], found["next_due"]) == ([due], False, NOON + MINUTE)
    states = {run["id"]: (run["state"], run["due_at"], run["error"]) for run in await stage.runs()}
    assert states[due] == ("queued", None, None)
    assert [state for state, _, _ in states.values()] == ["queued", "waiting", "waiting"]
    [row] = await stage.queue()
    assert row["queueing_lock"] == f"run/{due}"
    assert (await stage.call("SELECT * FROM keepstep.wake_waiting(500, %s)", NOON))["woken"] == []


async def test_a_run_is_never_queued_twice(stage: Stage) -> None:
    await stage.add()
    [run] = (await stage.dispatch(NOON))[0]
    assert (await stage.call("SELECT keepstep.enqueue(%s) AS n", [run]))["n"] == 0
    await stage.end_runs()
    await stage.call("DELETE FROM keepstep_queue.procrastinate_jobs")
    assert (await stage.call("SELECT keepstep.enqueue(%s) AS n", [run]))["n"] == 0
    assert await stage.queue() == []


@pytest.mark.parametrize(
    ("trigger", "mode", "queue", "priority"),
    [("manual", "delta", "interactive", 100), ("manual", "backfill", "interactive", 100),
     ("schedule", "delta", "scheduled", 50), ("schedule", "backfill", "scheduled", 50),
     ("nightly", "backfill", "full", 10)],
)  # fmt: skip
async def test_the_queue_of_a_run_follows_from_who_started_it_and_how(
    stage: Stage, trigger: str, mode: str, queue: str, priority: int
) -> None:
    await stage.add(enabled=False)
    run = await stage.live_run(1, "queued", trigger=trigger, mode=mode)
    assert (await stage.call("SELECT keepstep.enqueue(%s) AS n", [run]))["n"] == 1
    [row] = await stage.queue()
    assert (row["queue_name"], row["priority"]) == (queue, priority)


# Plans, and other callers


async def test_every_part_of_a_dispatch_keeps_its_index_among_many_schedules(stage: Stage) -> None:
    await stage.many(5_000, due=100)
    plans = await stage.plans("SELECT keepstep.dispatch_due(50)", "SELECT keepstep.wake_waiting()")
    assert "schedule_times_due" in plans
    assert "Tid Scan on schedule_times" in plans
    assert "schedules_pkey" in plans
    assert "runs_waiting" in plans
    assert "Seq Scan" not in plans


async def test_one_call_from_anywhere_does_all_that_is_due(stage: Stage) -> None:
    await stage.many(40)
    await stage.add(owner="waits", enabled=False)
    await stage.live_run(41, "waiting", due_at=await stage.now() - SECOND)
    await stage.call("CALL keepstep.dispatch(7)")
    assert len(await stage.queue()) == 41
    assert {run["state"] for run in await stage.runs()} == {"queued"}


async def test_a_search_path_of_somebody_else_does_not_matter(stage: Stage) -> None:
    await stage.add()
    await stage.call("SET search_path = nowhere")
    assert len((await stage.dispatch())[0]) == 1
