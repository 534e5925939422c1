"""The fast way from a record to its row and the careful one must agree, and neither may alter a value."""

import csv
import io
import json
from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from keepstep.engine.careful import CarefulMapper
from keepstep.engine.mapping import Mapping
from keepstep.model.errors import Rejected
from keepstep.model.integration import Entity, Field, Kind

THINGS = Entity(
    "things",
    tuple(Field(name, kind) for name, kind in {
        "name": Kind.TEXT, "active": Kind.BOOLEAN, "count": Kind.INTEGER, "price": Kind.NUMERIC,
        "seenAt": Kind.TIMESTAMP, "born": Kind.DATE, "nested": Kind.JSON,
    }.items()),
)  # fmt: skip
PLAIN = {
    "id": "a1", "name": "Ann Vale", "active": True, "count": 3, "price": 12.5,
    "seenAt": "2026-01-02T03:04:05.678Z", "born": "1990-02-28", "nested": {"b": [1, None, "x"]},
}  # fmt: skip
HASH = b"tag!" + bytes(16)


def raw(record: object) -> msgspec.Raw:
    return msgspec.Raw(record if isinstance(record, bytes) else json.dumps(record, ensure_ascii=False).encode())


def row_of(record: object, mapping: Mapping | None = None) -> list[str]:
    """The fields of a mapped row; ``None`` where COPY would read NULL."""
    row = (mapping or Mapping(THINGS)).row(raw(record), HASH)
    assert isinstance(row, bytes), row
    return next(csv.reader(io.StringIO(row.decode(), newline="")))


def reason(record: object) -> str:
    row = Mapping(THINGS).row(raw(record), HASH)
    assert isinstance(row, Rejected)
    return row.message


texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts | st.floats(allow_nan=False, allow_infinity=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
records = st.fixed_dictionaries(
    {"id": st.text("abcdef0123456789\"'\\,\n\t é", min_size=1)},
    optional={
        "name": st.none() | texts,
        "active": st.none() | st.booleans(),
        "count": st.none() | st.integers(-(2**63), 2**63 - 1),
        "price": st.none() | st.integers() | st.floats(allow_nan=False, allow_infinity=False),
        "seenAt": st.none() | st.datetimes().map(lambda t: t.isoformat(timespec="milliseconds") + "Z"),
        "born": st.none() | st.dates().map(str),
        "nested": values,
        "unknown": values,
        'odd "key", \\ too': values,
    },
)


@given(records, st.booleans())
def test_both_ways_give_the_same_row(record, ascii_only):
    data = msgspec.Raw(json.dumps(record, ensure_ascii=ascii_only).encode())
    careful, _ = CarefulMapper(THINGS).row(bytes(data))
    mapping = Mapping(THINGS)
    mapping.row(data, HASH)  # the first time teaches it the unknown fields
    row = mapping.row(data, HASH)
    assert isinstance(row, bytes)
    fast = row.rsplit(b",", 1)[0]
    assert list(csv.reader([fast.decode()])) != []
    for mine, theirs in zip(parsed(fast), parsed(careful), strict=True):
        assert mine == theirs


def parsed(row: bytes) -> list[object]:
    """The row's fields as values, so that only their meaning counts: JSON where they are JSON."""
    fields = next(csv.reader(io.StringIO(row.decode(), newline="")))
    return [*fields[:7], json.loads(fields[7]), json.loads(fields[8], parse_float=Decimal)]


@given(records)
def test_a_row_says_what_the_record_says(record):
    fields = row_of(record)
    assert fields[0] == record["id"]
    assert record.get("name") is None or fields[1] == record["name"]
    assert record.get("count") is None or int(fields[3]) == record["count"]
    assert record.get("price") is None or Decimal(fields[4]) == Decimal(json.dumps(record["price"]))
    assert json.loads(fields[7]) == record.get("nested")
    extra = {key: value for key, value in record.items() if key not in PLAIN}
    assert json.loads(fields[8]) == extra


def test_an_unknown_field_is_learned_and_lands_in_extra_every_time():
    mapping = Mapping(THINGS)
    first = row_of({**PLAIN, "colour": "red", "shade": None}, mapping)
    second = row_of({**PLAIN, "colour": "blue"}, mapping)
    assert [json.loads(row[8]) for row in (first, second)] == [{"colour": "red", "shade": None}, {"colour": "blue"}]


def test_an_empty_text_is_not_null():
    row = Mapping(THINGS).row(raw({"id": "a", "name": ""}), HASH)
    assert isinstance(row, bytes)
    assert row.startswith(b'"a","",null,')


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"name": "a\0b"}, "Field name: holds a NUL character"),
        ({"nested": {"x": "a\0b"}}, "Field nested: holds a NUL character"),
        ({"unknown": ["\0"]}, "Field unknown: holds a NUL character"),
        ({"name": 5}, "Field name: expected text, found a number (got 5)"),
        ({"name": {"first": "Ann"}}, "Field name: expected text, found an object"),
        ({"active": "yes"}, "Field active: expected true or false, found text"),
        ({"count": 2**63}, "Field count: the whole number is out of range"),
        ({"count": 1.5}, "Field count: expected a whole number"),
        ({"count": "3"}, "Field count: expected a number, found text"),
        ({"price": "12.50"}, "Field price: expected a number, found text"),
        ({"seenAt": "yesterday"}, "Field seenAt: expected a timestamp"),
        ({"seenAt": "2026-02-30T10:00:00Z"}, "Field seenAt: no such moment"),
        ({"seenAt": "2026-01-02T03:04:05"}, "Field seenAt: expected a timestamp with a time zone"),
        ({"seenAt": "2026-01-02T03:04:05.1234567Z"}, "Field seenAt: the timestamp is finer than a microsecond"),
        ({"born": "2026-02-30"}, "Field born: no such date"),
        ({"born": "now"}, "Field born: expected a date"),
        ({"id": ""}, "The record's id is empty"),
        ({"id": None}, "The record has no id"),
        ({"id": 7}, "Field id: expected text, found a number"),
    ],
)
def test_what_does_not_fit_is_refused_in_words(change, words):
    assert words in reason({**PLAIN, **change})


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b'{"id":"a","name":"\\ud800"}', "half of a surrogate pair"),
        (b'{"id":"a","nested":["\\udc00x"]}', "half of a surrogate pair"),
        (b'{"id":"a","price":1e999999}', "out of the range"),
        (b'{"id":"a","price":NaN}', "NaN or Infinity"),
        (b'{"id":"a","name":"\xff"}', "not valid UTF-8"),
        (b'{"id":"a","nested":' + b"[" * 5000 + b"]" * 5000 + b"}", "nested too deeply"),
        (b'["a"]', "a list, not an object"),
        (b"null", "null, not an object"),
        (b'{"id":"a","name":"' + b"x" * (10 * 1024 * 1024) + b'"}', "10.0 MB; records over 4 MB are not taken"),
    ],
)
def test_bytes_that_are_no_ordinary_record_are_refused_in_words(data, words):
    assert words in reason(data)


@pytest.mark.parametrize("number", ["1e400", "0.1", "-0", "12345678901234567890.123456789", "1E5", "1e-300"])
def test_a_number_keeps_its_digits(number):
    assert row_of(f'{{"id":"a","price":{number}}}'.encode())[4] == number


def test_a_whole_number_may_be_written_with_a_point():
    assert row_of(b'{"id":"a","count":2.0}')[3] == "2"


def test_a_number_too_fine_for_postgresql_is_left_to_it_and_explained_after():
    record = raw(b'{"id":"a","price":1e-20000}')
    assert isinstance(Mapping(THINGS).row(record, HASH), bytes)
    assert "out of the range" in (Mapping(THINGS).words_for(record) or "")
    assert Mapping(THINGS).words_for(raw(PLAIN)) is None
