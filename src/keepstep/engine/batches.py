"""Gathers pages into flushes of about a thousand records, whatever upstream's page size, while the next are read."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Collection, Sequence
from dataclasses import dataclass, field

from msgspec import Raw

from keepstep.engine.careful import key_of, key_problem
from keepstep.engine.mapping import Mapping
from keepstep.model.integration import Page
from keepstep.model.run import DeadLetter

_PAGES_AHEAD = 4
_APART = "\x01"


@dataclass
class Batch:
    """What one transaction will write. ``keys``, ``records`` and ``hashes`` go together and hold no key twice."""

    pages: list[Page] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    records: list[Raw] = field(default_factory=list)
    hashes: list[bytes] = field(default_factory=list)
    letters: list[DeadLetter] = field(default_factory=list)
    tallies: list[tuple[int, int, int]] = field(default_factory=list)
    """Per page: records, records without a key, records whose key came again on the same page."""
    gone: list[str] = field(default_factory=list)
    skipped: dict[str, list[str]] = field(default_factory=dict)
    """By reason, the keys of records that are none of the entity's."""
    _known: set[str] = field(default_factory=set)

    @property
    def rows(self) -> int:
        """How many records its pages brought."""
        return sum(rows for rows, _, _ in self.tallies)

    def keys_by_part(self) -> dict[int, Sequence[str]]:
        """The keys that each part of the listing brought."""
        if len({page.part for page in self.pages}) == 1:
            return {self.pages[0].part: self.keys}
        parts: dict[int, list[str]] = {}
        place = 0
        for page, (rows, without_key, repeated) in zip(self.pages, self.tallies, strict=True):
            taken = rows - without_key - repeated
            parts.setdefault(page.part, []).extend(self.keys[place : place + taken])
            place += taken
        return dict(parts)

    def apart_by_part(self) -> dict[int, Sequence[str]]:
        """What each part brought that is none of the entity's: seen, but under a name that no row has."""
        parts: dict[int, list[str]] = {}
        for page in self.pages:
            for keys in page.skipped.values():
                parts.setdefault(page.part, []).extend(_APART + key for key in keys)
        return dict(parts)

    @property
    def apart(self) -> list[str]:
        """The same, of all parts."""
        return [key for keys in self.apart_by_part().values() for key in keys]

    @property
    def without_row(self) -> list[str]:
        """The keys that no live row may have after this: of what is gone, and of what is none of the entity's."""
        return [*self.gone, *(key for keys in self.skipped.values() for key in keys)]

    def newly_skipped(self, met: Collection[str]) -> dict[str, int]:
        """By reason, how many came that are none of the entity's, without those that were ``met`` before."""
        found = {reason: {_APART + key for key in keys} for reason, keys in self.skipped.items()}
        return {reason: len(keys.difference(met)) for reason, keys in found.items()}

    @property
    def anew(self) -> bool:
        """Whether the reading begins again with this batch."""
        return self.pages[0].anew

    def takes(self, page: "SortedPage") -> bool:
        """Whether no key of the page is in the batch already: a record that came twice is written twice, in order."""
        return self._known.isdisjoint(page.keys) and self._known.isdisjoint(page.without_row)

    def add(self, page: "SortedPage") -> None:
        """One more page."""
        self.pages.append(page.page)
        self.keys += page.keys
        self.records += page.records
        self.hashes += page.hashes
        self.letters += page.letters
        self._known.update(page.keys)
        self._known.update(page.without_row)
        self.gone += page.page.gone
        for reason, keys in page.page.skipped.items():
            self.skipped.setdefault(reason, []).extend(keys)
        self.tallies.append((len(page.page.records), page.without_key, page.repeated))


@dataclass(frozen=True, slots=True)
class SortedPage:
    """A page whose records without a usable key, or with one that comes again, stand apart as dead letters."""

    page: Page
    keys: Sequence[str]
    records: Sequence[Raw]
    hashes: Sequence[bytes]
    letters: Sequence[DeadLetter]
    without_key: int
    repeated: int

    @property
    def without_row(self) -> list[str]:
        """The keys of what is gone, and of what is none of the entity's."""
        return [*self.page.gone, *(key for keys in self.page.skipped.values() for key in keys)]


