"""Positions in the feed, against plain sets of ids."""

from hypothesis import given
from hypothesis import strategies as st

from keepstep.service.position import MOST_GAPS, Position

IDS = st.sets(st.integers(1, 60))


@st.composite
def shuffled(draw: st.DrawFn) -> list[int]:
    """Ids in the order in which their transactions committed."""
    return draw(st.permutations(sorted(draw(IDS))))


def after(ids: list[int] | set[int], start: Position | None = None) -> Position:
    position = start or Position()
    for event_id in ids:
        position = position.plus(event_id)
    return position


def seen(position: Position) -> set[int]:
    return {event_id for event_id in range(1, 70) if event_id in position}


@given(shuffled())
def test_a_position_holds_what_was_seen_and_nothing_else(ids: list[int]) -> None:
    position = after(ids)

    assert seen(position) == set(ids)
    assert position.high == max(ids, default=0)


@given(shuffled())
def test_a_position_does_not_depend_on_the_order_of_the_commits(ids: list[int]) -> None:
    assert seen(after(ids)) == seen(after(sorted(ids)))


@given(shuffled())
def test_a_position_comes_back_from_its_text(ids: list[int]) -> None:
    position = after(ids)

    assert Position.parse(str(position)) == position


@given(st.text() | st.from_regex(r"[0-9]{1,21}(-[0-9.,]{0,20})?", fullmatch=True))
def test_any_text_is_a_position_or_none(text: str) -> None:
    position = Position.parse(text)

    if position is not None:
        assert Position.parse(str(position)) == position
        assert position.high < 2**63
        ends = [end for gap in position.gaps for end in gap]
        assert ends == sorted(ends)
        assert all(end < position.high for end in ends)


def test_texts_that_are_no_positions() -> None:
    too_many = "9999-" + ",".join(str(2 * n) for n in range(1, 2 * MOST_GAPS + 2))
    for text in (
        "", "-", "x", "5-", "5-5", "5-6", "5-3,2", "5-3,3", "5-4..2", "5-0", "5 ", "٣", "1e3", "-1", "5-1..2..3",
        "5-1,", "5--1", str(2**63), too_many,
    ):  # fmt: skip
        assert Position.parse(text) is None, text


def test_a_position_as_text() -> None:
    assert str(after([1, 2, 3])) == "3"
    assert str(after([1, 2, 5, 7, 9, 6])) == "9-3..4,8"
    assert Position.parse("9-3..4,8") == Position(9, ((3, 4), (8, 8)))


@given(shuffled(), shuffled())
def test_one_position_covers_another_when_it_has_seen_all_that_the_other_has(one: list[int], more: list[int]) -> None:
    first, second = after(one), after(more)

    assert first.covers(second) == (set(more) <= set(one))


@given(st.data(), shuffled())
def test_whoever_catches_up_is_at_every_step_where_the_text_says(data: st.DataObject, ids: list[int]) -> None:
    known = data.draw(st.sets(st.sampled_from(ids))) if ids else set()
    begin, target = after(known), after(ids)

    had, position = set(known), begin
    for event_id in sorted(set(ids) - known):
        position = begin.towards(target, event_id)
        had.add(event_id)
        assert seen(position) == had
    if had > known:
        assert seen(position) == seen(target)


def test_no_more_gaps_are_kept_than_fit_into_a_header() -> None:
    position = after(list(range(10**18, 10**18 + 3 * MOST_GAPS, 2)))

    assert len(position.gaps) == MOST_GAPS
    assert len(str(position)) < 8000
    assert position.high - 1 not in position
