"""Runs: how one begins (taking the lock), counts, and ends."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import partial
from typing import Any

from psycopg import AsyncCursor
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from keepstep.model.errors import Fenced
from keepstep.model.integration import Json, Mode
from keepstep.model.run import Counts, Event, RunRequest, State, Trigger
from keepstep.store import errors, owner_rows, totals
from keepstep.store.db import Connection, Database
from keepstep.store.locks import held_by, under_lock
from keepstep.store.queries import queries
from keepstep.store.session import RunSession

_RUNS, _LOCKS, _EVENTS, _QUEUE = queries("runs"), queries("locks"), queries("events"), queries("queue")
_BETWEEN_PAGES = 0.3
"""Seconds: announcing every page would halve the rate of commits, and nobody reads so fast."""


async def connection_id(connection: Connection, integration: str, owner: str | None = None) -> int:
    """The id of the connection to an integration, made on first use."""
    cursor = await connection.execute(_RUNS["connection"], {"integration": integration, "owner": owner})
    return int((await _one(cursor))["id"])


async def begin(
    database: Database, integration: str, request: RunRequest, *, lease: float, owner: str | None = None
) -> RunSession:
    """Take the connection's lock and start a run under it.

    A run whose process is gone is marked crashed and replaced; one that should have gone on long ago is replaced too.
    Raises ``LockHeld`` while another run is alive, queued, or waits.
    """

    async def start(connection: Connection, place: int) -> int:
        await _end_previous(connection, place)
        asked = {**asdict(request), "entities": list(request.entities)}
        cursor = await connection.execute(_RUNS["insert_run"], {"connection": place, **asked})
        run_id = int((await _one(cursor))["id"])
        await _started(connection, place, run_id, request)
        return run_id

    return await under_lock(database, partial(connection_id, integration=integration, owner=owner), start, lease)


async def resume(database: Database, run_id: int, *, lease: float) -> RunSession:
    """Take the lock again for a run whose wait is over. Raises ``Fenced`` when it was ended meanwhile."""

    async def go_on(connection: Connection, owner: int) -> int:
        cursor = await connection.execute(_RUNS["resume_run"], {"run": run_id})
        if await cursor.fetchone() is None:
            raise Fenced(f"Run {run_id} was ended while it waited.", fix="Nothing is lost: start a new run to go on.")
        await tell_of(connection, owner, run_id, Event("run-resumed", f"Run {run_id} goes on."))
        return run_id

    return await under_lock(database, partial(_connection_of, run_id=run_id), go_on, lease)


@dataclass(frozen=True, slots=True)
class TakenUp:
    """A queued run that is ours now. ``first`` is False when it goes on; ``entities`` are those that have not ended."""

    session: RunSession
    request: RunRequest
    entities: tuple[str, ...]
    first: bool


async def take_up(database: Database, run_id: int, *, lease: float) -> TakenUp:
    """Take the lock for a queued run. Raises ``Fenced`` when it is not queued any more, ``LockHeld``."""
    taken: list[tuple[RunRequest, tuple[str, ...], bool]] = []

    async def start(connection: Connection, owner: int) -> int:
        row = await (await connection.execute(_RUNS["take_up"], {"run": run_id})).fetchone()
        if row is None:
            raise Fenced(
                f"Run {run_id} is not queued any more.", fix="Nothing is lost: somebody else has it, or it ended."
            )
        request = RunRequest(
            tuple(row["entities"]), Mode(row["mode"]), since=row["since"], dry_run=row["dry_run"],
            trigger=Trigger(row["trigger"]), actor=row["actor"],
        )  # fmt: skip
        if row["first"]:
            await _started(connection, owner, run_id, request)
        else:
            await tell_of(connection, owner, run_id, Event("run-resumed", f"Run {run_id} goes on."))
        cursor = await connection.execute(_RUNS["unfinished"], {"run": run_id})
        left = tuple(entity["entity"] for entity in await cursor.fetchall())
        taken[:] = [(request, left, row["first"])]
        return run_id

    session = await under_lock(database, partial(_connection_of, run_id=run_id), start, lease)
    [(request, left, first)] = taken
    return TakenUp(session, request, left, first)


async def _connection_of(connection: Connection, *, run_id: int) -> int:
    row = await (await connection.execute(_RUNS["connection_of"], {"run": run_id})).fetchone()
    if row is None:
        raise Fenced(f"There is no run {run_id} any more.")
    return int(row["id"])


async def _started(connection: Connection, owner: int, run_id: int, request: RunRequest) -> None:
    await connection.execute(_RUNS["insert_entities"], {"run": run_id, "entities": list(request.entities)})
    kind = f"{'dry run, ' if request.dry_run else ''}{request.mode}"
    await tell_of(
        connection,
        owner,
        run_id,
        Event("run-started", f"Run {run_id} started: {kind} of {', '.join(request.entities)}."),
    )


async def _one(cursor: AsyncCursor[DictRow]) -> DictRow:
    row = await cursor.fetchone()
    assert row is not None  # noqa: S101 - only for statements that always return a row
    return row


async def _end_previous(connection: Connection, owner: int) -> None:
    """The lock is free, so nobody drives the connection's live run: is it over, or does somebody go on with it soon?"""
    run = await (await connection.execute(_RUNS["live"], {"connection": owner})).fetchone()
    if run is None:
        return
    if not run["overdue"]:
        raise held_by(run)
    await connection.execute(_QUEUE["drop_rows"], {"connection": owner, "run": run["id"]})
    if run["state"] == State.RUNNING:
        await end_live(connection, owner, run["id"], State.CRASHED, "its process ended without a word")
    else:
        await end_live(connection, owner, run["id"], State.STOPPED, "a new run took its place")


