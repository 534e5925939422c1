"""What the times in a page prove."""

from datetime import UTC, datetime, timedelta

import pytest
from msgspec import Raw

from keepstep.integrations.doorloop.order import (
    OVERLAP,
    PROOF,
    RECHECK_SORT,
    created_times,
    falls,
    heads_of,
    judge_probe,
    newest,
    proves_sort,
    sort_fact,
    sort_known,
)

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def times(*minutes: int) -> list[datetime]:
    return [NOON + timedelta(minutes=minute) for minute in minutes]


FALLING = times(*range(20, 20 - PROOF, -1))
MIXED = times(3, 1, 2, 9, 4, 7, 5, 8)


def test_an_order_falls_when_nothing_is_later_than_what_came_before() -> None:
    assert falls(times(3, 2, 2, 1))
    assert falls([])
    assert not falls(times(3, 1, 2))


def test_a_long_falling_page_proves_the_sort() -> None:
    assert proves_sort(FALLING, MIXED)
    assert not proves_sort(FALLING[:-1], MIXED[:-1])
    assert not proves_sort(times(*[5] * 20), MIXED)


def test_a_page_that_also_falls_by_creation_proves_nothing() -> None:
    """An account whose records were never updated lists them in this order whatever is asked."""
    assert not proves_sort(FALLING, FALLING)


@pytest.mark.parametrize(
    ("descending", "ascending", "verdict"),
    [
        (times(9, 8, 7), times(1, 2), True),
        (times(9, 8, 7), times(7), True),
        (times(9, 8, 7), times(9, 8, 7), False),  # the same answer both ways
        (times(9, 8, 7), times(8), False),
        (times(5, 5, 5), times(5), None),
        (times(5, 5, 5), times(4), True),
        (times(9, 7, 8), times(1), False),
        ([], times(1), None),
        (times(1), [], None),
    ],
)
def test_two_directions_show_whether_the_order_was_heard(
    descending: list[datetime], ascending: list[datetime], verdict: bool | None
) -> None:
    assert judge_probe(descending, ascending) is verdict


def test_the_watermark_is_the_newest_time_but_not_beyond_the_beginning() -> None:
    assert newest(times(1, 3, 2), NOON + timedelta(hours=1)) == times(3)[0]
    assert newest(times(1, 3), NOON + timedelta(minutes=2)) == times(2)[0]
    assert newest([], NOON) is None


def test_a_time_in_the_future_is_a_fault_of_its_record() -> None:
    far = datetime(9999, 12, 31, tzinfo=UTC)

    assert newest([*times(-30), far], NOON) == times(-30)[0]
    assert newest([far], NOON) is None
    assert newest([NOON + OVERLAP], NOON) == NOON


def test_what_was_learned_of_the_sort_is_remembered_and_a_bad_verdict_looked_into_again() -> None:
    assert sort_known({}, NOON) is None
    assert sort_known(sort_fact(True, NOON), NOON + 99 * RECHECK_SORT) is True
    assert sort_known(sort_fact(False, NOON), NOON + RECHECK_SORT / 2) is False
    assert sort_known(sort_fact(False, NOON), NOON + RECHECK_SORT) is None
    assert sort_known({"sort_honoured": False}, NOON) is None
    assert sort_known({"sort_honoured": "yes", "sort_checked_at": 5}, NOON) is None


@pytest.mark.parametrize(
    ("record", "key", "time"),
    [
        (b'{"id":"a","updatedAt":"2026-01-01T12:00:00.000Z"}', "a", NOON),
        (b'{"updatedAt":"2026-01-01T13:00:00+01:00","id":"a"}', "a", NOON),
        (b'{"id":"a","updatedAt":"2026-01-01T12:00:00"}', "a", NOON),
        (b'{"id":"a"}', "a", None),
        (b'{"id":"a","updatedAt":null}', "a", None),
        (b'{"id":"a","updatedAt":"soon"}', "a", None),
        (b'{"id":"a","updatedAt":1767268800}', "a", None),
        (b'{"id":"a","updatedAt":"0001-01-01T00:00:00+14:00"}', "a", None),
        (b'{"id":12,"updatedAt":"2026-01-01T12:00:00.000Z"}', None, NOON),
        (b'{"id":null}', None, None),
        (b'{"id":""}', None, None),
        (b'{"id":"a\\u0000b"}', None, None),
        (b'{"id":{"id":"inner"}}', None, None),
        (b'["id","a"]', None, None),
        (b"null", None, None),
        (b'{"n":{"id":"inner"},"s":"\\ud800","id" : "a","updatedAt":"2026-01-01T12:00:00.000Z"}', "a", NOON),
        (b'{"x":' + b"[" * 5000 + b"]" * 5000 + b',"id":"a"}', "a", None),
        (b'{"s":"\\ud800 \\"id\\":\\"trap\\"","id":"\\ud800"}', None, None),
    ],
)
def test_the_head_of_any_record_is_read_or_left_out(record: bytes, key: str | None, time: datetime | None) -> None:
    heads = heads_of([Raw(record)])

    assert heads.keys == (key,)
    assert heads.times == (time,)


def test_creation_times_of_bad_records_are_left_out() -> None:
    records = [Raw(b'{"createdAt":"2026-01-01T12:00:00.000Z"}'), Raw(b"7"), Raw(b'{"createdAt":"x"}'), Raw(b"{}")]

    assert created_times(records) == [NOON]
