"""A page of records taken apart although it is not strict JSON, so that one bad record does not take all with it."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass

import msgspec
from msgspec import Raw

_MARK = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[\]{},]', re.DOTALL)
_PLAIN = re.compile(rb'"([^"\\\x00-\x1f]*)"\s*:\s*')
_SCALAR = re.compile(rb'("[^"\\\x00-\x1f]*"|-?[0-9]+|true|false|null)(?=\s*[,}])')


@dataclass(frozen=True, slots=True)
class Loose:
    """The records of the list that was asked for, undecoded, and the plain values beside it, as they came."""

    records: list[Raw]
    heads: Mapping[str, bytes]


def split_list(body: bytes, name: str) -> Loose | None:
    """The records of the list ``name`` in an object, or None when the body is not a whole one, or has no such list.

    Looks only at strings and brackets, so that whatever is wrong inside a record stays inside that record.
    """
    wanted = name.encode()
    brackets: list[bytes] = []
    records: list[Raw] = []
    heads: dict[str, bytes] = {}
    list_from: int | None = None
    record_from = end = 0
    found = False
    for mark in _MARK.finditer(body):
        text = mark[0]
        if text[:1] == b'"':
            # A name of the envelope itself, not of a record: exactly one bracket is open.
            head = _PLAIN.match(body, mark.start()) if len(brackets) == 1 else None
            if head is None:
                continue
            if head[1] == wanted:
                list_from = head.end() if body[head.end() : head.end() + 1] == b"[" else None
            elif value := _SCALAR.match(body, head.end()):
                heads[head[1].decode("utf-8", "replace")] = value[1]
        elif text in (b"[", b"{"):
            if mark.start() == list_from:
                record_from = mark.end()
            brackets.append(b"]" if text == b"[" else b"}")
        elif text == b"," or len(brackets) > 0:
            in_list = list_from is not None and len(brackets) == 2 and brackets[-1] == b"]"
            if in_list and text in (b",", b"]"):
                record = body[record_from : mark.start()].strip()
                record_from = mark.end()
                if record:
                    records.append(Raw(record))
                elif text == b"," or records:
                    return None
            if text != b",":
                if brackets.pop() != text:
                    return None
                if in_list:
                    list_from, found = None, True
                end = mark.end()
                if not brackets:
                    break
        else:
            return None
    if not all(_tolerable(record) for record in records):
        return None
    if not found or brackets or body[:1] != b"{" or body[end:].strip() or end == 0:
        return None
    return Loose(records, heads)


_WHOLE = msgspec.json.Decoder(Raw)


def _tolerable(record: Raw) -> bool:
    """Whether this is JSON at least to a generous reader: then only this record is bad, not the page."""
    try:
        _WHOLE.decode(record)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        try:
            json.loads(bytes(record).decode("utf-8", "replace"), strict=False)
        except RecursionError:
            return True
        except ValueError:
            return False
    return True
