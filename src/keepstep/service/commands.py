"""Acts: what people and schedulers may do. Everything a person does is written to the admin log."""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from keepstep.dispatch.queue import Queue
from keepstep.engine.replay import Replay
from keepstep.engine.runner import Runner
from keepstep.model.errors import BadRequest, Conflict
from keepstep.model.integration import Entity
from keepstep.model.run import Event, RunRequest, State
from keepstep.service.audit import Audit
from keepstep.service.connectors import Lend
from keepstep.service.scope import is_hidden, visible
from keepstep.service.shapes import Requeued, RunSummary
from keepstep.service.views import Views
from keepstep.store import checkpoints, dead_letters, held, runs
from keepstep.store.db import Connection, Database
from keepstep.store.records import Destination

Listener = Callable[[Event], None]
_LETTERS_AT_ONCE = 100
"""Dead letters whose payloads are in memory together: each may be megabytes."""


class Commands:
    """Does things. ``lend`` gives what a run works with, ``entities`` holds those of every integration, by key."""

    def __init__(
        self, database: Database, lend: Lend, entities: Mapping[str, Sequence[Entity]], audit: Audit | None = None
    ) -> None:
        self._database = database
        self._log = (audit or Audit(database)).record
        self._lend = lend
        self._entities = entities
        self._queue = Queue(database)

    async def run(
        self, key: str, request: RunRequest, listener: Listener = lambda _event: None, *, owner: str | None = None
    ) -> RunSummary:
        """Run to the end, sitting out waits that upstream asks for, and give the run as it ended.

        Raises ``BadRequest`` for what does not exist, ``LockHeld`` while another run is active.
        """
        self._check_entities(key, request.entities)
        self._check_owned(key, request.entities, owner)
        async with self._lend(key, *(() if owner is None else (owner,))) as (integration, policy):
            return await self._drive(Runner(self._database, integration, policy, listener), request, owner)

    async def _drive(self, runner: Runner, request: RunRequest, owner: str | None) -> RunSummary:
        views = Views(self._database)
        run = await views.run(await runner.start(request, owner))
        while run.result == State.WAITING:
            await self._sit_out(run, owner)
            run = await views.run(run.run_id)
            if run.result == State.WAITING:
                unfinished = [e.entity for e in run.entities if e.state in (State.PENDING, State.RUNNING)]
                run = await views.run(await runner.go_on(run.run_id, request, unfinished))
        return run

    async def _sit_out(self, run: RunSummary, owner: str | None) -> None:
        """Wait until the run is due, which may change meanwhile, or until somebody has ended it."""
        try:
            while run.result == State.WAITING and run.due_at is not None:
                left = (run.due_at - datetime.now(UTC)).total_seconds()
                if left <= 0:
                    return
                await asyncio.sleep(min(left, 2.0))
                run = await Views(self._database).run(run.run_id)
        except asyncio.CancelledError:
            with contextlib.suppress(Exception):
                await asyncio.shield(self._queue.cancel(run.integration, owner=owner))
            raise

    async def enqueue(self, key: str, request: RunRequest) -> int:
        """Queue a run for the workers, ahead of scheduled ones; gives its id.

        Raises ``BadRequest`` for what does not exist, ``LockHeld`` with the id of the connection's live run.
        """
        self._check_entities(key, request.entities)
        self._check_owned(key, request.entities, None)
        async with self._lend(key):  # a run that could not begin is refused at once
            pass
        return await self._queue.enqueue_one(key, request)

    async def stop(self, key: str, *, owner: str | None = None) -> int | None:
        """End the live run of an integration now, queued, running or waiting; gives its id, None when there is none.

        What it committed stays, and it commits nothing more. ``owner``: that of an owner's connection.
        """
        self._check_integration(key)
        return await self._queue.cancel(key, owner=owner)

    async def requeue(self, ids: Sequence[int], *, by: str, note: str = "") -> list[Requeued]:
        """Apply the stored payloads of dead letters again. ``note``: why, for the admin log."""
        answers = []
        for start in range(0, len(ids), _LETTERS_AT_ONCE):
            answers += await self._requeue(ids[start : start + _LETTERS_AT_ONCE], by=by)
        why = {"reason": note} if note else {}
        await self._log(by, "dlq.requeue", {"ids": list(ids), **why}, _summary(answers))
        return answers

    async def _requeue(self, ids: Sequence[int], *, by: str) -> list[Requeued]:
        async with self._database.connection() as connection:
            rows = [row for row in await dead_letters.get(connection, ids) if not is_hidden(row["of_user"])]
        results = {row["id"]: Requeued(id=row["id"], result="failed", reason="") for row in rows}
        open_rows = [row for row in rows if row["state"] == "open"]
        places = {(row["integration"], row["owner_id"] or "", row["entity"]) for row in open_rows}
        for integration, owner, name in sorted(places):
            of = (integration, owner, name)
            group = [row for row in open_rows if (row["integration"], row["owner_id"] or "", row["entity"]) == of]
            replay = Replay(self._database, integration, self._entity(integration, name), by=by, owner=owner or None)
            for letter_id, problem in (await replay.apply(group)).items():
                outcome = ("failed", problem) if problem else ("requeued", "The record is in the table.")
                results[letter_id] = Requeued(id=letter_id, result=outcome[0], reason=outcome[1])
        for row in rows:
            if row["state"] != "open":
                results[row["id"]] = Requeued(
                    id=row["id"], result=row["state"], reason=f"It was {row['state']} already."
                )
        return [results.get(i, Requeued(id=i, result="failed", reason="There is no such dead letter.")) for i in ids]

    async def discard(self, ids: Sequence[int], *, by: str, reason: str) -> list[Requeued]:
        """Close dead letters for good. Raises ``BadRequest`` without a reason."""
        _need_reason(reason)
        async with self._database.connection() as connection:
            seen = [row["id"] for row in await dead_letters.get(connection, ids) if not is_hidden(row["of_user"])]
            closed = set(await dead_letters.close(connection, seen, "discarded", by=by, note=reason))
        answers = [
            Requeued(id=i, result="discarded", reason=reason)
            if i in closed
            else Requeued(id=i, result="failed", reason="There is no open dead letter of this id.")
            for i in ids
        ]
        await self._log(by, "dlq.discard", {"ids": list(ids), "reason": reason}, _summary(answers))
        return answers

    async def matching_letters(
        self, *, entity: str | None, reason: str | None, limit: int | None = None, before: int | None = None
    ) -> list[int]:
        """The ids of open dead letters of an entity, or with a reason (or kind of reason); the newest first.

        ``before``: only those with a smaller id.
        """
        async with self._database.connection() as connection:
            rows = await dead_letters.select(
                connection, entity=entity, state="open", reason=reason, limit=limit, before=before,
                only=await visible(connection),
            )  # fmt: skip
        return [int(row["id"]) for row in rows]

    async def approve(self, run_id: int, *, by: str, reason: str) -> int:
        """Carry out a run's held deletions; gives how many rows are now deleted.

        Raises ``Conflict`` when nothing of the run is held, or the table has moved since (the decision is void then).
        """
        deleted, moved = 0, []
        async with self._database.connection() as connection, connection.transaction():
            for decision in await self._held(connection, run_id):
                integration, name = decision["integration"], decision["entity"]
                owner = decision["owner_id"]
                await runs.hold_off(connection, integration, owner)
                destination = Destination(integration, self._entity(integration, name), owner)
                if await destination.state(connection) != decision["table_state"]:
                    moved.append(name)
                    await held.decide(connection, run_id, name, "void", by=by, reason="the table has moved since")
                    await held.drop_keys(connection, run_id, name)
                    await runs.settle_held(connection, run_id, name, deleted=0)
                    continue
                if not await held.decide(connection, run_id, name, "approved", by=by, reason=reason):
                    continue
                now = datetime.now(UTC)
                count = await destination.delete_keys(connection, held.keys(run_id, name), now=now, run_id=run_id)
                await held.drop_keys(connection, run_id, name)
                await runs.settle_held(connection, run_id, name, deleted=count)
                deleted += count
        await self._log(
            by, "held.approve", {"run": run_id, "reason": reason}, f"{deleted} deleted, void: {moved or 'none'}"
        )
        if moved and not deleted:
            raise Conflict(
                f"The approval of run {run_id} is void: {', '.join(moved)} has changed since.",
                fix="Run a backfill again; it holds whatever is still gone.",
            )
        return deleted

    async def discard_held(self, run_id: int, *, by: str, reason: str) -> list[str]:
        """Keep the rows that a run would have deleted; gives the entities concerned."""
        _need_reason(reason)
        async with self._database.connection() as connection, connection.transaction():
            names = [row["entity"] for row in await self._held(connection, run_id)]
            for name in names:
                await held.decide(connection, run_id, name, "discarded", by=by, reason=reason)
                await held.drop_keys(connection, run_id, name)
                await runs.settle_held(connection, run_id, name, deleted=0)
        await self._log(by, "held.discard", {"run": run_id, "reason": reason}, f"kept the rows of {', '.join(names)}")
        return names

    async def reset_checkpoint(self, key: str, entity: str, *, by: str, owner: str | None = None) -> None:
        """Make the next run of an entity read from the start, whatever its mode; ``owner``: of one who has it."""
        self._check_entities(key, [entity])
        self._check_owned(key, [entity], owner)
        async with self._database.connection() as connection, connection.transaction():
            held_off = await runs.hold_off(connection, key, owner)
            if await runs.is_active(connection, held_off):
                raise BadRequest(f"A run of {key} is active.", fix="Stop it first with: keepstep stop")
            await checkpoints.reset(connection, held_off, entity)
        whose = {} if owner is None else {"owner": owner}
        await self._log(by, "checkpoint.reset", {"integration": key, "entity": entity, **whose}, "done")

    async def _held(self, connection: Connection, run_id: int) -> list[dict[str, Any]]:
        found = await held.select(connection, state="open", run_id=run_id)
        rows = [row for row in found if not is_hidden(row["of_user"])]
        if not rows:
            raise Conflict(f"Run {run_id} holds nothing.", fix="List what is held with: keepstep held list")
        return rows

    def _check_integration(self, key: str) -> None:
        if key not in self._entities:
            raise BadRequest(f"There is no integration {key}.", fix=f"Known are: {', '.join(self._entities)}.")

    def _entity(self, key: str, name: str) -> Entity:
        self._check_entities(key, [name])
        return next(entity for entity in self._entities[key] if entity.name == name)

    def _check_entities(self, key: str, names: Sequence[str]) -> None:
        self._check_integration(key)
        known = [entity.name for entity in self._entities[key]]
        unknown = [name for name in names if name not in known]
        if unknown or not names:
            what = f"{key} has no entity {', '.join(unknown)}." if unknown else "No entity is named."
            raise BadRequest(what, fix=f"Known are: {', '.join(known)}.")

    def _check_owned(self, key: str, names: Sequence[str], owner: str | None) -> None:
        """What belongs to owners is read for one of them, and what all share for nobody."""
        owned = {entity.name: entity.owned for entity in self._entities[key]}
        wrong = [name for name in names if owned[name] is not (owner is not None)]
        if wrong and owner is None:
            fix = "Name one: --owner or --agent. For all of the ERP: keepstep run erp, or POST /api/sync/run/TYPE."
            raise BadRequest(f"{key} gives {', '.join(wrong)} for one owner at a time.", fix=fix)
        if wrong:
            raise BadRequest(f"{key} gives {', '.join(wrong)} to all alike.", fix="Leave the owner out.")


def _need_reason(reason: str) -> None:
    if not reason.strip():
        raise BadRequest("A reason is needed.", fix="Give it with --reason.")


def _summary(answers: Sequence[Requeued]) -> str:
    counts = {result: sum(a.result == result for a in answers) for result in {a.result for a in answers}}
    return ", ".join(f"{count} {result}" for result, count in sorted(counts.items()))
