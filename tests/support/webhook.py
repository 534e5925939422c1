"""The other side of a Teams webhook, on loopback."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web


class Webhook:
    """Keeps what was posted and answers as it is told."""

    def __init__(self) -> None:
        self.posted: list[dict[str, Any]] = []
        self.status, self.body = 202, ""
        self.headers = {"location": "/elsewhere"}
        self.host = ""

    async def answer(self, request: web.BaseRequest) -> web.Response:
        """Any request."""
        self.posted.append(json.loads(await request.text()))
        return web.Response(status=self.status, text=self.body, headers=self.headers)


@asynccontextmanager
async def webhook() -> AsyncIterator[Webhook]:
    """One that listens."""
    hook = Webhook()
    runner = web.ServerRunner(web.Server(hook.answer))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    hook.host = f"http://127.0.0.1:{runner.addresses[0][1]}"
    try:
        yield hook
    finally:
        await runner.cleanup()
