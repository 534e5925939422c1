"""When a schedule runs: on its grid, once a day in full, whatever the clock and the time zone do."""

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from keepstep.dispatch.schedule import (
    DAY,
    MOST_JITTER,
    Slot,
    is_caught_up,
    jitter,
    new_anchor,
    next_full,
    next_slot,
    upcoming,
)
from keepstep.model.integration import Mode
from keepstep.model.schedule import Schedule

HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
ZONES = [ZoneInfo(name) for name in ("UTC", "Europe/Rome", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu")]
instants = st.integers(631_152_000_000_000, 4_733_510_400_000_000).map(  # 1990 to 2120, to the microsecond
    lambda micros: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=micros)
)
intervals = st.integers(60, 2_592_000).map(lambda seconds: timedelta(seconds=seconds))
ids = st.integers(1, 2**62)
hours = st.integers(0, 23)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def schedule(**values: object) -> Schedule:
    """A schedule every ten minutes."""
    fields: dict[str, object] = {
        "id": 1_000_000, "connection_id": 1, "integration": "doorloop", "owner": None, "name": "", "enabled": True,
        "interval_seconds": 600, "full_at_hour_utc": None, "entities": ("owners",),
        "anchor_at": at("2026-03-01T00:00"), "due_at": None, "delta_at": None, "full_at": None, **values,
    }  # fmt: skip
    return Schedule(**fields)  # type: ignore[arg-type]


@given(now=instants, anchor=instants, interval=intervals)
def test_the_next_slot_is_after_now_within_one_interval_and_on_the_grid(
    now: datetime, anchor: datetime, interval: timedelta
) -> None:
    slot = next_slot(now, anchor, interval)
    assert now < slot <= now + interval
    assert (slot - anchor) % interval == timedelta(0)


@given(anchor=instants, interval=intervals, missed=st.integers(0, 5000), late=st.integers(0, 59_999_999))
def test_however_many_slots_were_missed_the_next_one_is_the_one_that_was_to_come_anyway(
    anchor: datetime, interval: timedelta, missed: int, late: int
) -> None:
    assume(anchor + interval * (missed + 2) < datetime(2400, 1, 1, tzinfo=UTC))
    now = anchor + interval * missed + timedelta(microseconds=late)
    assert next_slot(now, anchor, interval) == anchor + interval * (missed + 1)


@given(now=instants, interval=intervals, schedule_id=ids)
def test_a_new_grid_begins_within_one_interval_and_not_before_nine_tenths_of_it(
    now: datetime, interval: timedelta, schedule_id: int
) -> None:
    first = next_slot(now, new_anchor(now, schedule_id, interval), interval)
    assert now + 0.9 * interval <= first <= now + interval


@given(schedule_id=ids, interval=intervals)
def test_jitter_is_always_the_same_and_small(schedule_id: int, interval: timedelta) -> None:
    share = jitter(schedule_id, interval)
    assert share == jitter(schedule_id, interval)
    assert timedelta(0) <= share < min(interval / 20, MOST_JITTER)


def test_jitter_spreads_neighbours_evenly() -> None:
    found = sorted(jitter(schedule_id, HOUR) for schedule_id in range(1, 60_001))
    a_second = [sum(second <= share.total_seconds() < second + 1 for share in found[::10]) for second in range(60)]
    assert max(a_second) - min(a_second) <= 4
    assert len(set(found)) == len(found)


@given(now=instants, hour=hours, schedule_id=ids, done=st.booleans())
def test_a_full_slot_is_after_now_at_its_hour_and_not_twice_on_one_day(
    now: datetime, hour: int, schedule_id: int, done: bool
) -> None:
    slot = next_full(now, hour, jitter(schedule_id, DAY), done_today=done)
    assert now < slot < now + (2 * DAY if done else DAY + MINUTE)
    assert slot.hour == hour
    assert slot.minute == 0
    assert not (done and slot.date() == now.date())
    assert not is_caught_up(slot, hour)


@given(now=instants, anchor=instants, interval=intervals, hour=hours, zone=st.sampled_from(ZONES))
def test_no_time_zone_and_no_daylight_saving_changes_anything(
    now: datetime, anchor: datetime, interval: timedelta, hour: int, zone: ZoneInfo
) -> None:
    there, anchor_there = now.astimezone(zone), anchor.astimezone(zone)
    assert next_slot(there, anchor_there, interval) == next_slot(now, anchor, interval)
    assert new_anchor(there, 7, interval) == new_anchor(now, 7, interval)
    spread = jitter(7, DAY)
    assert next_full(there, hour, spread, done_today=False) == next_full(now, hour, spread, done_today=False)
    assert is_caught_up(there, hour) == is_caught_up(now, hour)


@pytest.mark.parametrize(
    ("now", "hour", "done", "expected"),
    [
        ("2026-03-29T04:59:59.999999", 5, False, "2026-03-29T05:00"),
        ("2026-03-29T05:00", 5, False, "2026-03-30T05:00"),
        ("2026-03-29T00:00", 0, False, "2026-03-30T00:00"),
        ("2026-12-31T23:30", 0, False, "2027-01-01T00:00"),
        ("2026-03-29T03:00", 5, True, "2026-03-30T05:00"),
        ("2028-02-28T23:59", 12, True, "2028-02-29T12:00"),
    ],
)
def test_full_slots_by_example(now: str, hour: int, done: bool, expected: str) -> None:
    assert next_full(at(now), hour, timedelta(0), done_today=done) == at(expected)


@pytest.mark.parametrize(
    ("now", "hour", "late"),
    [("2026-03-01T05:59:59", 5, False), ("2026-03-01T06:00", 5, True), ("2026-03-02T03:00", 5, True)],
)
def test_a_full_run_is_caught_up_when_it_starts_at_another_hour(now: str, hour: int, late: bool) -> None:
    assert is_caught_up(at(now), hour) is late


def test_the_runs_to_come_are_deltas_on_the_grid_with_one_full_run_a_day() -> None:
    found = upcoming(
        schedule(full_at_hour_utc=5, delta_at=at("2026-03-01T04:50"), full_at=at("2026-03-01T05:00"))
    )  # fmt: skip
    first = list(islice(found, 4))
    assert first == [
        Slot(at("2026-03-01T04:50"), Mode.DELTA),
        Slot(at("2026-03-01T05:00"), Mode.BACKFILL),  # instead of the delta of 05:00
        Slot(at("2026-03-01T05:10"), Mode.DELTA),
        Slot(at("2026-03-01T05:20"), Mode.DELTA),
    ]
    week = list(islice(found, 7 * 144))
    assert all(later.at - sooner.at == 10 * MINUTE for sooner, later in pairwise(week))
    assert [slot.at.hour for slot in week if slot.mode is Mode.BACKFILL] == [5] * 7


def test_nothing_is_to_come_of_a_schedule_without_times() -> None:
    assert list(upcoming(schedule(full_at_hour_utc=5))) == []
