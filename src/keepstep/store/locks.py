"""One run at a time: the lock of a connection, and who may take it."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any
from uuid import uuid4

import psycopg

from keepstep.model.errors import LockHeld
from keepstep.model.run import State
from keepstep.store.db import Connection, Database, explain
from keepstep.store.queries import queries
from keepstep.store.session import RunSession, prepare

_LOCKS = queries("locks")
_TAKEOVER_PATIENCE = 2.0
"""Seconds to wait for a killed holder's session to end before the lock counts as held."""

Find = Callable[[Connection], Awaitable[int]]
"""The id of the connection that is wanted, with its row locked: takers queue up there."""
Start = Callable[[Connection, int], Awaitable[int]]
"""What is done under the lock before it is written down; gives the run that has it."""


async def under_lock(database: Database, find: Find, start: Start, lease: float) -> RunSession:
    """Do ``start`` as the only one on a connection, and give the run that it names the lock.

    Raises ``LockHeld`` while another run is alive.
    """
    connection = await database.take_session(name="keepstep run")
    try:
        await prepare(connection)
        deadline = asyncio.get_running_loop().time() + _TAKEOVER_PATIENCE
        while True:
            try:
                return await _take(database, connection, find, start, lease)
            except _Alive as holder:
                if asyncio.get_running_loop().time() > deadline:
                    raise LockHeld(holder.message, run_id=holder.run_id, fix=holder.fix) from None
            await asyncio.sleep(0.2)
    except psycopg.Error as error:
        await database.give_session(connection)
        raise explain(error) from error
    except BaseException:
        await database.give_session(connection)
        raise


class _Alive(LockHeld):
    """The holder's session is there; it may be one of a process that was killed this moment."""


async def _take(database: Database, connection: Connection, find: Find, start: Start, lease: float) -> RunSession:
    async with connection.transaction():
        owner = await find(connection)
        seen = await _refuse_living(connection, owner)
        await connection.execute(_LOCKS["evict"], {"connection": owner})
        await connection.execute(_LOCKS["guard"], {"connection": owner})
        await _refuse_living(connection, owner, seen=seen)
        run_id = await start(connection, owner)
        token = uuid4()
        await connection.execute(_LOCKS["take"], {"connection": owner, "run": run_id, "token": token, "lease": lease})
    return RunSession(database, connection, run_id=run_id, connection_id=owner, token=token, lease=lease)


async def _refuse_living(connection: Connection, owner: int, *, seen: datetime | None = None) -> datetime | None:
    """When the holder last renewed its lease. One that did so since ``seen``, while we waited for it, is alive.

    However long it took: a flush that began before its lease was over may end long after.
    """
    holder = await (await connection.execute(_LOCKS["holder"], {"connection": owner})).fetchone()
    if holder is None:
        return None
    renewed: datetime = holder["renewed_at"]
    if holder["is_there"] and (holder["is_fresh"] or (seen is not None and renewed != seen)):
        since = {"id": holder["run_id"], "state": State.RUNNING, "started_at": holder["started_at"]}
        error = held_by(since)
        raise _Alive(error.message, run_id=error.run_id, fix=error.fix)
    return renewed


def held_by(run: dict[str, Any]) -> LockHeld:
    """Why a live run keeps another one from beginning. Reads ``id``, ``state``, and the time that goes with it."""
    run_id = run["id"]
    if run["state"] == State.WAITING:
        words = f"Run {run_id} waits for upstream until {run['due_at']:%H:%M:%S} UTC and goes on then."
        fix = "Let it wait, or stop it first with: keepstep stop"
    elif run["state"] == State.QUEUED:
        words = f"Run {run_id} is queued and begins as soon as a worker is free."
        fix = "Wait for it, or stop it first with: keepstep stop"
    else:
        words = f"Run {run_id} is active since {run['started_at']:%H:%M:%S} UTC."
        fix = "Wait for it to end, or stop it with: keepstep stop"
    return LockHeld(words, run_id=str(run_id), fix=fix)
