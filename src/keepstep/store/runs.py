"""Runs: how one begins (taking the lock), counts, and ends."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import uuid4

import psycopg
from psycopg import AsyncCursor
from psycopg.rows import DictRow
from psycopg.types.json import Jsonb

from keepstep.model.errors import Fenced, LockHeld
from keepstep.model.integration import Json
from keepstep.model.run import Counts, Event, RunRequest, State
from keepstep.store.db import Connection, Database, explain
from keepstep.store.queries import queries
from keepstep.store.session import RunSession, prepare

_RUNS, _LOCKS, _EVENTS = queries("runs"), queries("locks"), queries("events")
_TAKEOVER_PATIENCE = 2.0
"""Seconds to wait for a killed holder's session to end before the lock counts as held."""


async def connection_id(connection: Connection, integration: str, owner: str | None = None) -> int:
    """The id of the connection to an integration, made on first use."""
    cursor = await connection.execute(_RUNS["connection"], {"integration": integration, "owner": owner})
    return int((await _one(cursor))["id"])


async def begin(database: Database, integration: str, request: RunRequest, *, lease: float) -> RunSession:
    """Take the connection's lock and start a run under it.

    A run whose process is gone is marked crashed and replaced; one that waits for upstream is replaced too. Raises
    ``LockHeld`` while another run is alive.
    """

    async def start(connection: Connection, owner: int) -> int:
        await _end_previous(connection, owner)
        asked = {**asdict(request), "entities": list(request.entities)}
        cursor = await connection.execute(_RUNS["insert_run"], {"connection": owner, **asked})
        run_id = int((await _one(cursor))["id"])
        await connection.execute(_RUNS["insert_entities"], {"run": run_id, "entities": list(request.entities)})
        kind = f"{'dry run, ' if request.dry_run else ''}{request.mode}"
        event = Event("run-started", f"Run {run_id} started: {kind} of {', '.join(request.entities)}.")
        await connection.execute(_EVENTS["put"], _event(owner, run_id, event))
        return run_id

    return await _under_lock(database, integration, start, lease)


async def resume(database: Database, integration: str, run_id: int, *, lease: float) -> RunSession:
    """Take the lock again for a run whose wait is over. Raises ``Fenced`` when it was ended meanwhile."""

    async def go_on(connection: Connection, owner: int) -> int:
        cursor = await connection.execute(_RUNS["resume_run"], {"run": run_id})
        if await cursor.fetchone() is None:
            raise Fenced(f"Run {run_id} was ended while it waited.", fix="Nothing is lost: start a new run to go on.")
        return run_id

    return await _under_lock(database, integration, go_on, lease)


async def _under_lock(
    database: Database, integration: str, start: Callable[[Connection, int], Awaitable[int]], lease: float
) -> RunSession:
    connection = await database.open(name=f"keepstep run {integration}")
    try:
        await prepare(connection)
        deadline = asyncio.get_running_loop().time() + _TAKEOVER_PATIENCE
        while True:
            try:
                return await _take_lock(database, connection, integration, start, lease)
            except LockHeld:
                if asyncio.get_running_loop().time() > deadline:
                    raise
            await asyncio.sleep(0.2)
    except psycopg.Error as error:
        await connection.close()
        raise explain(error) from error
    except BaseException:
        await connection.close()
        raise


async def _take_lock(
    database: Database,
    connection: Connection,
    integration: str,
    start: Callable[[Connection, int], Awaitable[int]],
    lease: float,
) -> RunSession:
    async with connection.transaction():
        owner = await connection_id(connection, integration)  # takers queue up at its row
        await _refuse_living(connection, integration, owner)
        await connection.execute(_LOCKS["evict"], {"connection": owner})
        await connection.execute(_LOCKS["guard"], {"connection": owner})
        await _refuse_living(connection, integration, owner)  # it may have renewed its lease while we waited
        run_id = await start(connection, owner)
        token = uuid4()
        await connection.execute(_LOCKS["take"], {"connection": owner, "run": run_id, "token": token, "lease": lease})
    return RunSession(database, connection, run_id=run_id, connection_id=owner, token=token, lease=lease)


async def _refuse_living(connection: Connection, integration: str, owner: int) -> None:
    holder = await (await connection.execute(_LOCKS["holder"], {"connection": owner})).fetchone()
    if holder is not None and holder["alive"]:
        raise LockHeld(
            f"Run {holder['run_id']} of {integration} is active since {holder['started_at']:%H:%M:%S} UTC.",
            run_id=str(holder["run_id"]),
            fix="Wait for it to end, or stop it with: keepstep stop",
        )