def sort_page(page: Page, mapping: Mapping) -> SortedPage:
    """Find the key of every record. Of records of one page with the same key the last counts."""
    keys = list(page.keys)
    records = list(page.records)
    letters: list[DeadLetter] = []
    without_key = repeated = 0
    if not _all_usable(keys):
        keys, records, letters = _set_keyless_apart(page, mapping.entity.key)
        without_key = len(page.records) - len(keys)
    if len(set(keys)) != len(keys):
        keys, records, earlier = _set_repeated_apart(keys, records)
        letters += earlier
        repeated = len(earlier)
    return SortedPage(page, keys, records, mapping.hashes(records), letters, without_key, repeated)  # type: ignore[arg-type]


def _all_usable(keys: Sequence[str | None]) -> bool:
    if not all(keys):
        return False
    joined = "".join(keys)  # type: ignore[arg-type]
    if joined.isascii() and "\0" not in joined:
        return max(map(len, keys), default=0) <= 1024  # type: ignore[arg-type]
    return all(key_problem(key) is None for key in keys if key is not None)


def _set_keyless_apart(page: Page, key_name: str) -> tuple[list[str | None], list[Raw], list[DeadLetter]]:
    keys: list[str | None] = []
    records: list[Raw] = []
    letters: list[DeadLetter] = []
    for key, record in zip(page.keys, page.records, strict=True):
        data = bytes(record)
        usable = key if key is not None and key_problem(key) is None else key_of(data, key_name)
        if usable is None:
            letters.append(DeadLetter(None, "no-id", _keyless_reason(data, key, key_name), data))
        else:
            keys.append(usable)
            records.append(record)
    return keys, records, letters


def _keyless_reason(data: bytes, key: str | None, name: str) -> str:
    if not data.lstrip().startswith(b"{"):
        return "The record is not an object."
    problem = None if key is None else key_problem(key)
    return f"The record's {name} {problem}." if problem else f"The record has no usable {name}: it must be a text."


def _set_repeated_apart(
    keys: list[str | None], records: list[Raw]
) -> tuple[list[str | None], list[Raw], list[DeadLetter]]:
    left = Counter(keys)
    kept: list[int] = []
    letters: list[DeadLetter] = []
    for place, key in enumerate(keys):
        left[key] -= 1
        if left[key] == 0:
            kept.append(place)
        else:
            reason = f"Another record of the same page has the id {key}; the later one was kept."
            letters.append(DeadLetter(key, "duplicate", reason, bytes(records[place])))
    return [keys[i] for i in kept], [records[i] for i in kept], letters


class _End:
    """Comes after the last page, with the error that ended the reading, if one did."""

    def __init__(self, error: Exception | None) -> None:
        self.error = error


async def batches(
    pages: AsyncIterator[Page], mapping: Mapping, *, rows: int, seconds: float
) -> AsyncGenerator[Batch, None]:
    """Full batches, in page order.

    The first holds one page, so that the first rows show at once. An error of the reading comes after the pages that
    came before it.
    """
    queue: asyncio.Queue[Page | _End] = asyncio.Queue(_PAGES_AHEAD)
    loop = asyncio.get_running_loop()
    reader = loop.create_task(_pump(pages, queue))
    arrival = loop.create_task(queue.get())
    try:
        batch, full, deadline = Batch(), 1, 0.0
        while True:
            patience = max(deadline - loop.time(), 0) if batch.pages else None
            await asyncio.wait({arrival}, timeout=patience)
            arrived = arrival.result() if arrival.done() else None
            if arrived is not None and not isinstance(arrived, _End):
                arrival = loop.create_task(queue.get())
                page = sort_page(arrived, mapping)
                if not batch.takes(page):
                    yield batch
                    batch = Batch()
                if not batch.pages:
                    deadline = loop.time() + seconds
                batch.add(page)
                if len(batch.keys) < full and not arrived.last:
                    continue
            if batch.pages:
                yield batch
                batch, full = Batch(), rows
            if isinstance(arrived, _End):
                if arrived.error is not None:
                    raise arrived.error
                return
    finally:
        reader.cancel()
        arrival.cancel()
        await asyncio.gather(reader, arrival, return_exceptions=True)


async def _pump(pages: AsyncIterator[Page], queue: "asyncio.Queue[Page | _End]") -> None:
    try:
        async for page in pages:
            await queue.put(page)
    except Exception as error:
        await queue.put(_End(error))
    else:
        await queue.put(_End(None))
    finally:
        close = getattr(pages, "aclose", None)
        if close is not None:
            await close()
