"""PostgreSQL arrays in the binary wire format, built by joining bytes.

psycopg's own list dumper visits every element in Python; a probe sends a thousand keys and hashes per flush, so here an
array is one ``join``. The format is that of PostgreSQL's array_send() and array_recv().
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection, pq
from psycopg.abc import Buffer
from psycopg.adapt import Dumper

_LENGTH = struct.Struct(">i")
_HEADER = struct.Struct(">5i")  # dimensions, has nulls, element type, length, lower bound


@dataclass(frozen=True, slots=True)
class _BinaryArray:
    data: bytes


class TextArray(_BinaryArray):
    """A ``text[]``."""


class ByteaArray(_BinaryArray):
    """A ``bytea[]``."""


class _ArrayDumper(Dumper):
    format = pq.Format.BINARY

    def dump(self, obj: _BinaryArray) -> Buffer:
        return obj.data


class _TextArrayDumper(_ArrayDumper):
    oid = 1009


class _ByteaArrayDumper(_ArrayDumper):
    oid = 1001


def register(connection: AsyncConnection[Any]) -> None:
    """Teach a connection to send these arrays."""
    connection.adapters.register_dumper(TextArray, _TextArrayDumper)
    connection.adapters.register_dumper(ByteaArray, _ByteaArrayDumper)


def text_array(values: Sequence[str]) -> TextArray:
    """The texts as one parameter. They must hold no NUL and no lone surrogate."""
    return TextArray(_encode(25, [value.encode() for value in values]))


def bytea_array(values: Sequence[bytes]) -> ByteaArray:
    """The byte strings as one parameter."""
    return ByteaArray(_encode(17, values))


def _encode(element_type: int, values: Sequence[bytes]) -> bytes:
    if not values:
        return struct.pack(">3i", 0, 0, element_type)
    header = _HEADER.pack(1, 0, element_type, len(values), 1)
    lengths = set(map(len, values))
    if len(lengths) == 1:
        separator = _LENGTH.pack(lengths.pop())
        return header + separator + separator.join(values)
    return header + b"".join([_LENGTH.pack(len(value)) + value for value in values])
