"""The database side of one live run: its session, its lock, and the fence that every transaction of it passes."""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import TypeVar
from uuid import UUID

import psycopg

from keepstep.model.errors import Fenced, StoreError
from keepstep.store.db import Connection, Database, DataRefused, explain, lost, reason_of, refused
from keepstep.store.queries import queries

_LOCKS = queries("locks")
# A probe joins about a thousand keys to a table of any size by its primary key: a nested loop is right at every size,
# and a plan kept from when the table was empty would scan it at every flush.
_SETTINGS = b"""
SELECT set_config('plan_cache_mode', 'force_custom_plan', false), set_config('enable_hashjoin', 'off', false),
       set_config('enable_mergejoin', 'off', false), set_config('client_min_messages', 'warning', false)
"""
_RECONNECTS = 8
_FIRST_PAUSE = 0.25

T = TypeVar("T")
Work = Callable[[Connection, datetime], Awaitable[T]]


class Closing(Exception):
    """The run is about to be given back: nothing more is written."""


class RunSession:
    """What a live run writes through. Made by ``store.locks``; used by one asyncio task at a time.

    ``moved``: it has committed a page; ``told_at``: when the last one was announced; ``uncounted``: requests of each
    entity that no committed page has told of.
    """

    def __init__(
        self, database: Database, connection: Connection, *, run_id: int, connection_id: int, token: UUID, lease: float
    ) -> None:
        self._database = database
        self._connection = connection
        self.run_id = run_id
        self.connection_id = connection_id
        self.told_at = 0.0
        self.moved = False
        self.uncounted: dict[str, int] = {}
        self._closing = False
        self._idle = asyncio.Event()
        self._idle.set()
        self.token = token
        self.lease = lease
        self._lock = {"connection": connection_id, "token": token, "lease": lease}

    async def flush(self, work: Work[T], *, repeatable: bool = True) -> T:
        """Do ``work`` in one transaction behind the fence.

        A transaction that broke with its connection is done again on a new one. Raises ``Fenced`` when the lock has
        another holder, ``DataRefused`` when the database refuses a value, ``StoreError`` for everything else.
        """
        if self._closing:
            raise Closing(f"Run {self.run_id} is given back.")
        self._idle.clear()
        try:
            return await self._flush(work, repeatable)
        finally:
            self._idle.set()

    async def _flush(self, work: Work[T], repeatable: bool) -> T:
        attempt = 0
        while True:
            try:
                async with self._connection.transaction():
                    now = await self._fence()
                    return await work(self._connection, now)
            except psycopg.Error as error:
                if refused(error):
                    raise DataRefused(f"The database refused a change: {reason_of(error)}.") from error
                if not lost(error) or not repeatable or attempt == _RECONNECTS:
                    raise explain(error) from error
                attempt = await self._reconnect(attempt + 1)

    async def close_after(self, patience: float) -> None:
        """Let the flush under way end, for up to ``patience`` seconds; another one raises ``Closing``."""
        self._closing = True
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._idle.wait()

    def reopen(self) -> None:
        """Let flushes happen again: the one that writes the end down."""
        self._closing = False

    async def _fence(self) -> datetime:
        cursor = await self._connection.execute(_LOCKS["fence"], self._lock)
        row = await cursor.fetchone()
        if row is None:
            raise Fenced(
                f"Run {self.run_id} has lost its lock.", fix="Nothing is lost: it was stopped, or another run goes on."
            )
        now: datetime = row["now"]
        return now

    async def _reconnect(self, attempt: int) -> int:
        """A new session for the same lock. Gives the attempts used; a database that restarts may need several."""
        await self._connection.close()
        while True:
            await asyncio.sleep(_FIRST_PAUSE * 2 ** (attempt - 1))
            try:
                connection = await self._database.session(name=f"keepstep run {self.run_id}")
                await prepare(connection)
                await connection.execute(_LOCKS["move"], self._lock)
            except (StoreError, psycopg.Error) as error:
                if attempt == _RECONNECTS:
                    raise error if isinstance(error, StoreError) else explain(error) from error
                attempt += 1
            else:
                self._connection = connection
                return attempt

    async def release(self) -> None:
        """Give the lock and the session back. Safe to call when either is already gone."""
        try:
            if not self._connection.closed:
                await self._connection.execute(_LOCKS["release"], self._lock)
        except psycopg.Error:
            pass  # the lease frees what could not be released
        finally:
            await self._database.give_session(self._connection)


async def prepare(connection: Connection) -> None:
    """Settings of a run's session."""
    await connection.execute(_SETTINGS)


class Heartbeats:
    """Renews the locks of live runs while they wait, map or read: those of a whole process from one session.

    A lock whose run commits at the moment is passed over, because the fence renews it, and never waited for.
    """

    def __init__(self, database: Database, *, every: float = 2.0) -> None:
        self._database = database
        self._every = every
        self._watched: dict[UUID, tuple[RunSession, asyncio.Event]] = {}
        self._work: asyncio.Task[None] | None = None
        self._wake = asyncio.Event()

    async def watch(self, session: RunSession) -> None:
        """Keep a run's lock alive until there is no such lock any more."""
        gone = asyncio.Event()
        self._watched[session.token] = (session, gone)
        self._wake.set()
        if self._work is None or self._work.done():
            self._work = asyncio.create_task(self._beat(), name="heartbeats")
        try:
            await gone.wait()
        finally:
            del self._watched[session.token]

    async def aclose(self) -> None:
        """Beat no more."""
        if self._work is not None:
            self._work.cancel()
            await asyncio.gather(self._work, return_exceptions=True)

    async def _beat(self) -> None:
        while True:
            with contextlib.suppress(StoreError):  # the database is away: it is asked again
                async with self._database.connection() as connection:
                    while True:
                        if self._watched:
                            await self._renew(connection)
                        await self._rest()
            await self._rest()

    async def _renew(self, connection: Connection) -> None:
        watched = dict(self._watched)
        sessions = [session for session, _ in watched.values()]
        cursor = await connection.execute(
            _LOCKS["renew"],
            {
                "connections": [session.connection_id for session in sessions],
                "tokens": [session.token for session in sessions],
                "leases": [session.lease for session in sessions],
            },
        )
        alive = {row["token"] for row in await cursor.fetchall()}
        for token, (_, gone) in watched.items():
            if token not in alive:
                gone.set()

    async def _rest(self) -> None:
        self._wake.clear()
        seconds = None
        if self._watched:
            seconds = min(self._every, *(session.lease / 4 for session, _ in self._watched.values()))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._wake.wait()
