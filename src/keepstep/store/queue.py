"""Runs on their way to a worker: how one is queued, stopped, and rescued from a worker that is gone.

::

    enqueue_one ─► queued + row ─► (worker) ─► running + lock ─► an end
                      ▲                            │
                      ├──── give_back, wait over ◄─┤
                      └──── recover (worker dead) ◄┘

A queue row is one attempt. Everything is decided by the run's state and the lock, under the row of the connection; the
queue row only brings the news to a worker, and a row too many or too few does no harm.
"""

from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import psycopg

from keepstep.model.errors import KeepstepError, StoreError
from keepstep.model.integration import Json
from keepstep.model.run import Event, RunRequest, State, error_json
from keepstep.store import runs
from keepstep.store.db import Connection
from keepstep.store.locks import held_by
from keepstep.store.queries import queries

_QUEUE, _LOCKS = queries("queue"), queries("locks")
POISON = 3
"""So many workers may die of a run before it is given up."""
_STOP_PATIENCE = 5
"""Seconds that a flush under way may take to end before a stop interrupts it."""


async def enqueue_one(
    connection: Connection, integration: str, request: RunRequest, *, owner: str | None = None
) -> int:
    """Queue a run; gives its id. Raises ``LockHeld`` with the id of the run that the connection has already."""
    found = await _connection(connection, integration, owner)
    asked = {**asdict(request), "entities": list(request.entities), "connection": found}
    for _ in range(100):  # the live run may end between the two questions
        row = await (await connection.execute(_QUEUE["enqueue_one"], asked)).fetchone()
        if row is not None:
            return int(row["id"])
        live = await (await connection.execute(_QUEUE["live"], {"connection": found})).fetchone()
        if live is not None:
            raise held_by(live)
    raise StoreError(f"The runs of {integration} come and go too fast to queue one.", fix="Try again.")


async def _connection(connection: Connection, integration: str, owner: str | None) -> int:
    """The connection's id without locking its row, which a person's approval may hold for long."""
    wanted = {"integration": integration, "owner": owner}
    row = await (await connection.execute(_QUEUE["connection"], wanted)).fetchone()
    return int(row["id"]) if row else await runs.connection_id(connection, integration, owner)


async def stop(connection: Connection, integration: str, *, owner: str | None = None) -> int | None:
    """End the connection's live run now; gives its id, None when there is none.

    A flush under way is waited for, and interrupted when it takes too long. What was committed stays; nothing is
    committed afterwards. The run's worker is told by the engine.
    """
    found = await _connection(connection, integration, owner)
    try:
        return await _stop(connection, found, patience=_STOP_PATIENCE)
    except psycopg.errors.LockNotAvailable:
        await connection.execute(_LOCKS["interrupt"], {"connection": found})
        return await _stop(connection, found, patience=4 * _STOP_PATIENCE)


async def _stop(connection: Connection, owner: int, *, patience: int) -> int | None:
    async with connection.transaction():
        await connection.execute(f"SET LOCAL lock_timeout = '{patience}s'".encode())
        await connection.execute(_QUEUE["lock_connection"], {"connection": owner})
        await connection.execute(_LOCKS["guard"], {"connection": owner})
        live = await (await connection.execute(_QUEUE["live"], {"connection": owner})).fetchone()
        if live is None:
            return None
        await connection.execute(_LOCKS["take_away"], {"connection": owner})
        await connection.execute(_QUEUE["abort"], {"connection": owner})
        await runs.end_live(connection, owner, live["id"], State.STOPPED, "asked to; the next run goes on from here")
    return int(live["id"])


@dataclass(frozen=True, slots=True)
class Suspect:
    """A running run whose lock nobody seems to hold: as it was seen, so that it can be seen to have changed."""

    run_id: int
    connection_id: int
    token: str | None
    renewed_at: datetime | None


async def suspects(connection: Connection) -> list[Suspect]:
    """Running runs without a lock, with one whose lease is over, or with one whose session has ended."""
    cursor = await connection.execute(_QUEUE["suspects"])
    return [
        Suspect(row["id"], row["connection_id"], row["token"], row["renewed_at"]) for row in await cursor.fetchall()
    ]


async def recover(connection: Connection, suspect: Suspect, *, poison: int = POISON) -> State | None:
    """Give the run of a dead worker to the next one, or end it; gives its new state, None when it lives after all."""
    owner = {"connection": suspect.connection_id}
    try:
        return await _recover(connection, suspect, owner, poison)
    except psycopg.errors.LockNotAvailable:  # somebody is busy with it: it lives, or is being recovered
        return None


