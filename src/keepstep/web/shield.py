"""What may come in, and what a fault of ours looks like from outside."""

import logging

from fastapi.responses import Response
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keepstep.service.problems import UNFORESEEN, ProblemDocument
from keepstep.web.problems import answer

MOST_BODY = 1 << 20
"""Bytes that a request may bring."""

_log = logging.getLogger("keepstep.web")


class Shield:
    """ASGI middleware: refuses bodies that are too large, and turns an unforeseen error into a plain 500."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand on what is small enough."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if _announced(Headers(scope=scope)) > MOST_BODY:
            await _too_large()(scope, receive, send)
            return
        body = _Counted(receive)
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, body, watched)
        except Exception:
            _log.exception("%s %s failed", scope["method"], scope["path"])
            if not started:
                await answer(UNFORESEEN)(scope, receive, send)


class _Counted:
    """The body as it arrives; one that does not say its length is stopped when it has grown too large."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._bytes = 0

    async def __call__(self) -> Message:
        message = await self._receive()
        self._bytes += len(message.get("body", b""))
        if self._bytes > MOST_BODY:
            raise HTTPException(413, _TOO_LARGE)
        return message


_TOO_LARGE = f"The body of the request is larger than {MOST_BODY >> 20} MB."


def _announced(headers: Headers) -> int:
    length = headers.get("content-length", "")
    return int(length) if length.isascii() and length.isdigit() and len(length) < 19 else 0


def _too_large() -> Response:
    document = ProblemDocument(
        title="Content Too Large", status=413, detail=_TOO_LARGE, code="content-too-large",
    )  # fmt: skip
    return answer(document, {"connection": "close"})
