"""The sink that writes nothing: it probes, maps and stages like the real one, compares, and makes the delta report."""

from collections import Counter
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from keepstep.engine.batches import Batch
from keepstep.engine.evidence import refuse_many, weigh
from keepstep.engine.guard import Deletions
from keepstep.engine.mapping import Mapping
from keepstep.engine.sinks import Outcome, Progress, mapped, refused_letter, tally_up
from keepstep.model.integration import Entity, Mode, Reading
from keepstep.model.run import Counts, DeadLetter, Event, Policy, RunRequest, State
from keepstep.store import checkpoints, runs
from keepstep.store.arrays import bytea_array, text_array
from keepstep.store.bisect import write_bisecting
from keepstep.store.comparison import Comparison
from keepstep.store.db import Connection, DataRefused
from keepstep.store.records import Destination, Hits
from keepstep.store.seen import SeenKeys
from keepstep.store.session import RunSession

MOST_SAMPLES = 20
_Row = tuple[int, bytes]


class DryRun:
    """Compares one entity with its table. Uses temporary tables only, no checkpoint, and no dead letters."""

    def __init__(
        self, session: RunSession, entity: Entity, mapping: Mapping, destination: Destination,
        request: RunRequest, policy: Policy, announce: Callable[[Batch, Counts, Progress], Event],
    ) -> None:  # fmt: skip
        self._session = session
        self._entity = entity
        self._mapping = mapping
        self._destination = destination
        self._request = request
        self._policy = policy
        self._announce = announce
        self._seen = SeenKeys(f"dry_{entity.name}", temporary=True)
        self._missing: list[str] | None = None
        self._pages = 0
        self._requests = 0
        self._counts = Counts()
        self._changed_columns: Counter[str] = Counter()
        self._samples: list[dict[str, Any]] = []
        self._letters: list[DeadLetter] = []
        self._gone: set[str] = set()

    async def open(self) -> tuple[Reading, Progress]:
        """Always from the start, and as far as a real run would go."""

        async def work(connection: Connection, _now: datetime) -> tuple[Reading, Progress]:
            known = await checkpoints.state(connection, self._session.connection_id, self._entity.name)
            self._policy = self._policy.knowing(known["facts"])
            self._missing = await self._destination.missing_columns(connection)
            await self._seen.create(connection)
            await self._destination.create_stage(connection)
            await runs.start_entity_anew(connection, self._session, self._entity.name)
            full = self._request.mode is Mode.BACKFILL
            since = None if full else (self._request.since or known["watermark"])
            asked_for = not full and self._request.since is not None
            reading = Reading(self._request.mode, since=since, facts=known["facts"], asked_for=asked_for)
            return reading, Progress(since=since)

        return await self._session.flush(work, repeatable=False)

    async def write(self, batch: Batch, progress: Progress) -> Counts:
        """Compare a batch. Its transaction keeps nothing but the run's own counts and the keys that were met."""
        progress.add(batch)
        try:
            counts = await self._session.flush(
                lambda connection, _now: self._compare(connection, batch, progress, bisecting=False), repeatable=False
            )
        except DataRefused:
            counts = await self._session.flush(
                lambda connection, _now: self._compare(connection, batch, progress, bisecting=True), repeatable=False
            )
        self._counts += counts
        self._pages += len(batch.pages)
        self._requests += sum(page.requests for page in batch.pages)
        return counts

    async def _compare(self, connection: Connection, batch: Batch, progress: Progress, *, bisecting: bool) -> Counts:
        letters = list(batch.letters)
        keys = text_array(batch.keys)
        hits = await self._hits(connection, batch)
        again = progress.look > 1
        met = set(await self._seen.among(connection, keys)) if hits.new or hits.other or again else set()
        met_apart = (
            set(await self._seen.among(connection, text_array(batch.apart))) if again and batch.skipped else set()
        )
        hits = Hits(*([p for p in places if batch.keys[p] not in met] for places in (hits.new, hits.other)))
        await self._fill_stage(connection, batch, (*hits.new, *hits.other), letters, bisecting)
        bad = {letter.key for letter in letters}
        new = [key for key in (batch.keys[place] for place in hits.new) if key not in bad]
        comparison = Comparison(self._destination, self._missing)
        changed = [] if self._missing is None else await comparison.changed(connection)
        samples = await self._sample(connection, comparison, new, changed)
        gone = await self._would_delete(connection, batch)
        counts = tally_up(
            batch, letters, hits, inserted=len(new), updated=len(changed), deleted=len(gone),
            met=met | met_apart if again else None,
        )  # fmt: skip
        for parts in (batch.keys_by_part(), batch.apart_by_part()):
            arrays = {part: text_array(values) for part, values in parts.items()}
            await self._seen.add(connection, progress.look, arrays)
        await runs.count_flush(
            connection, self._session, self._entity.name, pages=len(batch.pages), expected_pages=self._pages,
            requests=sum(page.requests for page in batch.pages), total=progress.total, counts=counts,
        )  # fmt: skip
        await runs.tell(connection, self._session, self._announce(batch, counts, progress))
        self._changed_columns.update(column for row in changed for column in row["columns"])
        self._samples += samples + [{"key": key, "change": "deleted"} for key in gone][: MOST_SAMPLES - len(samples)]
        self._samples = self._samples[:MOST_SAMPLES]
        self._gone.update(gone)
        if progress.look == 1:
            self._letters += letters[: MOST_SAMPLES - len(self._letters)]
        return counts

    async def _would_delete(self, connection: Connection, batch: Batch) -> list[str]:
        """The keys of the rows that upstream itself says are gone, each once."""
        keys = [key for key in batch.without_row if key not in self._gone]
        if not keys or self._missing is None or self._request.mode is Mode.BACKFILL:
            return []
        gone = text_array(keys)
        await refuse_many(connection, self._destination, self._policy, gone, before=len(self._gone))
        return await self._destination.live_among(connection, gone)

    async def _hits(self, connection: Connection, batch: Batch) -> Hits:
        if self._missing is None:
            return Hits(list(range(len(batch.keys))), [])
        return await self._destination.probe(connection, text_array(batch.keys), bytea_array(batch.hashes))

    async def _fill_stage(
        self, connection: Connection, batch: Batch, places: Sequence[int], letters: list[DeadLetter], bisecting: bool
    ) -> None:
        """Stage everything that would be written: PostgreSQL says of each value whether it could hold it."""
        rows = mapped(self._mapping, batch, places, letters)
        if not bisecting:
            await self._destination.fill_stage(connection, (row for _, row in rows))
            return

        async def stage(group: Sequence[_Row]) -> int:
            await self._destination.fill_stage(connection, (row for _, row in group))
            return len(group)

        _, refused = await write_bisecting(connection, list(rows), stage)
        letters += [refused_letter(self._mapping, batch, place, reason) for (place, _), reason in refused]

    async def _sample(
        self, connection: Connection, comparison: Comparison, new: list[str], changed: list[dict[str, Any]]
    ) -> list[dict[str, Any]]:
        """Differences to show, until there are enough: half the room is kept for changes."""
        room = MOST_SAMPLES - len(self._samples)
        fresh = new[: max(room - MOST_SAMPLES // 2, 0)]
        altered = {row["key"]: row for row in changed[: room - len(fresh)]}
        if not fresh and not altered:
            return []
        values = await comparison.before_and_after(connection, text_array([*fresh, *altered]))
        samples = [{"key": key, "change": "inserted", "after": _content(values[key][1])} for key in fresh]
        for key, row in altered.items():
            before, after = values[key]
            columns = {name: [(before or {}).get(name), after[name]] for name in row["columns"]}
            samples.append({"key": key, "change": "returned" if row["returns"] else "updated", "columns": columns})
        return samples

    async def close(self, progress: Progress) -> Outcome | None:
        """Say what the reading would have deleted, and store the report."""
        return await self._session.flush(lambda connection, _now: self._close(connection, progress), repeatable=False)

    async def _close(self, connection: Connection, progress: Progress) -> Outcome | None:
        words, deleted, held = None, 0, False
        if self._request.mode is Mode.BACKFILL:
            exists = self._missing is not None
            await self._destination.plan_for_whole_table(connection)
            destination = self._destination if exists else None
            found = await weigh(connection, self._seen, destination, self._entity, self._policy, progress)
            if found.decision is Deletions.LOOK_AGAIN:
                progress.next_look(complete=found.proof.complete)
                return None
            words, held = found.proof.words, found.decision is Deletions.HOLD
            deleted = found.gone if found.decision in (Deletions.DELETE, Deletions.HOLD) else 0
            if deleted:
                gone = await self._seen.some_unseen(connection, self._destination, found.since, MOST_SAMPLES)
                self._samples += [
                    {"key": key, "change": "deleted"} for key in gone[: max(MOST_SAMPLES - len(self._samples), 5)]
                ]
                self._samples = self._samples[-MOST_SAMPLES:]
        report = self._report(words, self._counts.deleted + deleted, held)
        name = self._entity.name
        await runs.finish_entity(
            connection, self._session, name, State.SUCCEEDED, completeness=words, report=report, deleted=deleted
        )
        total = self._counts.deleted + deleted
        sentence = f"{name}: would delete {total}" + (f", {deleted} of them held for approval." if held else ".")
        event = Event("entity-finished", sentence, entity=name, data={"state": "succeeded", "deleted": total})
        await runs.tell(connection, self._session, event)
        return Outcome(State.SUCCEEDED, total, event)

    def _report(self, words: str | None, deleted: int, held: bool) -> dict[str, Any]:
        counts = self._counts
        table = self._destination.table_name
        if self._missing is None:
            schema = [f"table {table} would be created"]
        else:
            schema = [f"column {table}.{name} would be added" for name in self._missing]
        return {
            "inserted": counts.inserted,
            "updated": counts.updated,
            "unchanged": counts.unchanged,
            "deleted": deleted,
            "deadLettered": counts.dead_lettered,
            "skipped": dict(counts.skipped),
            "wouldBeHeld": held,
            "completeness": words,
            "changedColumns": dict(self._changed_columns.most_common()),
            "samples": self._samples,
            "deadLetters": [
                {"recordKey": letter.key, "reason": letter.reason.replace("\0", "␀")} for letter in self._letters
            ],
            "schema": schema,
            "requests": self._requests,
        }


def _content(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if value is not None and name != "_hash"}
