"""The other side of a Teams webhook, on one's own machine: a workflow and a connector, both as they really answer.

For a test: ``async with TeamsEmulator().serve() as hook``, then ``hook.workflow`` and ``hook.connector`` are addresses.
For people: ``keepstep emulate teams``. What is known of the real ones and what is guessed is in docs/alerts.md.
"""

import asyncio
import contextlib
import json
import secrets
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

MOST_BYTES = 28 * 1024
MOST_KEPT = 10_000
_THROTTLED = (
    "Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error 429 with ContextId "
    "tcid=0,server=EMULATOR."
)
ANSWERS = ("taken", "throttled", "429", "401", "404", "500", "503", "413", "302", "hang", "reset")
"""What may be answered. ``throttled`` is 200 with the 429 in its text, ``429`` and ``503`` may have a Retry-After."""
_WORKFLOW = "/workflows/emulated/triggers/manual/paths/invoke"
_CARD = "application/vnd.microsoft.card.adaptive"


@dataclass(frozen=True, slots=True)
class Posted:
    """A message as it came. ``shown``: whether Teams would show it; ``status``: what was answered, 0 for nothing."""

    at: datetime
    to: str
    size: int
    payload: Any
    status: int
    shown: bool

    @property
    def title(self) -> str:
        """Its first line."""
        if not isinstance(self.payload, dict):
            return ""
        if "attachments" in self.payload:
            return str(self.payload["attachments"][0]["content"]["body"][0]["text"])
        return str(self.payload.get("title") or self.payload.get("text") or "")


@dataclass(slots=True)
class Switch:
    """What is answered now: ``times`` more messages (None: all), with ``retry_after`` seconds where that fits."""

    answer: str = "taken"
    times: int | None = None
    retry_after: str = ""


@dataclass(slots=True)
class TeamsEmulator:
    """Takes messages and answers as it is told. ``signature`` is what the workflow's address must have."""

    signature: str = field(default_factory=lambda: f"emulated-{secrets.token_urlsafe(24)}", repr=False)
    switch: Switch = field(default_factory=Switch)
    posted: deque[Posted] = field(default_factory=lambda: deque(maxlen=MOST_KEPT))
    base_url: str = ""
    _news: asyncio.Event = field(default_factory=asyncio.Event)
    _released: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def workflow(self) -> str:
        """The address of a workflow."""
        return f"{self.base_url}{_WORKFLOW}?api-version=2016-06-01&sp=%2Ftriggers%2Fmanual%2Frun&sig={self.signature}"

    @property
    def connector(self) -> str:
        """The address of a legacy connector."""
        return f"{self.base_url}/webhookb2/{self.signature}/IncomingWebhook/emulated"

    @property
    def shown(self) -> list[Posted]:
        """The messages that people would see."""
        return [message for message in self.posted if message.shown]

    def answer(self, kind: str = "taken", *, times: int | None = None, retry_after: str = "") -> None:
        """Answer so from now on, or so often. Raises ``ValueError`` for what is no answer."""
        if kind not in ANSWERS:
            raise ValueError(f"an answer is one of {', '.join(ANSWERS)}")
        self.switch = Switch(kind, times, retry_after)
        self._released.set()
        self._released = asyncio.Event()

    async def wait_for(self, enough: Callable[["TeamsEmulator"], bool], *, patience: float = 30.0) -> None:
        """Until a condition is met, looked at after every message. Raises ``TimeoutError``."""
        async with asyncio.timeout(patience):
            while not enough(self):
                self._news.clear()
                await self._news.wait()

    @contextlib.asynccontextmanager
    async def serve(self, port: int = 0, host: str = "127.0.0.1") -> AsyncIterator["TeamsEmulator"]:
        """Listen while the block lasts. Raises ``OSError`` where the port is taken."""
        runner = web.ServerRunner(
            web.Server(self._handle, handler_cancellation=True, access_log=None), shutdown_timeout=1
        )
        await runner.setup()
        try:
            await web.TCPSite(runner, host, port).start()
            bound = runner.addresses[0]
            self.base_url = f"http://{f'[{host}]' if ':' in host else host}:{bound[1]}"
            yield self
        finally:
            self._released.set()
            await runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path.startswith("/_emulator"):
            return await self._control(request)
        to = "connector" if request.path.startswith("/webhookb2/") else "workflow"
        body = await request.read()
        payload, is_json = _decoded(body)
        now = self._next()
        response = self._answered(request, to, body, is_json, now)
        if now.answer == "hang":
            await self._released.wait()
        status = 0 if now.answer in ("hang", "reset") else response.status
        taken = status == 202 or (status == 200 and now.answer != "throttled")
        shown = taken and _is_shown(to, payload)
        self.posted.append(Posted(datetime.now(UTC), to, len(body), payload, status, shown))
        self._news.set()
        if status == 0 and request.transport is not None:
            request.transport.abort()
        return response

    def _next(self) -> Switch:
        now = self.switch
        if now.times is not None:
            self.switch = Switch(now.answer, now.times - 1, now.retry_after) if now.times > 1 else Switch()
        return now

    def _answered(
        self, request: web.BaseRequest, to: str, body: bytes, is_json: bool, now: Switch
    ) -> web.StreamResponse:
        headers = {"retry-after": now.retry_after} if now.retry_after else {}
        if now.answer == "throttled":
            return web.Response(status=200, text=_THROTTLED)
        if now.answer not in ("taken", "hang", "reset"):
            return web.Response(status=int(now.answer), text="emulated", headers={**headers, "location": "/elsewhere"})
        if len(body) > MOST_BYTES:
            return web.Response(status=413, text="Request entity too large")
        if not is_json:
            return web.Response(status=400, text="Invalid JSON")
        known = request.query.get("sig") if to == "workflow" else request.path.split("/")[2]
        if known != self.signature:
            return web.Response(status=401, text="The signature does not fit.")
        return web.Response(status=202) if to == "workflow" else web.Response(status=200, text="1")

    async def _control(self, request: web.BaseRequest) -> web.Response:
        """``GET messages`` gives what came, ``POST answers`` takes ``kind``, ``times`` and ``retryAfter``."""
        if request.path == "/_emulator/messages" and request.method == "GET":
            told = [{**asdict(m), "at": m.at.isoformat(), "title": m.title} for m in self.posted]
            return web.json_response({"messages": told, "shown": len(self.shown)})
        if request.path == "/_emulator/answers" and request.method == "POST":
            asked, _ = _decoded(await request.read())
            try:
                self.answer(asked["kind"], times=asked.get("times"), retry_after=str(asked.get("retryAfter", "")))
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                return web.json_response({"error": str(error)}, status=422)
            return web.json_response({"answer": self.switch.answer, "times": self.switch.times})
        return web.json_response({"error": "GET /_emulator/messages or POST /_emulator/answers"}, status=404)


def _decoded(body: bytes) -> tuple[Any, bool]:
    try:
        return json.loads(body), True
    except ValueError:
        return None, False


def _is_shown(to: str, payload: Any) -> bool:
    """A workflow takes anything and then fails on what is no card."""
    if not isinstance(payload, dict):
        return False
    attachments = payload.get("attachments") or [{}]
    if payload.get("type") == "message" and attachments[0].get("contentType") == _CARD:
        return bool(attachments[0].get("content", {}).get("type") == "AdaptiveCard")
    is_card = payload.get("@type") == "MessageCard" and bool(payload.get("summary") or payload.get("text"))
    return is_card or (to == "connector" and bool(payload.get("text")))
