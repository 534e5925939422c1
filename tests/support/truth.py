"""What a table must hold, worked out from the upstream records by another way than the engine's."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from functools import partial
from typing import Any

from keepstep.model.integration import KEY_COLUMN, Entity, Kind

Row = Mapping[str, Any]
exact_json: Callable[[str | bytes], Any] = partial(json.loads, parse_float=Decimal)
"""JSON whose numbers keep every digit."""


def expected_row(entity: Entity, raw: bytes) -> dict[str, Any]:
    """The content of a record's row: key, typed columns, ``_extra``."""
    record = exact_json(raw)
    row = {KEY_COLUMN: record.pop(entity.key)}
    for field in entity.fields:
        row[field.column] = _python(field.kind, record.pop(field.name, None))
    row["_extra"] = record
    return row


def _python(kind: Kind, value: Any) -> Any:
    if value is None:
        return None
    if kind is Kind.TIMESTAMP:
        return datetime.fromisoformat(value)
    if kind is Kind.DATE:
        return date.fromisoformat(value)
    return value


def same(one: Any, other: Any) -> bool:
    """Whether two values say the same: numbers by value, instants by instant, and 1 is not true."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    return bool(one == other)


def differences(
    entity: Entity, records: Iterable[bytes], rows: Mapping[str, Row], apart_from: Sequence[str] = ()
) -> list[str]:
    """In words, what live rows and records do not agree on."""
    skipped = set(apart_from)
    expected: dict[str, dict[str, Any]] = {}
    for raw in records:
        try:
            row = expected_row(entity, raw)
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
            continue  # a poison record: no row can be expected of it
        key = row[KEY_COLUMN]
        if isinstance(key, str) and key and "\0" not in key and key not in skipped:
            expected[key] = row
    live = {key: row for key, row in rows.items() if row["_deleted_at"] is None and key not in skipped}
    found = [f"{entity.name} {key} is missing" for key in expected.keys() - live.keys()]
    found += [f"{entity.name} {key} should not be there" for key in live.keys() - expected.keys()]
    for key in sorted(expected.keys() & live.keys()):
        for name, value in expected[key].items():
            if not same(value, live[key][name]):
                found.append(f"{entity.name} {key}: {name} is {live[key][name]!r}, not {value!r}")
    return found
