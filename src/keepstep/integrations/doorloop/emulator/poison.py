"""Ready-made bad records: each turns a good record into one that an honest destination must refuse, or a page it
cannot trust.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

_RAW = "@raw@"

_TEXT_FIELD = {
    "properties": "description",
    "units": "description",
    "leases": "notes",
    "tenants": "notes",
    "owners": "companyName",
}
_NESTED_FIELD = {
    "properties": "settings",
    "units": "listing",
    "leases": "settings",
    "tenants": "portalInfo",
    "owners": "portalInfo",
}
_NUMBER_FIELD = {"properties": "numActiveUnits", "units": "marketRent", "leases": "totalBalanceDue"}
_INTEGER_FIELD = {"properties": "numActiveUnits", "units": "beds", "leases": "expiresInDays"}
_DATE_FIELD = {"leases": "start", "tenants": "dateOfBirth", "owners": "managementStartDate"}
_INTEGER_KINDS = frozenset({"beyond-bigint", "fraction-for-integer"})
_DEPTH = 5000
_LARGE = 10 * 1024 * 1024

Record = dict[str, Any]


def poisoned(kind: str, entity: str, good: bytes) -> bytes:
    """The bytes of a poison record made from a good one. Raises ``ValueError`` for an unknown kind, or one that
    this entity's fields cannot show.
    """
    check_poison(kind, entity)
    return POISONS[kind](entity, json.loads(good))


def poisons_for(entity: str) -> list[str]:
    """The kinds that this entity's fields can show."""
    return [kind for kind in POISONS if not (kind in _INTEGER_KINDS and entity not in _INTEGER_FIELD)]


def check_poison(kind: str, entity: str) -> None:
    """Raises ``ValueError`` for an unknown kind, or one that this entity's fields cannot show."""
    if kind not in POISONS:
        raise ValueError(f"no poison is called {kind!r}; there are {', '.join(POISONS)}")
    if kind not in poisons_for(entity):
        raise ValueError(f"{entity} has no field that could show {kind}")


def _with(record: Record, field: str, raw: str) -> bytes:
    """The record with one value given as raw JSON text, which need not be anything Python could write."""
    placed = {**record, field: _RAW}
    return _bytes(placed).replace(f'"{_RAW}"'.encode(), raw.encode(), 1)


def _bytes(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()


def _raw(fields: Mapping[str, str], raw: str, fallback: str = "") -> Callable[[str, Record], bytes]:
    """Sets the entity's field of a sort to raw JSON; ``fallback`` names the field of entities that have none of
    that sort.
    """

    return lambda entity, record: _with(record, fields.get(entity, fallback or "notes"), raw)


def _without_id(_entity: str, record: Record) -> bytes:
    return _bytes({name: value for name, value in record.items() if name != "id"})


def _id(raw: str) -> Callable[[str, Record], bytes]:
    return lambda _entity, record: _with(record, "id", raw)


def _whole(make: Callable[[Record], bytes]) -> Callable[[str, Record], bytes]:
    return lambda _entity, record: make(record)


POISONS: Mapping[str, Callable[[str, Record], bytes]] = {
    "nul-in-text": _raw(_TEXT_FIELD, '"before\\u0000after"'),
    "nul-in-nested": _raw(_NESTED_FIELD, '{"note":"before\\u0000after"}'),
    "nul-in-undocumented": _raw({}, '{"list":["\\u0000"]}', "importedFrom"),
    "nul-in-key": _raw(_NESTED_FIELD, '{"key\\u0000name":1}'),
    "lone-surrogate": _raw(_TEXT_FIELD, '"half of an emoji: \\ud83d"'),
    "lone-surrogate-in-nested": _raw(_NESTED_FIELD, '{"note":"\\udc00"}'),
    "number-out-of-range": _raw(_NUMBER_FIELD, "1e999999", "creditScore"),
    "nested-number-out-of-range": _raw(_NESTED_FIELD, '{"limit":1e999999}'),
    "beyond-bigint": _raw(_INTEGER_FIELD, "99999999999999999999"),
    "fraction-for-integer": _raw(_INTEGER_FIELD, "2.5"),
    "impossible-date": _raw(_DATE_FIELD, '"2026-02-30"', "createdAt"),
    "impossible-timestamp": _raw({}, '"2026-02-30T25:61:00.000Z"', "updatedAt"),
    "soon-for-date": _raw(_DATE_FIELD, '"soon"', "createdAt"),
    "text-for-number": _raw(_NUMBER_FIELD, '"12.50 EUR"', "createdAt"),
    "number-for-text": _raw({}, "12345", "name"),
    "mapping-for-text": _raw({}, '{"first":"Ann","last":"Vale"}', "name"),
    "list-for-text": _raw({}, '["Ann","Vale"]', "name"),
    "number-for-id": _id("12345"),
    "mapping-for-id": _id('{"$oid":"66d7aa000000000000000101"}'),
    "missing-id": _without_id,
    "null-id": _id("null"),
    "empty-id": _id('""'),
    "nul-in-id": _id('"66d7aa\\u0000000000"'),
    "duplicate-id": _whole(lambda record: _bytes({**record, "notes": "the later of two with this id"})),
    "ten-megabytes": _raw(_TEXT_FIELD, '"' + "ten megabytes " * (_LARGE // 14) + '"'),
    "deep": _raw({}, "[" * _DEPTH + "]" * _DEPTH, "nested"),
    "deep-mapping": _raw({}, '{"a":' * _DEPTH + "1" + "}" * _DEPTH, "nested"),
    "list-record": _whole(lambda record: _bytes(list(record.values()))),
    "text-record": _whole(lambda record: _bytes(str(record["id"]))),
    "number-record": _whole(lambda _record: b"42"),
    "null-record": _whole(lambda _record: b"null"),
}
"""Poison by name. Every one is valid JSON; for bytes that are not, inject them raw."""
