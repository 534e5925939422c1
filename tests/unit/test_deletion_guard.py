"""What numbers prove, and what may be deleted on such proof."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepstep.engine.guard import MOST_LOOKS, Deletions, Proof, Tally, decide, prove

COMPLETE = Proof(True, True, "complete")
KEYLESS = Proof(False, True, "without an id")
SHORT = Proof(False, False, "missed some", short=True)
MOVED = Proof(False, False, "moved")


def decision(
    proof: Proof, missing: int, gone: int, *, look: int = 1, before: bool = False, live: int = 1000, shift: bool = True
) -> Deletions:
    """With the default guard: half of the rows, and more than 20."""
    return decide(
        proof, missing=missing, gone=gone, live=live, look=look, proven_before=before, can_shift=shift, percent=50,
        floor=20,
    )  # fmt: skip


def tally(*pages: tuple[int, int | None], without_key: int = 0, repeated: int = 0) -> Tally:
    """Of pages with so many rows, that said so many were there."""
    whole = Tally()
    for rows, total in pages:
        whole.add(rows=rows, without_key=0, repeated=0, total=total)
    whole.without_key, whole.repeated = without_key, repeated
    return whole


@pytest.mark.parametrize(
    ("found", "distinct", "complete", "whole", "short"),
    [
        (tally((20, 40), (20, 40)), 40, True, True, False),
        (tally((20, 40), (20, 40)), 39, False, False, True),
        (tally((20, 40), (20, 40), repeated=1), 39, True, True, False),
        (tally((20, 40), (20, 40), without_key=2), 38, False, True, False),
        (tally((20, 40), (20, 39)), 40, False, False, True),
        (tally((20, 40), (19, 39)), 39, False, False, True),
        (tally((20, 40), (20, 39), (1, 41)), 41, False, False, True),
        (tally((20, 40), (21, 41)), 41, False, False, False),
        (tally((20, None)), 20, False, False, False),
        (tally((0, 0)), 0, True, True, False),
    ],
)
def test_a_look_is_complete_when_all_that_upstream_has_came_under_different_keys(
    found: Tally, distinct: int, complete: bool, whole: bool, short: bool
) -> None:
    proof = prove({0: found}, {0: distinct})
    assert (proof.complete, proof.whole, proof.short) == (complete, whole, short)


def test_every_part_needs_its_own_proof() -> None:
    whole, part = tally((20, 20)), tally((5, 6))
    assert prove({0: whole, 1: whole}, {0: 20, 1: 20}).complete
    assert not prove({0: whole, 1: part}, {0: 20, 1: 5}).complete
    assert not prove({}, {}).complete


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        (decision(COMPLETE, 0, 0), Deletions.NONE),
        (decision(COMPLETE, 5, 5), Deletions.LOOK_AGAIN),
        (decision(COMPLETE, 5, 5, shift=False), Deletions.DELETE),
        (decision(COMPLETE, 5, 5, look=2, before=True), Deletions.DELETE),
        (decision(COMPLETE, 5, 3, look=2, before=True), Deletions.LOOK_AGAIN),
        (decision(COMPLETE, 5, 3, look=MOST_LOOKS, before=True), Deletions.DELETE),
        (decision(COMPLETE, 5, 0, look=MOST_LOOKS, before=True), Deletions.UNPROVEN),
        (decision(COMPLETE, 5, 5, look=MOST_LOOKS, before=False), Deletions.UNPROVEN),
        (decision(COMPLETE, 501, 501, look=2, before=True), Deletions.HOLD),
        (decision(COMPLETE, 500, 500, look=2, before=True), Deletions.DELETE),
        (decision(COMPLETE, 20, 20, look=2, before=True, live=20), Deletions.DELETE),
        (decision(COMPLETE, 21, 21, look=2, before=True, live=21), Deletions.HOLD),
        (decision(KEYLESS, 5, 5), Deletions.UNPROVEN),
        (decision(KEYLESS, 0, 0), Deletions.NONE),
        (decision(SHORT, 0, 0), Deletions.LOOK_AGAIN),
        (decision(SHORT, 0, 0, look=2), Deletions.NONE),
        (decision(SHORT, 0, 0, shift=False), Deletions.NONE),
        (decision(MOVED, 0, 0), Deletions.NONE),
        (decision(MOVED, 5, 5), Deletions.LOOK_AGAIN),
        (decision(MOVED, 5, 5, look=2), Deletions.LOOK_AGAIN),
        (decision(MOVED, 5, 5, look=MOST_LOOKS), Deletions.UNPROVEN),
        (decision(MOVED, 5, 5, shift=False), Deletions.UNPROVEN),
    ],
)
def test_rows_go_only_when_two_complete_looks_did_not_see_them(found: Deletions, expected: Deletions) -> None:
    assert found is expected


@given(
    proof=st.sampled_from([COMPLETE, KEYLESS, SHORT, MOVED]),
    missing=st.integers(0, 100), share=st.floats(0, 1), look=st.integers(1, 9), before=st.booleans(),
    shift=st.booleans(), live=st.integers(0, 200),
)  # fmt: skip
def test_nothing_is_deleted_without_proof_and_looking_again_comes_to_an_end(
    proof: Proof, missing: int, share: float, look: int, before: bool, shift: bool, live: int
) -> None:
    gone = int(missing * share)
    decided = decision(proof, missing, gone, look=look, before=before, live=live, shift=shift)
    if decided in (Deletions.DELETE, Deletions.HOLD):
        assert proof.complete
        assert missing > 0
        assert not shift or (before and gone > 0)
    if look >= MOST_LOOKS:
        assert decided is not Deletions.LOOK_AGAIN
