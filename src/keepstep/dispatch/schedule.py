"""When a schedule runs: plain arithmetic on UTC instants. ``store/migrations/0004_dispatch.sql`` does the same in SQL.

A schedule's runs lie on its own grid, ``anchor + n * interval``. What was missed leaves no trace: the next slot is the
first one after now. Once every UTC day the run is a full one, at or after its hour.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from keepstep.model.integration import Mode
from keepstep.model.schedule import Schedule

DAY = timedelta(days=1)
MOST_JITTER = timedelta(seconds=60)
_MICROSECOND = timedelta(microseconds=1)
_SHARES = 1_000_000
_GOLDEN = 618_033  # a golden-ratio step for each id lays neighbours far apart and uses every share once


@dataclass(frozen=True, slots=True)
class Slot:
    """One run to come."""

    at: datetime
    mode: Mode


def jitter(schedule_id: int, interval: timedelta) -> timedelta:
    """A schedule's own share of a twentieth of the interval, or of a minute where that is less."""
    span = min(interval // 20, MOST_JITTER) // _MICROSECOND
    return timedelta(microseconds=span * (schedule_id % _SHARES * _GOLDEN % _SHARES) // _SHARES)


def new_anchor(now: datetime, schedule_id: int, interval: timedelta) -> datetime:
    """The grid of a schedule that is enabled, or gets another interval, now: its next slot is in less than that."""
    return now.astimezone(UTC) - jitter(schedule_id, interval)


def next_slot(now: datetime, anchor: datetime, interval: timedelta) -> datetime:
    """The first slot after now: never now itself, never more than one interval ahead. All missed ones are one."""
    now = now.astimezone(UTC)  # Python adds to local times by their clocks
    return now + interval - (now - anchor.astimezone(UTC)) % interval


def next_full(now: datetime, hour_utc: int, spread: timedelta, *, done_today: bool) -> datetime:
    """The first full slot after now; with ``done_today``, not on this UTC day any more."""
    now = now.astimezone(UTC)
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    slot = today + timedelta(hours=hour_utc) + spread
    return slot + DAY if done_today or slot <= now else slot


def is_caught_up(now: datetime, hour_utc: int) -> bool:
    """Whether a full run that starts now comes at another hour than its own, because nobody was there to start it."""
    return now.astimezone(UTC).hour != hour_utc


def upcoming(schedule: Schedule) -> Iterator[Slot]:
    """The runs to come, the next first, without end, if each starts on time. None while the schedule has no times."""
    delta, full = schedule.delta_at, schedule.full_at
    interval = timedelta(seconds=schedule.interval_seconds)
    while delta is not None:
        if full is not None and schedule.full_at_hour_utc is not None and full <= delta:
            now = full
            yield Slot(now, Mode.BACKFILL)
            full = next_full(now, schedule.full_at_hour_utc, jitter(schedule.id, DAY), done_today=True)
        else:
            now = delta
            yield Slot(now, Mode.DELTA)
        if delta <= now:
            delta = next_slot(now, schedule.anchor_at, interval)