async def end_live(
    connection: Connection, owner: int, run_id: int, state: State, why: str, *, error: Json | None = None
) -> bool:
    """End a run from outside, and say why; whether it was live."""
    ended = {"run": run_id, "state": state, "error": None if error is None else Jsonb(error)}
    if await (await connection.execute(_RUNS["end_live"], ended)).fetchone() is None:
        return False
    await connection.execute(_RUNS["end_live_entities"], ended)
    kind = "run-stopped" if state is State.STOPPED else "run-failed"
    level = "warning" if error is None else "error"
    await tell_of(
        connection, owner, run_id, Event(kind, f"Run {run_id} {state}: {why}.", level=level, data=error or {})
    )
    return True


def _event(connection: int, run: int, event: Event) -> dict[str, Any]:
    return {"connection": connection, "run": run, **asdict(event), "data": Jsonb(dict(event.data))}


async def tell_of(connection: Connection, owner: int, run_id: int, event: Event, *, notify: bool = True) -> None:
    """Store an event of a run and announce it, in the caller's transaction. One that tells of an error is counted."""
    await connection.execute(_EVENTS["put"], _event(owner, run_id, event))
    if errors.is_failure(event):
        await errors.count(connection, owner, run_id, event)
    if notify:
        await connection.execute(_EVENTS["notify"], {"run": run_id})


async def tell(connection: Connection, session: RunSession, event: Event) -> None:
    """Store an event of the live run and announce it. Pages that come in quick succession are announced together."""
    now = time.monotonic()
    notify = event.type != "page" or now - session.told_at > _BETWEEN_PAGES
    if notify:
        session.told_at = now
    await tell_of(connection, session.connection_id, session.run_id, event, notify=notify)


async def start_entity(connection: Connection, session: RunSession, entity: str, *, resumed: bool) -> int:
    """An entity's turn has come; gives the pages that this run has read of it before it had to wait."""
    cursor = await connection.execute(
        _RUNS["start_entity"], {"run": session.run_id, "entity": entity, "resumed": resumed}
    )
    return int((await _one(cursor))["pages"])


async def start_entity_anew(connection: Connection, session: RunSession, entity: str) -> None:
    """A dry run's turn at an entity has come: whatever it counted before a wait is forgotten."""
    await connection.execute(_RUNS["start_entity_anew"], {"run": session.run_id, "entity": entity})


