"""One record, field by field: either its row, or in words why PostgreSQL could not hold it as it is."""

import json
import re
from collections.abc import Callable
from datetime import date, datetime

import msgspec
from msgspec import Raw

from keepstep.model.errors import Rejected
from keepstep.model.integration import Entity, Kind

MAX_RECORD_BYTES = 4 * 1024 * 1024
"""Larger records are refused: one of them would cost the memory of a thousand ordinary pages."""

_MAX_KEY_BYTES = 1024
_NUMBER = re.compile(rb"-?(\d+)(?:\.(\d+))?(?:[eE]([+-]?\d+))?")
_SURROGATE = re.compile("[\ud800-\udfff]")
_ESCAPED_NUL = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.(\d+))?(?:[Zz]|[+-]\d\d:\d\d)")
_DATE = re.compile(r"\d{4}-\d\d-\d\d")
# https://www.postgresql.org/docs/current/datatype-numeric.html: digits before and after the decimal point
_MOST_INTEGER_DIGITS = 131072
_MOST_FRACTION_DIGITS = 16383
_RECORD = msgspec.json.Decoder(dict[str, Raw])
_TEXT = msgspec.json.Decoder(str)
_KINDS = {
    ord('"'): "text",
    ord("{"): "an object",
    ord("["): "a list",
    ord("t"): "true",
    ord("f"): "false",
    ord("n"): "null",
}


def quote(text: bytes) -> bytes:
    """A CSV field that holds exactly these bytes."""
    return b'"%b"' % text.replace(b'"', b'""')


def key_of(record: bytes, key: str) -> str | None:
    """The record's key where it has a usable one, however broken the rest is."""
    try:
        value = json.loads(record.decode("utf-8", "replace"))
    except (ValueError, RecursionError):
        return None
    found = value.get(key) if isinstance(value, dict) else None
    return found if isinstance(found, str) and key_problem(found) is None else None


def key_problem(key: str) -> str | None:
    """What is wrong with a key, or None."""
    if not key:
        return "is empty"
    if "\0" in key:
        return "holds a NUL character"
    if _SURROGATE.search(key):
        return "holds half of a surrogate pair"
    return f"is longer than {_MAX_KEY_BYTES} bytes" if len(key.encode()) > _MAX_KEY_BYTES else None


class CarefulMapper:
    """The slow, exact way from a record to its row; it decides whatever the fast one does not."""

    def __init__(self, entity: Entity) -> None:
        self._entity = entity
        self._converters: list[tuple[str, Callable[[bytes], bytes]]] = [
            (field.name, _CONVERTERS[field.kind]) for field in entity.fields
        ]
        self._known = {entity.key, *(field.name for field in entity.fields)}
        self._evolved = frozenset(field.name for field in entity.fields if field.evolved)

    def row(self, data: bytes) -> tuple[bytes, list[str]]:
        """The row without its hash, and the names of fields without a column. Raises ``Rejected`` with the reason."""
        if len(data) > MAX_RECORD_BYTES:
            size = len(data) / 1024 / 1024
            raise Rejected(
                f"The record is {size:.1f} MB; records over {MAX_RECORD_BYTES // 1024 // 1024} MB are not taken."
            )
        fields = _fields(data)
        values = [self._key(fields)]
        misfits = []
        for name, convert in self._converters:
            raw = fields.get(name)
            try:
                values.append(b"null" if raw is None or raw == b"null" else _named(name, convert, raw))
            except Rejected:
                if name not in self._evolved:
                    raise
                values.append(b"null")
                misfits.append(name)
        unknown = [name for name in fields if name not in self._known]
        parts = []
        for name in (*unknown, *misfits):
            key = _named(name, _json, msgspec.json.encode(name))
            parts.append(key[1:-1].replace(b'""', b'"') + b":" + _named(name, _checked_json, fields[name]))
        values.append(quote(b"{%b}" % b",".join(parts)))
        return b",".join(values), unknown

    def _key(self, fields: dict[str, bytes]) -> bytes:
        name = self._entity.key
        raw = fields.get(name, b"null")
        if raw == b"null":
            raise Rejected(f"The record has no {name}.")
        value = _named(name, _text, raw)
        problem = key_problem(_TEXT.decode(raw))
        if problem:
            raise Rejected(f"The record's {name} {problem}.")
        return value


def _fields(data: bytes) -> dict[str, bytes]:
    try:
        return {name: bytes(raw) for name, raw in _RECORD.decode(data).items()}
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise Rejected(_why_undecodable(data)) from None


