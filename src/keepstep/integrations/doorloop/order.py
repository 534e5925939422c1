"""The times in a page, what they prove of upstream's order, and what they allow as a watermark. Pure."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from operator import attrgetter
from typing import Any

import msgspec
from msgspec import Raw

from keepstep.model.integration import Json

OVERLAP = timedelta(minutes=5)
"""A delta reads so far behind the watermark: clocks differ, and an update may become visible after a later one."""

RECHECK_SORT = timedelta(days=7)
"""After so long an account whose sort did not work is tried again; until then each delta reads everything."""

PROOF = 8
"""So many different times in falling order are no coincidence."""


class _Head(msgspec.Struct, gc=False):
    id: str
    updatedAt: datetime  # noqa: N815 - the wire's name


class _Heads(msgspec.Struct, gc=False):
    data: list[_Head]


class _AnyHead(msgspec.Struct):
    id: Any = None
    updatedAt: Any = None  # noqa: N815
    createdAt: Any = None  # noqa: N815


_HEADS = msgspec.json.Decoder(_Heads)
_ANY_HEAD = msgspec.json.Decoder(_AnyHead)
_ID, _UPDATED_AT, _ZONE = attrgetter("id"), attrgetter("updatedAt"), attrgetter("tzinfo")


@dataclass(frozen=True, slots=True)
class Heads:
    """What reading needs of each record: its key (None: no usable one), and when it changed (None: it does not say)."""

    keys: tuple[str | None, ...]
    times: tuple[datetime | None, ...]

    @property
    def known(self) -> list[datetime]:
        """The times that records do say, in their order."""
        return [time for time in self.times if time is not None]


def heads_of(records: Sequence[Raw], body: bytes = b"") -> Heads:
    """Read the heads of a page; a malformed record never stops it. ``body``: the answer that the records were in."""
    try:
        heads = _HEADS.decode(body).data
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        heads = []
    keys = tuple(map(_ID, heads))
    times = tuple(map(_UPDATED_AT, heads))
    # One decoding for all is the fast way; whatever is odd about any of them is for the careful one.
    plain = len(heads) == len(records) and all(keys) and "\x00" not in "".join(keys)
    if plain and set(map(_ZONE, times)) <= {UTC}:
        return Heads(keys, times)
    careful = [_lenient_head(record) for record in records]
    return Heads(tuple(key for key, _ in careful), tuple(time for _, time in careful))


def created_times(records: Sequence[Raw]) -> list[datetime]:
    """The creation times that the records of a page say, in their order."""
    times: list[datetime] = []
    for record in records:
        try:
            time = _moment(_ANY_HEAD.decode(record).createdAt)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            continue
        if time is not None:
            times.append(time)
    return times


def falls(times: Sequence[datetime]) -> bool:
    """Whether no time is later than the one before it."""
    return all(earlier <= later for later, earlier in pairwise(times))


def proves_sort(updated: Sequence[datetime], created: Sequence[datetime]) -> bool:
    """Whether a page in falling order of update can only be so because upstream sorted it.

    Where the records also fall by creation, the order may be upstream's own, and proves nothing.
    """
    return falls(updated) and len(set(updated)) >= PROOF and not falls(created)


def judge_probe(descending: Sequence[datetime], ascending: Sequence[datetime]) -> bool | None:
    """Whether two readings of one listing, asked in opposite orders, show that the order was heard.

    ``descending`` are the times of page 1, newest first, ``ascending`` those of a few records asked oldest first. None:
    all times are the same, nothing can be told.
    """
    if not descending or not ascending:
        return None
    oldest = ascending[0]
    if oldest == descending[0] and len(set(descending)) == 1:
        return None
    return falls(descending) and oldest <= descending[-1] and oldest < descending[0]


def newest(times: Sequence[datetime], began: datetime) -> datetime | None:
    """The newest time that may become the watermark: none later than upstream's clock when the reading began.

    A time clearly in the future is a fault of its record and does not count.
    """
    fit = [time for time in times if time <= began + OVERLAP]
    return min(max(fit), began) if fit else None


def sort_known(facts: Json, now: datetime) -> bool | None:
    """What earlier runs learned of the sort by update time; None when it must be found out (again)."""
    honoured = facts.get("sort_honoured")
    if honoured is False:
        learned = _moment(facts.get("sort_checked_at"))
        return None if learned is None or now - learned >= RECHECK_SORT else False
    return True if honoured is True else None


def sort_fact(honoured: bool, now: datetime) -> Json:
    """What to remember of the sort."""
    return {"sort_honoured": honoured, "sort_checked_at": now.isoformat()}


def aware(moment: datetime) -> datetime:
    """The moment in UTC; one without a zone is UTC already."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _utc(moment: datetime) -> datetime | None:
    try:
        return aware(moment)
    except (OverflowError, ValueError):
        return None


def _moment(value: object) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        return _utc(datetime.fromisoformat(value))
    except ValueError:
        return None


def _lenient_head(record: Raw) -> tuple[str | None, datetime | None]:
    """The head of a record that is malformed somewhere.

    Its key still matters: a record that is there but cannot be read is not a deleted one.
    """
    try:
        head = _ANY_HEAD.decode(record)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        found = _texts_of(bytes(record))
        return found.get(b"id") or None, _moment(found.get(b"updatedAt"))
    return _usable(head.id), _moment(head.updatedAt)


def _usable(value: object) -> str | None:
    return value if isinstance(value, str) and value and "\x00" not in value else None


_MARK = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[\]{}]', re.DOTALL)
_PLAIN_TEXT = re.compile(rb'"(id|updatedAt)"\s*:\s*"([^"\\\x00-\x1f]*)"')


def _texts_of(record: bytes) -> dict[bytes, str]:
    """The plain texts of the head's fields, found by looking at strings and brackets alone."""
    found: dict[bytes, str] = {}
    depth = 0
    for mark in _MARK.finditer(record):
        first = mark[0][:1]
        if first != b'"':
            depth += 1 if first in b"[{" else -1
        elif depth == 1 and (pair := _PLAIN_TEXT.match(record, mark.start())) is not None:
            found[pair[1]] = pair[2].decode("utf-8", "replace")
    return found