class AlreadyCounted(Exception):
    """This very flush was committed before; only its confirmation was lost with a connection."""


async def count_flush(
    connection: Connection, session: RunSession, entity: str, *, pages: int, expected_pages: int, requests: int,
    total: int | None, counts: Counts,
) -> None:  # fmt: skip
    """Add what one flush did. Raises ``AlreadyCounted``, so that a repeated flush is undone."""
    cursor = await connection.execute(
        _RUNS["count_flush"],
        {"run": session.run_id, "entity": entity, "pages": pages, "expected_pages": expected_pages, "rows": counts.rows,
         "requests": requests, "total": total, **asdict(counts), "skipped": Jsonb(dict(counts.skipped))},
    )  # fmt: skip
    if await cursor.fetchone() is None:
        raise AlreadyCounted


async def count_requests(connection: Connection, session: RunSession) -> None:
    """Add the requests that no page told of: failed ones, and pages fetched ahead. Comes before the run's end."""
    if session.uncounted:
        names, counts = list(session.uncounted), list(session.uncounted.values())
        parameters = {"run": session.run_id, "entities": names, "requests": counts}
        await connection.execute(_RUNS["count_requests"], parameters)


async def finish_entity(
    connection: Connection,
    session: RunSession,
    entity: str,
    state: State,
    *,
    completeness: str | None = None,
    error: Json | None = None,
    report: Json | None = None,
    deleted: int = 0,
) -> None:
    """An entity of the run has ended."""
    await connection.execute(
        _RUNS["finish_entity"],
        {"run": session.run_id, "entity": entity, "state": state, "completeness": completeness, "deleted": deleted,
         "error": None if error is None else Jsonb(error), "report": None if report is None else Jsonb(report)},
    )  # fmt: skip


async def so_far(connection: Connection, session: RunSession, entity: str) -> dict[str, Any]:
    """What the run has counted of an entity: ``deleted``, ``skipped``, ``rows``."""
    return await _one(await connection.execute(_RUNS["so_far"], {"run": session.run_id, "entity": entity}))


async def ended_entity(connection: Connection, session: RunSession, entity: str) -> dict[str, Any] | None:
    """How an entity of the run ended (state, deleted, completeness), or None while it has not."""
    cursor = await connection.execute(_RUNS["ended_entity"], {"run": session.run_id, "entity": entity})
    return await cursor.fetchone()


async def finish(connection: Connection, session: RunSession, state: State, event: Event, error: Json | None) -> None:
    """The run has ended; entities that were under way end with it. Said again, it changes and tells nothing."""
    cursor = await connection.execute(
        _RUNS["finish_run"], {"run": session.run_id, "state": state, "error": None if error is None else Jsonb(error)}
    )
    if await cursor.fetchone() is None:
        return
    await connection.execute(_RUNS["end_live_entities"], {"run": session.run_id, "state": state})
    await tell(connection, session, event)


async def entity_results(connection: Connection, session: RunSession) -> dict[str, Any]:
    """How many entities failed and are held, and the first error."""
    cursor = await connection.execute(_RUNS["finish_state"], {"run": session.run_id})
    return await _one(cursor)


async def wait(
    connection: Connection, session: RunSession, after: float, event: Event, error: Json,
    *, for_breaker: bool = False, moved: bool = True,
) -> datetime:  # fmt: skip
    """The run waits in the database until ``after`` seconds from now; gives that moment.

    ``moved``: it has committed a page since it last waited.
    """
    cursor = await connection.execute(
        _RUNS["wait_run"],
        {"run": session.run_id, "after": after, "error": Jsonb(error), "for_breaker": for_breaker, "moved": moved},
    )
    due: datetime = (await _one(cursor))["due_at"]
    await tell(connection, session, event)
    return due


async def waits(connection: Connection, run_id: int) -> int:
    """How often in a row the run has waited for the breaker."""
    return int((await _one(await connection.execute(_RUNS["waits"], {"run": run_id})))["waits"])


