"""When a full reading may delete. Pure: numbers in, a decision out.

Rows are deleted only if the reading provably saw everything: every part's records arrived with as many different keys
as upstream says it has, while it said the same number all the time. Where a listing can shift while it is read, one
such look is not proof (a record may have moved from a page not yet read to one already read), so whatever is missing is
looked for a second time, and only what neither look saw is deleted.
"""

from collections.abc import Mapping
from enum import StrEnum

import msgspec


class Tally(msgspec.Struct):
    """What one look at one part has received so far."""

    rows: int = 0
    without_key: int = 0
    repeated: int = 0
    first_total: int | None = None
    total: int | None = None
    steady: bool = True

    def add(self, *, rows: int, without_key: int, repeated: int, total: int | None) -> None:
        """One more page."""
        self.rows += rows
        self.without_key += without_key
        self.repeated += repeated
        if self.total is None:
            self.first_total = total
        self.steady = self.steady and total is not None and total == self.first_total
        self.total = total


class Proof(msgspec.Struct, frozen=True):
    """``complete``: every record was seen under its key. ``whole``: every record came, perhaps without a key."""

    complete: bool
    whole: bool
    words: str


def prove(tallies: Mapping[int, Tally], distinct: Mapping[int, int]) -> Proof:
    """Whether a look saw everything. ``distinct``: how many different keys it saw, by part."""
    if not tallies:
        return Proof(False, False, "completeness unproven: nothing was read")
    expected = sum(tally.total or 0 for tally in tallies.values())
    for part, tally in sorted(tallies.items()):
        if tally.total is None:
            return Proof(False, False, "completeness unproven: upstream does not say how many records there are")
        if not tally.steady:
            moved = f"from {tally.first_total} to {tally.total}"
            return Proof(False, False, f"completeness unproven: upstream's total changed {moved} while reading")
        seen = distinct.get(part, 0) + tally.repeated
        if seen + tally.without_key != tally.total:
            return Proof(
                False, False, f"completeness unproven: {seen} different records of {tally.total} were seen"
            )  # fmt: skip
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


def decide(proof: Proof, *, unseen: int, live: int, look: int, can_shift: bool, percent: int, floor: int) -> Deletions:
    """Weigh the ``unseen`` of ``live`` rows after look number ``look`` (1 or 2)."""
    if unseen == 0:
        return Deletions.NONE
    if look == 1 and can_shift and (proof.complete or not proof.whole):
        return Deletions.LOOK_AGAIN
    if not proof.complete:
        return Deletions.UNPROVEN
    if unseen > floor and unseen * 100 > percent * live:
        return Deletions.HOLD
    return Deletions.DELETE
