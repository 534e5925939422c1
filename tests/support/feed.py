"""Events that are written, and browsers that hear of them."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager, closing
from typing import Any

import httpx
from fastapi import FastAPI
from fastapi.responses import JSONResponse
from psycopg.types.json import Jsonb

from keepstep.model.errors import KeepstepError
from keepstep.service.accounts import Accounts
from keepstep.service.audit import Audit
from keepstep.service.feed import Feed, Pace
from keepstep.service.problems import problem
from keepstep.store.db import Connection, Database
from keepstep.web import feed as web
from keepstep.web.security import secure
from keepstep.web.server import Place

DEADLINE = 30.0
PATH = "/api/admin/sync/logs/stream"
TOKEN = "the-token-of-this-test"
QUICK = Pace(tick=0.005, soon=0.05, poll=0.1, heartbeat=0.1)

_NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # a client's own reads all certificates, each time


async def until(condition: Callable[[], object]) -> None:
    """Wait until something is so; fail when it never is."""
    async with asyncio.timeout(DEADLINE):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


async def new_run(connection: Connection) -> int:
    """A run that has ended, to put events to."""
    cursor = await connection.execute(
        """WITH c AS (INSERT INTO keepstep.connections (integration) VALUES ('doorloop')
                      ON CONFLICT (integration, coalesce(owner_id, '')) DO UPDATE SET integration = excluded.integration
                      RETURNING id)
           INSERT INTO keepstep.runs (connection_id, mode, dry_run, trigger, state, started_at, finished_at)
           SELECT id, 'delta', false, 'manual', 'succeeded', now(), now() FROM c RETURNING id"""
    )
    row = await cursor.fetchone()
    assert row is not None
    return int(row["id"])


async def put(
    connection: Connection, run: int, msg: str, *, level: str = "info", entity: str | None = None, notify: bool = True,
    **data: Any,
) -> int:  # fmt: skip
    """Write an event as part of whatever transaction is open; gives its id."""
    cursor = await connection.execute(
        """INSERT INTO keepstep.events (connection_id, run_id, type, level, entity, msg, data)
           SELECT connection_id, id, 'page', %s, %s, %s, %s FROM keepstep.runs WHERE id = %s RETURNING id""",
        [level, entity, msg, Jsonb(data), run],
    )
    row = await cursor.fetchone()
    if notify:
        await connection.execute("SELECT pg_notify('keepstep', %s::text)", [run])
    assert row is not None
    return int(row["id"])


class Writer:
    """Somebody with transactions of their own."""

    def __init__(self, connection: Connection, run: int) -> None:
        self._connection = connection
        self.run = run

    async def begin(self, msg: str, **options: Any) -> int:
        """Write an event and leave the transaction open."""
        await self._connection.execute("BEGIN")
        return await put(self._connection, self.run, msg, **options)

    async def commit(self) -> None:
        """End the transaction."""
        await self._connection.execute("COMMIT")

    async def roll_back(self) -> None:
        """Undo the transaction."""
        await self._connection.execute("ROLLBACK")

    async def say(self, *msgs: str, **options: Any) -> list[int]:
        """An event in a transaction of its own, for each."""
        return [await put(self._connection, self.run, msg, **options) for msg in msgs]


@asynccontextmanager
async def writers(database: Database, number: int) -> AsyncIterator[list[Writer]]:
    """Several writers, each with a run."""
    async with AsyncExitStack() as stack:
        found = []
        for _ in range(number):
            connection = await stack.enter_async_context(database.connection())
            found.append(Writer(connection, await new_run(connection)))
        yield found


class Listener:
    """A browser's EventSource. ``last_event_id`` is what it would come back with."""

    def __init__(self, last_event_id: str | None = None) -> None:
        self.last_event_id = last_event_id
        self.events: list[dict[str, Any]] = []
        self.comments: list[str] = []
        self.ended = False
        self.status = 0
        self.headers: httpx.Headers = httpx.Headers()
        self.body = ""

    @property
    def heard(self) -> list[str]:
        """The messages in the order in which they came."""
        return [event["msg"] for event in self.events]

    async def until(self, *msgs: str) -> None:
        """Wait until these were heard, whatever else was."""
        async with asyncio.timeout(DEADLINE):
            while not set(msgs) <= set(self.heard):
                assert not self.ended, (self.status, self.body, self.heard)
                await asyncio.sleep(0.005)

    async def until_placed(self) -> None:
        """Wait until it knows where in the feed it is."""
        await until(lambda: self.last_event_id or self.ended)
        assert not self.ended, (self.status, self.body)

    @asynccontextmanager
    async def at(self, url: str, token: str = TOKEN, **query: Any) -> AsyncIterator["Listener"]:
        """Listen while the block lasts, going on after ``last_event_id``."""
        listening = asyncio.create_task(self._listen(url, token, query))
        self.ended = False
        try:
            yield self
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    async def _listen(self, url: str, token: str, query: dict[str, Any]) -> None:
        headers = {"authorization": f"Bearer {token}"}
        if self.last_event_id is not None:
            headers["last-event-id"] = self.last_event_id
        try:
            async with (
                httpx.AsyncClient(timeout=None, verify=_NO_TLS, trust_env=False) as client,  # noqa: S113
                client.stream("GET", url + PATH, headers=headers, params=query) as answer,
            ):
                self.status, self.headers = answer.status_code, answer.headers
                if answer.status_code != 200:
                    self.body = (await answer.aread()).decode()
                    return
                await self._take_in(answer.aiter_lines())
        except httpx.HTTPError:
            pass
        finally:
            self.ended = True

    async def _take_in(self, lines: AsyncIterator[str]) -> None:
        """As https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation says."""
        event: dict[str, str] = {}
        async for line in lines:
            if line.startswith(":"):
                self.comments.append(line[1:].strip())
            elif line:
                name, _, value = line.partition(":")
                event[name] = value.removeprefix(" ")
            else:
                self.last_event_id = event.get("id", self.last_event_id)
                if "data" in event:
                    assert event["event"] == "log"
                    self.events.append(json.loads(event["data"]))
                event = {}


@asynccontextmanager
async def serving(dsn: str, *, pace: Pace = QUICK, **options: Any) -> AsyncIterator[tuple[str, Feed]]:
    """A web process's worth of feed: its address, and itself. Two of them share nothing but the database."""
    database = Database(dsn)
    app = FastAPI(docs_url=None, redoc_url=None)

    @app.exception_handler(KeepstepError)
    async def refuse(_request: Any, error: KeepstepError) -> JSONResponse:
        document = problem(error)
        return JSONResponse(
            document.model_dump(mode="json"), status_code=document.status, media_type=document.media_type
        )

    async with database.pooled():
        feed = Feed(database, pace=pace, **options)
        app.include_router(web.router(feed))
        secure(app, Accounts(database, Audit(database), admin_token=lambda: TOKEN))
        with closing(Place("127.0.0.1", 0)) as site:
            async with site.answering(app):
                try:
                    yield site.url, feed
                finally:
                    await feed.aclose()
