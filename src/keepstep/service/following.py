"""One run's events, as they are committed."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

from keepstep.model.run import State
from keepstep.reliability.loop import Loop
from keepstep.service.position import Position
from keepstep.service.ring import LEVELS
from keepstep.service.shapes import LoggedEvent
from keepstep.service.tail import AT_ONCE, Row, Tail
from keepstep.service.views import Views
from keepstep.store import feed as store
from keepstep.store.db import Connection, Database

_LIVE = (State.QUEUED, State.RUNNING, State.WAITING)
_LOOK_AGAIN = 0.5
_TICK = 0.1


async def follow(database: Database, views: Views, run_id: int) -> AsyncIterator[LoggedEvent]:
    """What has happened in a run, and what happens until it ends. Raises ``NotFound`` when there is no such run."""
    reading, tail = store.Reading(database), Tail()
    async with _told(database) as told, contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(reading.aclose)
        live = True
        async with reading.connection() as connection:
            await tail.begin(connection)
            past = await _past(connection, run_id, tail.position)
        while True:
            for row in past:
                yield LoggedEvent(**{name: row[name] for name in LoggedEvent.model_fields})
            if not live:
                return
            live = (await views.run(run_id)).result in _LIVE
            async with reading.connection() as connection:
                past = await _new(connection, run_id, tail)
            if live and not past:
                await _heard(told)


async def _past(connection: Connection, run_id: int, until: Position) -> list[Row]:
    rows: list[Row] = []
    more = True
    while more:
        page = await store.missed(
            connection, seen_high=0, seen_gaps=(), high=until.high, gaps=until.gaps,
            after=rows[-1]["id"] if rows else 0, run=run_id, entity=None, levels=LEVELS, limit=AT_ONCE,
        )  # fmt: skip
        rows += page
        more = len(page) == AT_ONCE
    return rows


async def _new(connection: Connection, run_id: int, tail: Tail) -> list[Row]:
    found: list[Row] = []
    more = True
    while more:
        read = await tail.read(connection)
        found += [row for row, _ in read if row["run_id"] == run_id]
        more = len(read) == AT_ONCE
    return found


@asynccontextmanager
async def _told(database: Database) -> AsyncIterator[asyncio.Event]:
    """Set whenever somebody has announced events."""
    event = asyncio.Event()

    async def listen() -> float:
        async with aclosing(store.told(database)) as told:
            async for _ in told:
                event.set()
        return _LOOK_AGAIN

    listener = asyncio.create_task(Loop("log", listen).run())
    try:
        yield event
    finally:
        listener.cancel()
        await asyncio.gather(listener, return_exceptions=True)


async def _heard(told: asyncio.Event) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_LOOK_AGAIN):
            await told.wait()
            await asyncio.sleep(_TICK)
    told.clear()
