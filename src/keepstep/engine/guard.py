"""When a full reading may delete. Pure: numbers in, a decision out.

Rows are deleted only if the reading provably saw everything: every part's records arrived with as many different keys
as upstream says it has, while it said the same number all the time. Where a listing can shift while it is read, one
such look is not proof (a record may have moved from a page not yet read to one already read), so it is read again, and
only what was not seen from one complete look to the next one is deleted.
"""

from collections.abc import Mapping
from enum import StrEnum

import msgspec


class Tally(msgspec.Struct):
    """What one look at one part has received so far. ``fell``: records went while it was read, so others moved up."""

    rows: int = 0
    without_key: int = 0
    repeated: int = 0
    first_total: int | None = None
    total: int | None = None
    steady: bool = True
    fell: bool = False

    def add(self, *, rows: int, without_key: int, repeated: int, total: int | None) -> None:
        """One more page."""
        self.rows += rows
        self.without_key += without_key
        self.repeated += repeated
        if self.total is None:
            self.first_total = total
        self.fell = self.fell or (total or 0) < (self.total or 0)
        self.steady = self.steady and total is not None and total == self.first_total
        self.total = total


class Proof(msgspec.Struct, frozen=True):
    """``complete``: every record was seen under its key. ``whole``: every record came, perhaps without a key.

    ``short``: the records that came are not those that upstream has now, so the table can't be in step either.
    """

    complete: bool
    whole: bool
    words: str
    short: bool = False


def prove(tallies: Mapping[int, Tally], distinct: Mapping[int, int]) -> Proof:
    """Whether a look saw everything. ``distinct``: how many different keys it saw, by part."""
    if not tallies:
        return Proof(False, False, "completeness unproven: nothing was read")
    expected = sum(tally.total or 0 for tally in tallies.values())
    for part, tally in sorted(tallies.items()):
        if tally.total is None:
            return Proof(False, False, "completeness unproven: upstream does not say how many records there are")
        seen = distinct.get(part, 0) + tally.repeated
        short = tally.fell or seen + tally.without_key != tally.total
        if not tally.steady:
            moved = f"from {tally.first_total} to {tally.total}"
            words = f"completeness unproven: upstream's total changed {moved} while reading"
            return Proof(False, False, words, short)
        if short:
            words = f"completeness unproven: {seen} different records of {tally.total} were seen"
            return Proof(False, False, words, short)
        if tally.without_key:
            return Proof(False, True, f"completeness unproven: {tally.without_key} records came without an id")
    return Proof(True, True, f"complete: all {expected} records seen")


class Deletions(StrEnum):
    """What to do about live rows that a full reading did not see."""

    NONE = "none"
    LOOK_AGAIN = "look again"
    DELETE = "delete"
    HOLD = "hold"
    UNPROVEN = "unproven"


MOST_LOOKS = 3
"""A listing that never holds still ends a reading unproven; its deletions wait for a quieter hour."""


def decide(
    proof: Proof, *, missing: int, gone: int, live: int, look: int, proven_before: bool, can_shift: bool, percent: int,
    floor: int,
) -> Deletions:  # fmt: skip
    """Weigh what the ``look``-th whole look (from 1) did not see of ``live`` rows.

    ``missing`` rows it did not see itself; ``gone`` of them no look saw since the last complete one before it, if
    there was one (``proven_before``).
    """
    if not proof.complete:
        again = can_shift and not proof.whole and (look == 1 or (missing > 0 and look < MOST_LOOKS))
        if again and (missing or proof.short):
            return Deletions.LOOK_AGAIN
        return Deletions.UNPROVEN if missing else Deletions.NONE
    if missing == 0:
        return Deletions.NONE
    sure = missing if not can_shift else gone if proven_before else 0
    if sure < missing and look < MOST_LOOKS:
        return Deletions.LOOK_AGAIN
    if sure == 0:
        return Deletions.UNPROVEN
    return Deletions.HOLD if are_many(sure, live, percent=percent, floor=floor) else Deletions.DELETE


def are_many(gone: int, live: int, *, percent: int, floor: int) -> bool:
    """Whether so many of the live rows would be deleted that a person is to decide."""
    return gone > floor and gone * 100 > percent * live