async def _recover(connection: Connection, suspect: Suspect, owner: dict[str, int], poison: int) -> State | None:
    async with connection.transaction():
        await connection.execute("SET LOCAL lock_timeout = '1s'")
        await connection.execute(_QUEUE["lock_connection"], owner)
        await connection.execute(_LOCKS["evict"], owner)
        lock = await (await connection.execute(_LOCKS["guard"], owner)).fetchone()
        run = await (await connection.execute(_QUEUE["abandoned"], {"run": suspect.run_id})).fetchone()
        if run is None or not _is_unchanged(suspect, lock):
            return None
        if lock is not None and lock["run_id"] == suspect.run_id:
            await connection.execute(_LOCKS["take_away"], owner)
        await connection.execute(_QUEUE["drop_rows"], {**owner, "run": suspect.run_id})
        crashes = run["crashes"] + 1
        if run["in_queue"] and crashes < poison:
            return await _requeue(connection, suspect, crashes)
        why = "its process ended without a word"
        error = _poisonous(suspect.run_id, crashes) if run["in_queue"] else None
        if error is not None:
            why = f"{crashes} workers died while they worked on it"
        await runs.end_live(connection, suspect.connection_id, suspect.run_id, State.CRASHED, why, error=error)
        return State.CRASHED


def _is_unchanged(suspect: Suspect, lock: dict[str, Any] | None) -> bool:
    if lock is None or lock["run_id"] != suspect.run_id:
        return suspect.token is None
    return (str(lock["token"]), lock["renewed_at"]) == (suspect.token, suspect.renewed_at)


async def _requeue(connection: Connection, suspect: Suspect, crashes: int) -> State:
    await connection.execute(_QUEUE["requeue"], {"run": suspect.run_id})
    await connection.execute(_QUEUE["put"], {"runs": [suspect.run_id]})
    words = f"Run {suspect.run_id} has lost its worker; the next one goes on from the last page."
    event = Event("run-requeued", words, level="warning", data={"crashes": crashes})
    await runs.tell_of(connection, suspect.connection_id, suspect.run_id, event)
    return State.QUEUED


def _poisonous(run_id: int, crashes: int) -> Json:
    words = f"Run {run_id} was given up: {crashes} workers died while they worked on it."
    return error_json(KeepstepError.named("run-crashed", facts={"detail": words}))


async def end_lost_waits(connection: Connection) -> list[int]:
    """End runs whose own process should have gone on with them and is gone; gives their ids."""
    cursor = await connection.execute(_QUEUE["lost_wait"])
    ended = []
    for run in await cursor.fetchall():
        async with connection.transaction():
            await connection.execute(_QUEUE["lock_connection"], {"connection": run["connection_id"]})
            why = "its process ended while it waited"
            if await runs.end_live(connection, run["connection_id"], run["id"], State.CRASHED, why):
                ended.append(int(run["id"]))
    return ended


async def requeue_missing(connection: Connection) -> list[int]:
    """Give queued runs that have no queue row a new one; gives their ids."""
    cursor = await connection.execute(_QUEUE["unqueued"])
    missing = [int(row["id"]) for row in await cursor.fetchall()]
    if missing:
        await connection.execute(_QUEUE["put"], {"runs": missing})
    return missing


async def sweep_rows(connection: Connection, *, stale: float, dead: float) -> int:
    """Remove the rows of workers without a sign of life for ``stale`` seconds, and workers after ``dead`` seconds."""
    row = await (await connection.execute(_QUEUE["sweep_rows"], {"stale": stale})).fetchone()
    await connection.execute(_QUEUE["sweep_workers"], {"dead": dead})
    return int(row["rows"]) if row else 0


@dataclass(frozen=True, slots=True)
class QueueStats:
    """Attempts that wait (``todo``) and under way (``doing``) by queue, workers alive, seconds of the longest wait."""

    todo: dict[str, int]
    doing: dict[str, int]
    workers: int
    oldest_seconds: float | None


async def stats(connection: Connection, *, stale: float) -> QueueStats:
    """How the queue is. A process has a worker for each of its lanes."""
    rows = await (await connection.execute(_QUEUE["stats"])).fetchall()
    oldest = await (await connection.execute(_QUEUE["oldest"])).fetchone()
    workers = await (await connection.execute(_QUEUE["workers"], {"stale": stale})).fetchone()
    return QueueStats(
        todo={row["queue"]: row["todo"] for row in rows},
        doing={row["queue"]: row["doing"] for row in rows},
        workers=int(workers["alive"]) if workers else 0,
        oldest_seconds=oldest["seconds"] if oldest else None,
    )