def _why_undecodable(data: bytes) -> str:
    try:
        value = json.loads(data.decode("utf-8"))
    except UnicodeDecodeError as error:
        return f"The record is not valid UTF-8 (byte {error.start})."
    except RecursionError:
        return "The record is nested too deeply."
    except ValueError as error:
        return f"The record is not valid JSON: {error}."
    if not isinstance(value, dict):
        return f"The record is {_kind(data)}, not an object."
    if _has_surrogate(value):
        return "A text holds half of a surrogate pair, which PostgreSQL cannot store."
    return "The record is not valid JSON: a number is written in a form that JSON does not have (NaN or Infinity)."


def _has_surrogate(value: object) -> bool:
    try:
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return True
    return False


def _named(name: str, convert: Callable[[bytes], bytes], raw: bytes) -> bytes:
    try:
        return convert(raw)
    except UnicodeDecodeError:
        raise Rejected(f"Field {name}: not valid UTF-8.") from None
    except (ValueError, msgspec.DecodeError, RecursionError) as error:
        shown = raw[:60].decode("utf-8", "replace") + ("…" if len(raw) > 60 else "")
        raise Rejected(f"Field {name}: {error} (got {shown}).") from None


def _kind(raw: bytes) -> str:
    return _KINDS.get(raw.lstrip()[:1].ljust(1)[0], "a number")


def _expect(raw: bytes, expected: str, fits: bool) -> None:
    if not fits:
        raise ValueError(f"expected {expected}, found {_kind(raw)}")


def _decoded(raw: bytes) -> str:
    _expect(raw, "text", raw[:1] == b'"')
    return _TEXT.decode(raw)


def _text(raw: bytes) -> bytes:
    text = _decoded(raw)
    if "\0" in text:
        raise ValueError("holds a NUL character, which PostgreSQL cannot store")
    return quote(text.encode())


def _boolean(raw: bytes) -> bytes:
    _expect(raw, "true or false", raw in (b"true", b"false"))
    return raw


def _digits(raw: bytes) -> tuple[int, int]:
    """How many digits the number needs before and after the decimal point."""
    match = _NUMBER.fullmatch(raw)
    _expect(raw, "a number", match is not None)
    assert match is not None  # noqa: S101 - for the type checker; _expect has raised otherwise
    whole, fraction, exponent = match[1], match[2] or b"", match[3] or b"0"
    if len(exponent) > 9:
        return _MOST_INTEGER_DIGITS + 1, 0
    shift = int(exponent)
    significant = (whole + fraction).lstrip(b"0")
    if not significant:
        return 1, 0
    return len(significant) - len(fraction) + shift, len(fraction) - shift


def _numeric(raw: bytes) -> bytes:
    before, after = _digits(raw)
    if before > _MOST_INTEGER_DIGITS or after > _MOST_FRACTION_DIGITS:
        raise ValueError("the number is out of the range that PostgreSQL can hold")
    return raw


def _integer(raw: bytes) -> bytes:
    before, after = _digits(raw)
    if before > 20:
        raise ValueError("the whole number is out of range")
    if raw.lstrip(b"-").isdigit():
        value = int(raw)
    else:
        from decimal import Decimal

        exact = Decimal(raw.decode())
        if after > 400 or exact != exact.to_integral_value():
            raise ValueError("expected a whole number, found one with decimals")
        value = int(exact)
    if not -(2**63) <= value < 2**63:
        raise ValueError("the whole number is out of range")
    return str(value).encode()


def _timestamp(raw: bytes) -> bytes:
    text = _decoded(raw)
    match = _TIMESTAMP.fullmatch(text)
    if not match:
        raise ValueError("expected a timestamp with a time zone, such as 2026-01-31T08:00:00.000Z")
    digits = match[1] or ""
    if digits[6:].strip("0"):
        raise ValueError("the timestamp is finer than a microsecond, which PostgreSQL cannot store")
    plain = text.upper() if not digits else text.upper().replace("." + digits, "." + digits[:6])
    try:
        datetime.fromisoformat(plain)
    except ValueError as error:
        raise ValueError(f"no such moment: {error}") from None
    return quote(text.encode())


def _date(raw: bytes) -> bytes:
    text = _decoded(raw)
    if not _DATE.fullmatch(text):
        raise ValueError("expected a date, such as 2026-01-31")
    try:
        date.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"no such date: {error}") from None
    return quote(text.encode())


def _checked_json(raw: bytes) -> bytes:
    if b"\\u0000" in raw and _ESCAPED_NUL.search(raw):
        raise ValueError("holds a NUL character, which PostgreSQL cannot store")
    return raw


def _json(raw: bytes) -> bytes:
    return quote(_checked_json(raw))


_CONVERTERS: dict[Kind, Callable[[bytes], bytes]] = {
    Kind.TEXT: _text,
    Kind.BOOLEAN: _boolean,
    Kind.INTEGER: _integer,
    Kind.NUMERIC: _numeric,
    Kind.TIMESTAMP: _timestamp,
    Kind.DATE: _date,
    Kind.JSON: _json,
}
