"""``/api/admin/sync/logs/stream``: Server-Sent Events, written as they are encoded in the ring."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import APIRouter, Header, Query, Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from keepstep.model.errors import NotSignedIn, StoreError
from keepstep.model.schedule import Role
from keepstep.service.feed import Browser, Feed
from keepstep.service.ring import LEVELS, Wanted
from keepstep.service.scope import current
from keepstep.web.guard import bearer, session_cookie
from keepstep.web.security import needs

MEDIA_TYPE = "text/event-stream"
_ASK_AGAIN = 60.0
"""Seconds until an open feed's credentials are looked at again."""
_HEADERS = {
    "cache-control": "no-store, no-transform",  # a proxy that compresses would hold lines back
    "x-accel-buffering": "no",
}
_DESCRIPTION = """
Events as they are committed. The `id` of each says which events the reader has had: given back as `Last-Event-ID`,
which browsers do by themselves, it makes the feed go on without losing or repeating one, at whatever process. Without
it the feed starts now. A comment comes every 15 s. The feed ends when the credentials no longer hold, and when the
process goes down.
"""
_EXAMPLE = """id: 1041
event: log
data: {"type":"page","ts":"2026-03-31T08:00:00.000000Z","entity":"owners","page":3,"rows":300,"level":"info",\
"msg":"owners: page 3, 300 of 1,204 rows","runId":17}

"""


def router(feed: Feed) -> APIRouter:
    """The route."""
    routes = APIRouter(tags=["sync"], dependencies=[needs(Role.USER)])

    @routes.get(
        "/api/admin/sync/logs/stream",
        summary="What happens, while it happens",
        description=_DESCRIPTION,
        response_class=Response,
        responses={
            HTTPStatus.OK: {
                "content": {MEDIA_TYPE: {"schema": {"type": "string"}, "example": _EXAMPLE}},
                "description": "Server-Sent Events, without an end.",
            },
        },
    )
    async def logs(
        request: Request,
        entity: Annotated[
            str, Query(pattern=r"^[A-Za-z0-9_]*$", max_length=100, description="Only events of this entity.")
        ] = "",
        level: Annotated[
            Literal["", "debug", "info", "warning", "error"], Query(description="Only events of this level or above.")
        ] = "",
        run: Annotated[
            str, Query(alias="runId", pattern=r"^[0-9]{0,18}$", description="Only events of this run.")
        ] = "",
        last_event_id: Annotated[str | None, Header(description="Go on after this.")] = None,
    ) -> Response:
        wanted = Wanted(entity or None, level or LEVELS[0], int(run) if run else None, current())
        return _FeedResponse(feed, wanted, last_event_id, _holder(request))

    return routes


class _FeedResponse(Response):
    """Writes a browser's chunks; ends with the browser, the feed, or the right to read it."""

    def __init__(
        self, feed: Feed, wanted: Wanted, last_event_id: str | None, may_go_on: Callable[[], Awaitable[bool]]
    ) -> None:
        self.status_code = HTTPStatus.OK
        self.media_type = MEDIA_TYPE
        self.background = None
        self.init_headers(_HEADERS)
        self._feed = feed
        self._wanted = wanted
        self._last_event_id = last_event_id
        self._may_go_on = may_go_on

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer. Raises ``Busy`` before anything is sent."""
        async with self._feed.joined(self._wanted, self._last_event_id) as browser:
            watch = asyncio.create_task(_watch(receive, browser))
            try:
                await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
                # In a task of its own: here every chunk would pass through all the layers around a route, twice.
                await asyncio.create_task(self._write(browser, send))
                await send({"type": "http.response.body", "body": b""})
            finally:
                watch.cancel()
                await asyncio.gather(watch, return_exceptions=True)

    async def _write(self, browser: Browser, send: Send) -> None:
        ask_again = time.monotonic() + _ASK_AGAIN * random.uniform(0.5, 1)  # noqa: S311 - not all in one moment
        async with aclosing(browser.chunks()) as chunks:
            async for chunk in chunks:
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
                if time.monotonic() > ask_again:
                    if not await self._may_go_on():
                        return
                    ask_again = time.monotonic() + _ASK_AGAIN


async def _watch(receive: Receive, browser: Browser) -> None:
    """Until the browser has gone, or sends more than it may."""
    try:
        while (await receive())["type"] != "http.disconnect":
            pass
    finally:
        browser.leave()


def _holder(request: Request) -> Callable[[], Awaitable[bool]]:
    """Asks whether the credentials of a request still hold."""
    token, session = bearer(request.headers), session_cookie(request.headers)

    scope = current()

    async def still_holds() -> bool:
        try:
            who = await request.app.state.accounts.identify(token=token, session=session)
            return who is not None and who.scope == scope
        except NotSignedIn:  # a JWT that has ended
            return False
        except StoreError:  # nobody can say: nothing new can be read either
            return True

    return still_holds
