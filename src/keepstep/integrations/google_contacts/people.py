"""What reading needs of each person: its key, whether it is gone, what it was called before, when it changed.

Facts: people.v1, ``Person.metadata`` (``deleted``, ``previousResourceNames``, ``sources[].updateTime``). A person that
was deleted has nothing but its name, etag and metadata.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec import Raw

_UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)
_PLAIN_NAME = re.compile(rb'"resourceName"\s*:\s*"(people/[^"\\\x00-\x1f]*)"')


class _Metadata(msgspec.Struct):
    deleted: Any = False
    previousResourceNames: Any = None  # noqa: N815
    sources: Any = None


class _Person(msgspec.Struct):
    resourceName: Any = None  # noqa: N815
    metadata: Any = None


_PERSON = msgspec.json.Decoder(_Person)


@dataclass(frozen=True, slots=True)
class Head:
    """The head of one person. ``key``: None where there is no usable one. ``previous``: names that it has no more."""

    key: str | None
    deleted: bool = False
    previous: tuple[str, ...] = ()
    updated: datetime | None = None


@dataclass(frozen=True, slots=True)
class People:
    """One page sorted out: the people who are there, and the names that lead to nobody any more."""

    records: Sequence[Raw]
    heads: Sequence[Head]
    gone: tuple[str, ...]

    @property
    def keys(self) -> list[str | None]:
        """The keys of the people, in their order."""
        return [head.key for head in self.heads]

    @property
    def times(self) -> list[datetime]:
        """When they changed, as far as they say."""
        return [head.updated for head in self.heads if head.updated is not None]


def head_of(record: Raw) -> Head:
    """The head of a person; a malformed one never stops its page.

    The key still matters then: a person who is there but cannot be read is not a deleted one.
    """
    try:
        person = _PERSON.decode(record)
    except _UNREADABLE:
        found = _PLAIN_NAME.search(bytes(record))
        return Head(found[1].decode("utf-8", "replace") if found else None)
    key = _name(person.resourceName)
    try:
        metadata = msgspec.convert(person.metadata or {}, _Metadata)
    except msgspec.ValidationError:
        return Head(key)
    previous = tuple(name for name in map(_name, _listed(metadata.previousResourceNames)) if name and name != key)
    return Head(key, metadata.deleted is True, previous, max(_times(metadata.sources), default=None))


def sorted_out(records: Sequence[Raw]) -> People:
    """Tell the people who are there from those who are gone.

    A person that was merged or renamed comes under its new name and says the old ones: those are gone. A name that this
    page gives to somebody is not gone, whatever another person says that it was called.
    """
    heads = [head_of(record) for record in records]
    there = [(record, head) for record, head in zip(records, heads, strict=True) if not head.deleted]
    taken = {head.key for _, head in there}
    gone: dict[str, None] = {}
    for head in heads:
        names = (head.key, *head.previous) if head.deleted else head.previous
        gone.update(dict.fromkeys(name for name in names if name is not None and name not in taken))
    return People([record for record, _ in there], [head for _, head in there], tuple(gone))


def _name(value: object) -> str | None:
    return value if isinstance(value, str) and value and "\x00" not in value else None


def _listed(value: object) -> Sequence[Any]:
    return value if isinstance(value, list) else ()


def _times(sources: object) -> Iterator[datetime]:
    for entry in _listed(sources):
        text = entry.get("updateTime") if isinstance(entry, dict) else None
        if not isinstance(text, str):
            continue
        try:
            moment = datetime.fromisoformat(text)
            yield moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
        except (ValueError, OverflowError):
            continue
