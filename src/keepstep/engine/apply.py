"""The sink that writes: probe, write only differences, and let counts, checkpoint and news commit with the rows."""

from collections.abc import Awaitable, Callable, Collection, Iterable, Sequence
from datetime import datetime

import msgspec

from keepstep.engine.batches import Batch
from keepstep.engine.evidence import Evidence, refuse_many, weigh
from keepstep.engine.guard import Deletions
from keepstep.engine.mapping import Mapping
from keepstep.engine.sinks import Outcome, Progress, mapped, refused_letter, tally_up
from keepstep.model.integration import Entity, Json, Mode, Reading
from keepstep.model.run import Counts, DeadLetter, Event, Policy, RunRequest, State
from keepstep.store import checkpoints, dead_letters, held, runs
from keepstep.store.arrays import TextArray, bytea_array, text_array
from keepstep.store.bisect import write_bisecting
from keepstep.store.db import Connection, DataRefused
from keepstep.store.records import Destination, Hits
from keepstep.store.seen import SeenKeys
from keepstep.store.session import RunSession

UNCHANGED = "complete: nothing is other than at the last full reading"
Announce = Callable[[Batch, Counts, Progress], Event]
Row = tuple[int, bytes]
Writer = Callable[[Iterable[bytes]], Awaitable[int]]


