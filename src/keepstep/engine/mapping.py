"""From a record's bytes to a row of its table, without altering a value.

A row is CSV made of the record's own bytes: a JSON string without escapes, a number, true, false and null are already
what COPY reads (``FORMAT csv, NULL 'null'``), so almost nothing is decoded into Python and nothing can be rounded on
the way. Two msgspec decoders do the work in C: one proves that every field has its type, one cuts the record up.
Whatever they do not settle (an unknown field, a wrong type, a NUL) goes to ``careful.py``, which takes the record apart
field by field and either gives the row or says in words why not.

Fields without a column are learned as they are met and from then on travel on the fast path too, into ``_extra``.
"""

import re
from binascii import hexlify
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date, datetime
from operator import itemgetter
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw
from xxhash import xxh3_128_digest, xxh32_digest

from keepstep.engine.careful import CarefulMapper, quote
from keepstep.model.errors import Rejected
from keepstep.model.integration import Entity, Kind

VERSION = 1
"""Raise it when the same record would give another row: every row is then compared once more."""

_MOST_LEARNED = 256
_UNLEARNABLE = re.compile(r'["\\\x00-\x1f]')
"""msgspec takes no such characters in a field's name: records with them stay on the careful path."""
_ABSENT = Raw(b"")
_NULL = Raw(b"null")
_KEY = Annotated[str, Meta(min_length=1)]
_BIGINT = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
_TYPES: dict[Kind, Any] = {
    Kind.TEXT: str | None,
    Kind.BOOLEAN: bool | None,
    Kind.INTEGER: _BIGINT | None,
    Kind.NUMERIC: float | None,
    Kind.TIMESTAMP: Annotated[datetime, Meta(tz=True)] | None,
    Kind.DATE: date | None,
    Kind.JSON: Raw,
}
_FAST_BYTES = 16383
"""A longer record might hold a number with more decimals than PostgreSQL keeps: the careful way counts them."""

_NUL = b"\\u0000"
_TOO_FINE = re.compile(rb"\.(?=\d{7})")
"""In a timestamp: finer than a microsecond, so that PostgreSQL might round."""

Mapped = bytes | Rejected


class Mapping:
    """Maps the records of one entity. Not shared between runs: it learns the fields that it meets."""

    def __init__(self, entity: Entity) -> None:
        self.entity = entity
        described = repr((VERSION, entity.key, [(f.name, f.kind.value) for f in entity.fields]))
        self.tag = xxh32_digest(described.encode())
        self._careful = CarefulMapper(entity)
        self._learned: list[str] = []
        self._compile()

    def hashes(self, records: Iterable[Raw]) -> list[bytes]:
        """What ``_hash`` would be for each record: the mapping's tag and 128 bits of the record's bytes."""
        tag = self.tag
        return [tag + xxh3_128_digest(record) for record in records]

    def rows(
        self, records: Sequence[Raw], hashes: Sequence[bytes], places: Iterable[int]
    ) -> Iterator[tuple[int, Mapped]]:
        """The row, or the refusal, of the record at each place. Lazy, so that COPY and mapping overlap."""
        for place in places:
            yield place, self.row(records[place], hashes[place])

    def row(self, record: Raw, record_hash: bytes) -> Mapped:
        """One record's row: key, fields, ``_extra``, ``_hash``."""
        data = bytes(record)
        escaped = b"\\" in data
        if len(data) <= _FAST_BYTES and not (escaped and _NUL in data):
            try:
                self._check(record)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                pass
            else:
                row = self._fast(record, escaped)
                if row is not None:
                    return b"%b,\\x%b" % (row, hexlify(record_hash))
        return self._by_field(data, record_hash)

    def words_for(self, record: Raw) -> str | None:
        """Why a record that PostgreSQL refused cannot be held, where the record alone tells."""
        try:
            self._careful.row(bytes(record))
        except Rejected as refusal:
            return refusal.message
        return None

    def _by_field(self, data: bytes, record_hash: bytes) -> Mapped:
        try:
            row, unknown = self._careful.row(data)
        except Rejected as refusal:
            return refusal
        self._learn(unknown)
        return b"%b,\\x%b" % (row, hexlify(record_hash))

    def _learn(self, names: Iterable[str]) -> None:
        new = [name for name in names if name not in self._learned and not _UNLEARNABLE.search(name)]
        if new and len(self._learned) + len(new) <= _MOST_LEARNED:
            self._learned += new
            self._compile()

    def _compile(self) -> None:
        """Build both decoders and the joiner for the fields known so far."""
        entity = self.entity
        names = [entity.key, *(f.name for f in entity.fields), *self._learned]
        kinds = [Kind.TEXT, *(f.kind for f in entity.fields), *([Kind.JSON] * len(self._learned))]
        rename = {f"f{i}": name for i, name in enumerate(names)}
        typed = [
            (f"f{i}", _KEY if i == 0 else _TYPES[kind], *(() if i == 0 else (_NULL if kind is Kind.JSON else None,)))
            for i, kind in enumerate(kinds)
        ]
        fixed = 1 + len(entity.fields)
        raw = [(f"f{i}", Raw, _NULL if i < fixed else _ABSENT) for i in range(len(names))]
        options: dict[str, Any] = {"rename": rename, "gc": False}
        check = msgspec.defstruct("Check", typed, forbid_unknown_fields=True, **options)
        cut = msgspec.defstruct("Cut", raw, **options)
        self._check = msgspec.json.Decoder(check).decode
        self._fast = _joiner(
            msgspec.json.Decoder(cut).decode,
            kinds[:fixed],
            [msgspec.json.encode(name) + b":" for name in self._learned],
        )


def _joiner(
    cut: Callable[[Raw], Any], kinds: Sequence[Kind], extra_names: Sequence[bytes]
) -> Callable[[Raw, bool], bytes | None]:
    """A function from a checked record to its row, or None where a time needs a closer look.

    Its second argument says whether there is an escape anywhere in the record.
    """

    def places(*wanted: Kind) -> list[int]:
        return [i for i, kind in enumerate(kinds) if kind in wanted]

    as_tuple = msgspec.structs.astuple
    null, absent, fixed = _NULL, _ABSENT, len(kinds)
    comma, too_fine = b",".join, _TOO_FINE.search
    times = _picker(places(Kind.TIMESTAMP))
    moments = _picker(places(Kind.TIMESTAMP, Kind.DATE))
    text_places, json_places = places(Kind.TEXT), places(Kind.JSON)
    decode_text = msgspec.json.Decoder(str).decode

    def fast(record: Raw, escaped: bool) -> bytes | None:
        values = list(as_tuple(cut(record)))
        if too_fine(comma(times(values))):
            return None
        for place in json_places:
            value = values[place]
            if value is not null and (json := bytes(value)) != b"null":
                values[place] = quote(json)
        if escaped:
            if b"\\" in comma(moments(values)):
                return None
            for place in text_places:
                if b"\\" in (text := bytes(values[place])):
                    values[place] = quote(decode_text(text).encode())
        if not extra_names:
            values.append(b"{}")
            return comma(values)
        learned = zip(extra_names, values[fixed:], strict=True)
        present = [name + bytes(value) for name, value in learned if value is not absent]
        values[fixed:] = [quote(b"{%b}" % comma(present)) if present else b"{}"]
        return comma(values)

    return fast


def _picker(places: Sequence[int]) -> Callable[[Sequence[Any]], Sequence[Any]]:
    """Gives the values at these places, however many they are."""
    if len(places) > 1:
        return itemgetter(*places)
    return itemgetter(slice(places[0], places[0] + 1) if places else slice(0))