async def give_back(connection: Connection, session: RunSession, event: Event) -> None:
    """The run is queued again for whoever has time for it."""
    run = {"run": session.run_id}
    if await (await connection.execute(_RUNS["give_back"], run)).fetchone() is not None:
        await connection.execute(_LOCKS["take_away"], {"connection": session.connection_id})
        await connection.execute(_QUEUE["put"], {"runs": [session.run_id]})
        await tell(connection, session, event)


async def fail_queued(connection: Connection, run_id: int, error: Json) -> None:
    """A queued run that cannot even begin has failed."""
    async with connection.transaction():
        owner = await _connection_of(connection, run_id=run_id)
        await end_live(connection, owner, run_id, State.FAILED, error["message"].rstrip("."), error=error)


async def state_of(database: Database, run_id: int) -> State:
    """The state of a run."""
    async with database.connection() as connection:
        row = await get(connection, run_id)
    return State(row["state"]) if row else State.STOPPED


async def hold_off(connection: Connection, integration: str, owner: str | None = None) -> int:
    """Keep runs of a connection from committing until the caller's transaction, its owner's, ends; gives the id.

    Its upsert locks the connection's row, which a starting run needs; the lock's row keeps a running one at its fence.
    """
    held = await connection_id(connection, integration, owner)
    await connection.execute(_LOCKS["guard"], {"connection": held})
    await owner_rows.become(connection, owner)
    return held


async def is_active(connection: Connection, owner: int) -> bool:
    """Whether a live run holds the connection."""
    holder = await (await connection.execute(_LOCKS["holder"], {"connection": owner})).fetchone()
    return bool(holder and holder["is_fresh"] and holder["is_there"])


async def settle_held(connection: Connection, run_id: int, entity: str, *, deleted: int) -> None:
    """A held entity was decided; with the last one, the run is no longer held."""
    if deleted:
        await totals.deleted_later(connection, run_id, entity, deleted)
    await connection.execute(_RUNS["settle_entity"], {"run": run_id, "entity": entity, "deleted": deleted})
    await connection.execute(_RUNS["settle_run"], {"run": run_id})


async def clock(connection: Connection) -> datetime:
    """The database's time."""
    now: datetime = (await _one(await connection.execute("SELECT now() AS now")))["now"]
    return now


async def get(connection: Connection, run_id: int) -> dict[str, Any] | None:
    """One run with its ``entities`` and nothing else."""
    cursor = await connection.execute(_RUNS["get_run"], {"run": run_id})
    row = await cursor.fetchone()
    return None if row is None else (await _with_entities(connection, [row]))[0]


async def get_several(connection: Connection, ids: Sequence[int]) -> list[dict[str, Any]]:
    """These runs, newest first, each with its ``entities``."""
    cursor = await connection.execute(_RUNS["get_runs"], {"runs": list(ids)})
    return await _with_entities(connection, await cursor.fetchall())


async def newest(
    connection: Connection, *, limit: int, entity: str | None, result: str | None, before: int | None,
    only: Sequence[int] | None = None,
) -> list[dict[str, Any]]:  # fmt: skip
    """Runs, newest first, each with its ``entities``; ``only`` of these connections."""
    cursor = await connection.execute(
        _RUNS["list_runs"], {"limit": limit, "entity": entity, "result": result, "before": before, "only": only}
    )
    return await _with_entities(connection, await cursor.fetchall())


async def _with_entities(connection: Connection, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    cursor = await connection.execute(_RUNS["run_entities"], {"runs": [row["id"] for row in rows]})
    by_run: dict[int, list[dict[str, Any]]] = {row["id"]: [] for row in rows}
    for entity in await cursor.fetchall():
        by_run[entity["run_id"]].append(entity)
    return [{**row, "names": row["entities"], "entities": by_run[row["id"]]} for row in rows]


async def events(connection: Connection, run_id: int, *, after: int = 0, limit: int = 1000) -> list[dict[str, Any]]:
    """A run's events in order, from an id on."""
    cursor = await connection.execute(_EVENTS["of_run"], {"run": run_id, "after": after, "limit": limit})
    return await cursor.fetchall()
