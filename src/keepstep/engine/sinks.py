"""Where a reading goes: ``Apply`` writes it, ``DryRun`` finds out what that would do; ``sync.py`` cannot tell."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

import msgspec

from keepstep.engine.batches import Batch
from keepstep.engine.guard import Tally
from keepstep.engine.mapping import Mapping
from keepstep.model.errors import Rejected
from keepstep.model.integration import Reading
from keepstep.model.run import Counts, DeadLetter, Event, State
from keepstep.store.records import Hits


class Progress(msgspec.Struct):
    """How far a reading is, beside its cursor: what the checkpoint keeps so that a killed run goes on exactly.

    ``look`` counts the passes of a full reading from 1, ``whole_looks`` those that were read to their end, ``proven``
    is the last one that was complete (0: none). ``high`` is the watermark to be. ``whole``: one look received every
    record, so that the watermark may move. ``abandoned``: a person reset the checkpoint. ``unchanged``: upstream proved
    that there is nothing to read. ``facts``: what a full reading has learned of upstream so far; they hold once it has
    ended.
    """

    since: datetime | None = None
    look: int = 1
    whole_looks: int = 0
    proven: int = 0
    high: datetime | None = None
    whole: bool = False
    seen: str | None = None
    abandoned: bool = False
    unchanged: bool = False
    facts: dict[str, Any] | None = None
    tallies: dict[int, Tally] = msgspec.field(default_factory=dict)

    def add(self, batch: Batch) -> None:
        """Count a batch's pages in."""
        if batch.anew:
            self._begin_look()
        for page, (rows, without_key, repeated) in zip(batch.pages, batch.tallies, strict=True):
            tally = self.tallies.setdefault(page.part, Tally())
            tally.add(rows=rows, without_key=without_key, repeated=repeated, total=page.total)
            self.unchanged = page.unchanged
            if page.high is not None and (self.high is None or page.high > self.high):
                self.high = page.high

    @property
    def begun(self) -> bool:
        """Whether anything was read."""
        return self.look > 1 or bool(self.tallies)

    def next_look(self, *, complete: bool) -> None:
        """This look has ended, and the listing is read again."""
        self.whole_looks += 1
        if complete:
            self.proven = self.look
        self._begin_look()

    def _begin_look(self) -> None:
        self.look += 1
        self.tallies = {}

    @property
    def total(self) -> int | None:
        """Upstream's count over the parts met so far."""
        totals = [tally.total for tally in self.tallies.values()]
        return None if None in totals else sum(total for total in totals if total is not None)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How an entity of a run ended."""

    state: State
    deleted: int
    event: Event


class Sink(Protocol):
    """One entity of one run."""

    async def open(self) -> tuple[Reading, Progress]:
        """Where to read from. Makes the table ready."""
        ...

    async def write(self, batch: Batch, progress: Progress) -> Counts:
        """Everything of a batch, in one transaction."""
        ...

    async def close(self, progress: Progress) -> Outcome | None:
        """The reading has ended; None: a full one must look a second time, with ``progress`` made ready for it."""
        ...


def refused_letter(mapping: Mapping, batch: Batch, place: int, reason: str) -> DeadLetter:
    """The dead letter of a row that PostgreSQL refused for this reason."""
    words = mapping.words_for(batch.records[place]) or f"PostgreSQL refused it: {reason}."
    return DeadLetter(batch.keys[place], "refused", words, bytes(batch.records[place]))


def tally_up(
    batch: Batch,
    letters: Sequence[DeadLetter],
    hits: Hits,
    *,
    inserted: int,
    updated: int,
    deleted: int = 0,
    met: Collection[str] | None = None,
) -> Counts:
    """What a batch counts as. ``met``: where records come again, those of its keys that were counted before."""
    skipped = batch.newly_skipped(met or ())
    if met is None:
        unchanged = batch.rows - inserted - updated - len(letters)
        return Counts(inserted, updated, unchanged, deleted, len(letters), skipped)
    fresh = set(batch.keys).difference(met)
    refused = {letter.key for letter in letters[len(batch.letters) :]}
    good = fresh - refused
    staged = [batch.keys[place] for place in hits.other if batch.keys[place] not in refused]
    same = min(len(good.intersection(staged)), len(staged) - updated)
    unchanged = len(good.difference(staged, (batch.keys[place] for place in hits.new))) + same
    dead_lettered = len(fresh & refused) + sum(letter.key in fresh for letter in batch.letters)
    return Counts(inserted, updated, unchanged, deleted, dead_lettered, skipped)


def mapped(
    mapping: Mapping, batch: Batch, places: Iterable[int], letters: list[DeadLetter]
) -> Iterator[tuple[int, bytes]]:
    """The rows of the records at ``places``; those that cannot be mapped are added to ``letters`` instead."""
    for place, row in mapping.rows(batch.records, batch.hashes, places):
        if isinstance(row, Rejected):
            letters.append(DeadLetter(batch.keys[place], "value", row.message, bytes(batch.records[place])))
        else:
            yield place, row
