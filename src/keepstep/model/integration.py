"""What an integration is: a source of pages, and the description of what the pages hold."""

import re
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from functools import cached_property
from typing import Any, Protocol

from msgspec import Raw

KEY_COLUMN = "id"
"""The column of every table that holds a record's key, whatever upstream calls it."""

Json = Mapping[str, Any]
"""A JSON object made of plain values: what cursors and facts are, so that they can be stored as they are."""

ANOTHER_ACCOUNT: Json = {"account": "another"}
"""Facts of an entity whose owner may have connected another account since it was read. No connector has written them,
and none can tell changes from them: it reads everything.
"""


class Mode(StrEnum):
    """Why a run reads: ``delta`` what changed since the watermark, ``backfill`` everything."""

    DELTA = "delta"
    BACKFILL = "backfill"


class Kind(StrEnum):
    """The type of a documented field, by the PostgreSQL type of its column."""

    TEXT = "text"
    BOOLEAN = "boolean"
    INTEGER = "bigint"
    NUMERIC = "numeric"
    TIMESTAMP = "timestamptz"
    DATE = "date"
    JSON = "jsonb"


def snake_case(name: str) -> str:
    """The column of a wire name: ``totalBalanceDue`` -> ``total_balance_due``."""
    split = re.sub(r"([a-z0-9])([A-Z])|([A-Z])([A-Z][a-z])", r"\1\3_\2\4", name)
    return split.lower()


@dataclass(frozen=True, slots=True)
class Field:
    """One field with a column: its name on the wire and what it holds.

    ``evolved``: it is not documented, and was given its column because it was met. A value of it that does not fit
    stays in ``_extra``, where one of a documented field would make its record a dead letter.
    """

    name: str
    kind: Kind
    evolved: bool = False

    @property
    def column(self) -> str:
        """The column's name."""
        return snake_case(self.name)


@dataclass(frozen=True)
class Entity:
    """One named sequence of records.

    ``fields`` does not hold the key. ``updated_at`` names the field that orders changes. ``volatile`` names fields that
    differ at every read and mean nothing: they alone never make a record "changed". ``can_shift`` says that records may
    move between pages while the listing is read, so that deletions need a second look. ``owned``: each connection
    reads the records of its owner, and one table holds those of all owners apart.
    """

    name: str
    fields: tuple[Field, ...]
    key: str = "id"
    updated_at: str | None = None
    volatile: frozenset[str] = field(default_factory=frozenset)
    can_shift: bool = True
    owned: bool = False

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """The typed columns, in order, without the key."""
        return tuple(f.column for f in self.fields)


@dataclass(frozen=True, slots=True)
class RateLimit:
    """What upstream last said of its limits, whatever headers it said it in. ``reset`` is an instant (UTC)."""

    limit: int | None = None
    remaining: int | None = None
    reset: datetime | None = None


@dataclass(frozen=True, slots=True)
class Reading:
    """What to read of an entity.

    ``cursor``: where an unfinished reading goes on (None: from the start), as an earlier page gave it.
    ``since``: a delta may stop at records not updated after this (None: it reads all). ``asked_for``: it is somebody's
    wish, and not the watermark. ``facts``: what this integration learned of this entity at upstream in earlier runs, as
    an earlier page gave it. ``settled``: the readings that these facts come from ended, and the table has rows.
    """

    mode: Mode
    cursor: Json | None = None
    since: datetime | None = None
    facts: Json = field(default_factory=dict)
    asked_for: bool = False
    settled: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """What one read returned, undecoded.

    ``keys`` holds the records' keys in the same order, None where a record has no usable one. ``number`` counts from 1
    within ``part``; a ``part`` is one listing where an entity needs several (active and inactive units). ``total`` is
    upstream's count for that part. ``cursor`` is where reading goes on *after* this page.
    ``last``: nothing comes after it in the whole reading. ``anew``: the listing has moved since an interruption, so it
    is read from the start, and what came before this page is no part of that look. ``high``: the newest update
    time that may become the watermark, never later than upstream's own clock when the reading began. ``requests``: sent
    for this page, retries included. ``facts``: None, or what was learned of upstream. ``notes``: sentences for the
    run's log. ``unchanged``: upstream proves that nothing is other than when it was last read in full, so this one
    page without records is the whole reading, and nothing is missing.

    ``gone``: keys that upstream itself says are deleted, merged into others or renamed. ``skipped``: by reason, keys of
    records that came and are none of this entity's. A delta deletes the rows of both with the page; a full reading
    finds out at its end what it has not seen.
    """

    records: Sequence[Raw]
    keys: Sequence[str | None]
    number: int
    cursor: Json
    last: bool
    part: int = 0
    total: int | None = None
    high: datetime | None = None
    requests: int = 1
    rate_limit: RateLimit | None = None
    facts: Json | None = None
    notes: tuple[str, ...] = ()
    anew: bool = False
    unchanged: bool = False
    gone: Sequence[str] = ()
    skipped: Mapping[str, Sequence[str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Ping:
    """Whether upstream answers us now. ``state``: ok, degraded or failing; ``reason`` and ``fix`` are sentences.

    ``code`` is the diagnosis where not all is well. ``clock_ahead``: by how many seconds upstream's clock is ahead of
    this machine's, to a second or so; None where it does not say.
    """

    ok: bool
    state: str
    reason: str
    base_url: str
    authenticated: bool
    sample_count: int
    elapsed_ms: int
    rate_limit: RateLimit | None = None
    fix: str = ""
    code: str = ""
    clock_ahead: float | None = None


@dataclass(frozen=True, slots=True)
class Check:
    """What one endpoint answers: its status, the first record's keys, upstream's count, and a sentence about it.

    ``code`` is the diagnosis where it is not data. ``types``: how often each key of the ``sampled`` records has a value
    of each JSON type (``text``, ``number``, ``boolean``, ``object``, ``list``, ``null``).
    """

    status: int | None
    endpoint: str
    first_item_keys: tuple[str, ...]
    count: int | None
    message: str
    ok: bool
    fix: str = ""
    code: str = ""
    sampled: int = 0
    types: Mapping[str, Mapping[str, int]] = field(default_factory=dict)


class Integration(Protocol):
    """The code for one upstream system. It knows nothing of databases, runs and sinks."""

    key: str
    title: str
    base_url: str
    entities: tuple[Entity, ...]

    @property
    def requests(self) -> int:
        """How many requests have been sent, every attempt and every page fetched ahead counted."""
        ...

    async def ping(self) -> Ping:
        """Ask the cheapest question that proves host, path and credentials. Never raises for what upstream does."""
        ...

    async def check(self, endpoint: str, *, page_size: int = 1) -> Check:
        """Ask one endpoint for one page and say in words what came back. Never raises for what upstream does."""
        ...

    def read(self, entity: Entity, reading: Reading) -> AsyncIterator[Page]:
        """Give the pages in order, several requests in flight where upstream allows it. Raises ``UpstreamError``.

        ``ChangesLost`` of a delta means: ask for everything instead.
        """
        ...

    async def aclose(self) -> None:
        """Give back the connections."""
        ...