async def _one(cursor: AsyncCursor[DictRow]) -> DictRow:
    row = await cursor.fetchone()
    assert row is not None  # noqa: S101 - only for statements that always return a row
    return row


async def _end_previous(connection: Connection, owner: int) -> None:
    cursor = await connection.execute(_RUNS["end_live"], {"connection": owner})
    for run in await cursor.fetchall():
        await connection.execute(_RUNS["end_live_entities"], {"run": run["id"], "state": run["state"]})
        reason = "its process ended without a word" if run["state"] == State.CRASHED else "a new run took its place"
        await connection.execute(
            _EVENTS["put"],
            _event(
                owner, run["id"], Event("run-failed", f"Run {run['id']} {run['state']}: {reason}.", level="warning")
            ),
        )


def _event(connection: int, run: int, event: Event) -> dict[str, Any]:
    return {"connection": connection, "run": run, **asdict(event), "data": Jsonb(dict(event.data))}


async def tell(connection: Connection, session: RunSession, event: Event, *, notify: bool = True) -> None:
    """Store an event and announce it, in the caller's transaction."""
    await connection.execute(_EVENTS["put"], _event(session.connection_id, session.run_id, event))
    if notify:
        await connection.execute(_EVENTS["notify"], {"run": session.run_id})


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
         "requests": requests, "total": total, **asdict(counts)},
    )  # fmt: skip
    if await cursor.fetchone() is None:
        raise AlreadyCounted


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


async def wait(connection: Connection, session: RunSession, after: float, event: Event, error: Json) -> datetime:
    """The run waits in the database until ``after`` seconds from now; gives that moment."""
    cursor = await connection.execute(_RUNS["wait_run"], {"run": session.run_id, "after": after, "error": Jsonb(error)})
    due: datetime = (await _one(cursor))["due_at"]
    await tell(connection, session, event)
    return due


async def request_stop(connection: Connection, integration: str) -> int | None:
    """Ask the active run to end after what it is doing, or end a waiting one; gives its id, None when there is none."""
    owner = await connection_id(connection, integration)
    row = await (await connection.execute(_LOCKS["request_stop"], {"connection": owner})).fetchone()
    if row is None:
        row = await (await connection.execute(_RUNS["stop_waiting"], {"connection": owner})).fetchone()
        if row is not None:
            await connection.execute(_RUNS["end_live_entities"], {"run": row["run_id"], "state": State.STOPPED})
    return None if row is None else int(row["run_id"])


async def hold_off(connection: Connection, integration: str) -> int:
    """Keep runs of an integration from committing until the caller's transaction ends; gives the connection's id.

    Its upsert locks the connection's row, which a starting run needs; the lock's row keeps a running one at its fence.
    """
    owner = await connection_id(connection, integration)
    await connection.execute(_LOCKS["guard"], {"connection": owner})
    return owner


async def is_active(connection: Connection, owner: int) -> bool:
    """Whether a live run holds the connection."""
    holder = await (await connection.execute(_LOCKS["holder"], {"connection": owner})).fetchone()
    return bool(holder and holder["alive"])


async def settle_held(connection: Connection, run_id: int, entity: str, *, deleted: int) -> None:
    """A held entity was decided; with the last one, the run is no longer held."""
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


async def newest(
    connection: Connection, *, limit: int, entity: str | None, result: str | None, before: int | None
) -> list[dict[str, Any]]:
    """Runs, newest first, each with its ``entities``."""
    cursor = await connection.execute(
        _RUNS["list_runs"], {"limit": limit, "entity": entity, "result": result, "before": before}
    )
    return await _with_entities(connection, await cursor.fetchall())


async def _with_entities(connection: Connection, rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    cursor = await connection.execute(_RUNS["run_entities"], {"runs": [row["id"] for row in rows]})
    by_run: dict[int, list[dict[str, Any]]] = {row["id"]: [] for row in rows}
    for entity in await cursor.fetchall():
        by_run[entity["run_id"]].append(entity)
    return [{**row, "entities": by_run[row["id"]]} for row in rows]


async def events(connection: Connection, run_id: int, *, after: int = 0, limit: int = 1000) -> list[dict[str, Any]]:
    """A run's events in order, from an id on."""
    cursor = await connection.execute(_EVENTS["of_run"], {"run": run_id, "after": after, "limit": limit})
    return await cursor.fetchall()