class Apply:
    """Writes one entity of one run. ``announce`` makes the event that a flush commits with."""

    def __init__(
        self, session: RunSession, entity: Entity, mapping: Mapping, destination: Destination,
        request: RunRequest, policy: Policy, announce: Announce,
    ) -> None:  # fmt: skip
        self._session = session
        self._entity = entity
        self._mapping = mapping
        self._destination = destination
        self._request = request
        self._policy = policy
        self._announce = announce
        self._pages = 0
        self._open_letters = False
        self._all_new = False
        self._watermark: datetime | None = None
        self._ended_complete = False

    @property
    def _full(self) -> bool:
        return self._request.mode is Mode.BACKFILL

    def _seen(self, progress: Progress) -> SeenKeys:
        return SeenKeys(progress.seen or f"seen_{self._session.run_id}_{self._entity.name}")

    async def open(self) -> tuple[Reading, Progress]:
        """Make the table, and find out where an unfinished reading of this entity goes on."""

        async def work(connection: Connection, _now: datetime) -> tuple[Reading, Progress]:
            await self._destination.create(connection)
            self._all_new = await self._destination.is_empty(connection)
            owner, name, mode = self._session.connection_id, self._entity.name, self._request.mode
            known = await checkpoints.state(connection, owner, name)
            self._policy = self._policy.knowing(known["facts"])
            self._watermark = known["watermark"]
            self._open_letters = await dead_letters.open_count(connection, owner, name) > 0
            since = None if self._full else (self._request.since or known["watermark"])
            saved = await checkpoints.get(connection, owner, name, mode, stale_hours=self._policy.stale_scan_hours)
            progress = await self._resumable(connection, saved, since)
            self._pages = await runs.start_entity(connection, self._session, name, resumed=progress is not None)
            if progress is None or saved is None:
                await self._forget(connection, saved)
                progress, cursor = Progress(since=since), None
                if self._full:
                    progress.seen = f"seen_{self._session.run_id}_{name}"
                    await self._seen(progress).create(connection)
                    await self._keep(connection, None, progress)  # so that a run killed now leaves nothing behind
            else:
                cursor = saved["cursor"]
            asked_for = not self._full and self._request.since is not None
            settled = saved is None and not self._all_new
            reading = Reading(mode, cursor, progress.since, known["facts"], asked_for=asked_for, settled=settled)
            return reading, progress

        return await self._session.flush(work)

    async def _resumable(
        self, connection: Connection, saved: dict[str, object] | None, since: datetime | None
    ) -> Progress | None:
        if saved is None or saved["stale"]:
            return None
        progress = msgspec.convert(saved["progress"], Progress, str_keys=True)
        if progress.abandoned or not progress.begun:
            return None
        if self._full:
            return progress if await self._seen(progress).intact(connection) else None
        return progress if self._request.since is None or progress.since == since else None

    async def _forget(self, connection: Connection, saved: dict[str, object] | None) -> None:
        """A new reading makes an unfinished older one worthless."""
        if saved is None:
            return
        await checkpoints.drop(connection, self._session.connection_id, self._entity.name, self._request.mode)
        if self._full:
            await self._seen(msgspec.convert(saved["progress"], Progress, str_keys=True)).drop(connection)

    async def write(self, batch: Batch, progress: Progress) -> Counts:
        """One transaction. When the database refuses a value, the batch is written again and the culprits set apart."""
        progress.add(batch)
        try:
            counts = await self._flush_batch(batch, progress)
        except runs.AlreadyCounted:
            counts = Counts()
        self._pages += len(batch.pages)
        return counts

    async def _flush_batch(self, batch: Batch, progress: Progress) -> Counts:
        try:
            return await self._session.flush(lambda connection, now: self._write(connection, now, batch, progress))
        except DataRefused:
            self._all_new = False
            return await self._session.flush(
                lambda connection, now: self._write(connection, now, batch, progress, bisecting=True)
            )

    async def _write(
        self, connection: Connection, now: datetime, batch: Batch, progress: Progress, *, bisecting: bool = False
    ) -> Counts:
        letters = list(batch.letters)
        keys = text_array(batch.keys)
        hits = await self._hits(connection, batch, keys)
        new = mapped(self._mapping, batch, hits.new, letters)
        old = mapped(self._mapping, batch, hits.other, letters)
        inserted = updated = 0
        if hits.new:
            inserted = await self._put(connection, self._inserter(connection), new, batch, letters, bisecting)
        if hits.other:
            await self._destination.create_stage(connection)
            updated = await self._put(connection, self._updater(connection, now), old, batch, letters, bisecting)
        deleted = await self._delete(connection, batch, now)
        met = await self._met(connection, batch, progress, keys)
        counts = tally_up(batch, letters, hits, inserted=inserted, updated=updated, deleted=deleted, met=met)
        await self._settle_letters(connection, batch, letters)
        if self._full:
            parts = batch.keys_by_part()
            arrays = {part: keys if len(parts) == 1 else text_array(values) for part, values in parts.items()}
            await self._seen(progress).add(connection, progress.look, arrays)
            apart = {part: text_array(values) for part, values in batch.apart_by_part().items()}
            await self._seen(progress).add(connection, progress.look, apart)
        await self._commit_place(connection, batch, progress, counts)
        return counts

    async def _hits(self, connection: Connection, batch: Batch, keys: TextArray) -> Hits:
        """What needs work. A table that was empty when the run began needs no probe until a key comes again."""
        if self._all_new:
            return Hits(list(range(len(batch.keys))), [])
        return await self._destination.probe(connection, keys, bytea_array(batch.hashes))

    async def _delete(self, connection: Connection, batch: Batch, now: datetime) -> int:
        """What upstream itself says is gone, with the page that says it; gives how many rows that were.

        It needs no proof, for nothing is concluded from what was not seen. A full reading leaves it all to its end.
        """
        if self._full or not (keys := batch.without_row):
            return 0
        gone = text_array(keys)
        before = (await runs.so_far(connection, self._session, self._entity.name))["deleted"]
        await refuse_many(connection, self._destination, self._policy, gone, before=before)
        if self._open_letters:
            note = "The record is gone upstream."
            await dead_letters.resolve(
                connection, self._session.connection_id, self._entity.name, gone, by="keepstep", note=note
            )
        return await self._destination.delete_listed(connection, gone, now=now, run_id=self._session.run_id)

    async def _met(
        self, connection: Connection, batch: Batch, progress: Progress, keys: TextArray
    ) -> Collection[str] | None:
        """The keys of a batch that were counted before. None: this is the first time for all of them."""
        if progress.look == 1 or not self._full:
            return None
        seen = self._seen(progress)
        if not await seen.intact(connection):  # a server crash emptied it: rather too few are counted than twice
            return [*batch.keys, *batch.apart]
        await seen.index(connection)
        met = await seen.among(connection, keys)
        return [*met, *await seen.among(connection, text_array(batch.apart))] if batch.skipped else met

    async def _put(
        self,
        connection: Connection,
        write: Writer,
        rows: Iterable[Row],
        batch: Batch,
        letters: list[DeadLetter],
        bisecting: bool,
    ) -> int:
        if not bisecting:
            return await write(row for _, row in rows)

        async def one_group(group: Sequence[Row]) -> int:
            return await write(row for _, row in group)

        written, refused = await write_bisecting(connection, list(rows), one_group)
        letters += [refused_letter(self._mapping, batch, place, reason) for (place, _), reason in refused]
        return written

    def _inserter(self, connection: Connection) -> Writer:
        async def insert(rows: Iterable[bytes]) -> int:
            return await self._destination.insert(connection, rows, run_id=self._session.run_id)

        return insert

    def _updater(self, connection: Connection, now: datetime) -> Writer:
        async def update(rows: Iterable[bytes]) -> int:
            staged = await self._destination.fill_stage(connection, rows)
            updated = await self._destination.update_from_stage(
                connection, staged, now=now, run_id=self._session.run_id
            )
            await self._destination.clear_stage(connection)
            return updated

        return update

    async def _settle_letters(self, connection: Connection, batch: Batch, letters: list[DeadLetter]) -> None:
        """Keep the new dead letters; close those whose records are in this batch and good."""
        owner, name = self._session.connection_id, self._entity.name
        if self._open_letters:
            bad = {letter.key for letter in letters}
            good = text_array([key for key in batch.keys if key not in bad])
            await dead_letters.resolve(connection, owner, name, good, by="keepstep", note="The record arrived good.")
        if letters:
            await dead_letters.put(connection, owner, self._session.run_id, name, letters)
            self._open_letters = True

    async def _commit_place(self, connection: Connection, batch: Batch, progress: Progress, counts: Counts) -> None:
        """Counts, checkpoint, facts and the event: in the transaction that wrote the rows."""
        name, last = self._entity.name, batch.pages[-1]
        await runs.count_flush(
            connection, self._session, name, pages=len(batch.pages), expected_pages=self._pages, counts=counts,
            requests=sum(page.requests for page in batch.pages), total=progress.total,
        )  # fmt: skip
        facts = next((page.facts for page in reversed(batch.pages) if page.facts is not None), None)
        if self._full and facts is not None:
            progress.facts = dict(facts)
        async with connection.pipeline():
            await self._keep(connection, last.cursor, progress)
            if facts is not None and not self._full:
                await checkpoints.put_facts(connection, self._session.connection_id, name, facts)
            await runs.tell(connection, self._session, self._announce(batch, counts, progress))

    async def _keep(self, connection: Connection, cursor: Json | None, progress: Progress) -> None:
        await checkpoints.put(
            connection, self._session.connection_id, self._entity.name, self._request.mode,
            run_id=self._session.run_id, cursor=cursor, progress=msgspec.to_builtins(progress, str_keys=True),
        )  # fmt: skip

    async def close(self, progress: Progress) -> Outcome | None:
        """End a delta; weigh the deletions of a full reading."""
        outcome = await self._session.flush(lambda connection, now: self._close(connection, now, progress))
        if outcome is None:  # only now: a flush whose connection breaks is done again from the same progress
            progress.next_look(complete=self._ended_complete)
        return outcome

    async def _close(self, connection: Connection, now: datetime, progress: Progress) -> Outcome | None:
        ended = await runs.ended_entity(connection, self._session, self._entity.name)
        if ended is not None:  # it was committed before; only the confirmation was lost
            skipped = (await runs.so_far(connection, self._session, self._entity.name))["skipped"]
            return self._outcome(State(ended["state"]), ended["completeness"], ended["deleted"], skipped)
        if not self._full:
            watermark = self._delta_watermark(progress)
            return await self._finish(connection, progress, State.SUCCEEDED, None, watermark=watermark)
        if progress.unchanged:
            await self._seen(progress).drop(connection)
            return await self._finish(connection, progress, State.SUCCEEDED, UNCHANGED, watermark=progress.high)
        await self._destination.plan_for_whole_table(connection)
        seen = self._seen(progress)
        found = await weigh(connection, seen, self._destination, self._entity, self._policy, progress)
        proof = found.proof
        progress.whole = progress.whole or proof.whole
        if found.decision is Deletions.LOOK_AGAIN:
            await self._look_again(connection, progress, found)
            return None
        owner, name = self._session.connection_id, self._entity.name
        await held.void(connection, owner, name, f"run {self._session.run_id} read everything anew")
        if proof.complete and self._open_letters:
            note = "A complete reading no longer found the record."
            await dead_letters.resolve_gone(connection, owner, name, by="keepstep", note=note)
        words, deleted, state, level = proof.words, 0, State.SUCCEEDED, "info"
        gone, stay = seen.unseen(self._destination, found.since), found.missing
        if found.decision is Deletions.DELETE:
            deleted = await self._destination.delete_keys(connection, gone, now=now, run_id=self._session.run_id)
            stay -= found.gone
        elif found.decision is Deletions.HOLD:
            await held.hold(connection, self._session, self._destination, gone, rows=found.gone, live=found.live)
            words = f"{words}; {found.gone} of {found.live} rows are gone upstream: their deletion waits for approval"
            state, level = State.HELD, "warning"
            stay -= found.gone
        if stay:
            why = "went while it was read and" if proof.complete else "that were not seen"
            words, level = f"{words}; {stay} rows {why} stay", "warning"
        await seen.drop(connection)
        # What a full reading learned says "everything up to here is in": not so while rows stay that may be gone.
        if progress.facts is not None and not stay:
            await checkpoints.put_facts(connection, owner, name, progress.facts)
        watermark = progress.high if progress.whole else None
        return await self._finish(connection, progress, state, words, watermark=watermark, deleted=deleted, level=level)

    def _delta_watermark(self, progress: Progress) -> datetime | None:
        """A ``since`` of the caller's that leaves a gap after the watermark must not hide the gap."""
        asked = self._request.since
        if asked is not None and (self._watermark is None or asked > self._watermark):
            return None
        return progress.high

    async def _look_again(self, connection: Connection, progress: Progress, found: Evidence) -> None:
        self._ended_complete = found.proof.complete
        following = msgspec.structs.replace(progress)
        following.next_look(complete=self._ended_complete)
        await self._keep(connection, None, following)
        name = self._entity.name
        if found.missing:
            words = f"{name}: {found.missing} rows were not seen; reading once more before anything is deleted."
        else:
            words = f"{name}: {found.proof.words}; reading once more."
        await runs.tell(connection, self._session, Event("look-again", words, entity=name))

    async def _finish(
        self,
        connection: Connection,
        progress: Progress,
        state: State,
        words: str | None,
        *,
        watermark: datetime | None,
        deleted: int = 0,
        level: str = "info",
    ) -> Outcome:
        owner, name, mode = self._session.connection_id, self._entity.name, self._request.mode
        await checkpoints.drop(connection, owner, name, mode)
        await checkpoints.advance(connection, owner, name, mode, watermark)
        await runs.finish_entity(connection, self._session, name, state, completeness=words, deleted=deleted)
        counted = await runs.so_far(connection, self._session, name)
        outcome = self._outcome(state, words, counted["deleted"], counted["skipped"], level)
        await runs.tell(connection, self._session, outcome.event)
        return outcome

    def _outcome(self, state: State, words: str | None, deleted: int, skipped: Json, level: str = "info") -> Outcome:
        name = self._entity.name
        parts = [f"{deleted} deleted"] if deleted else []
        parts += [f"{count} {reason.replace('_', ' ')}" for reason, count in skipped.items()]
        sentence = ", ".join([f"{name}: done", *parts]) + (f"; {words}." if words else ".")
        data = {"state": state, "deleted": deleted, **({"skipped": skipped} if skipped else {})}
        event = Event("entity-finished", sentence, level=level, entity=name, data=data)
        return Outcome(state, deleted, event)
