"""Whether a report of somebody is as fresh as it should be: plain arithmetic on what is known of it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

LATE_AFTER = 2
"""Intervals without a success. One may fall out: its slot came while the agent's other reports were read."""
GRACE = timedelta(minutes=1)
MUST_ACT = 3
"""Failures in a row from which on it does not look as if it went away by itself."""


class Freshness(StrEnum):
    """The worst first."""

    HELD = "held"
    FAILING = "failing"
    RETRYING = "retrying"
    LATE = "late"
    NEVER = "never"
    FRESH = "fresh"
    OFF = "off"

    @property
    def weight(self) -> int:
        """For sorting, the worst first."""
        return _ORDER.index(self)

    @property
    def is_bad(self) -> bool:
        """Whether somebody should look at it."""
        return self.weight <= Freshness.LATE.weight


_ORDER = tuple(Freshness)


@dataclass(frozen=True, slots=True)
class Reading:
    """What is known of one report of one agent. ``failures``: runs in a row that failed, up to the last that ended."""

    enabled: bool
    interval: timedelta
    last_success: datetime | None
    failures: int = 0
    held: bool = False


def freshness(reading: Reading, now: datetime) -> Freshness:
    """How fresh it is. What waits for a person comes before what fails, and that before what is late."""
    if not reading.enabled:
        return Freshness.OFF
    if reading.held:
        return Freshness.HELD
    if reading.failures:
        return Freshness.FAILING if reading.failures >= MUST_ACT else Freshness.RETRYING
    if reading.last_success is None:
        return Freshness.NEVER
    return Freshness.LATE if is_late(reading, now) else Freshness.FRESH


def is_late(reading: Reading, now: datetime) -> bool:
    """Whether the last success was too long ago."""
    return reading.last_success is not None and now - reading.last_success > LATE_AFTER * reading.interval + GRACE
