"""The web application in a process of its own, and the browsers in another: ``web DSN`` and ``browsers URL ...``."""

import asyncio
import json
import re
import selectors
import socket
import sys
import tempfile
import time
from collections import Counter
from contextlib import closing
from typing import Any
from urllib.parse import urlsplit

import uvloop

from keepstep.app import App
from keepstep.config import Settings
from keepstep.web.app import create_app
from keepstep.web.server import Place

TOKEN = "the-token-of-the-bench"  # noqa: S105
PATH = "/api/admin/sync/logs/stream"
_SENT = re.compile(rb'"msg":"sent (\d+\.\d+)"')


async def web(dsn: str) -> None:
    """Serve until the input ends."""
    with tempfile.TemporaryDirectory() as home:
        settings = Settings.load({"DATABASE_URL": dsn, "KEEPSTEP_HOME": home, "ADMIN_SYNC_TOKEN": TOKEN})
        async with App(settings).open() as service:
            app = create_app(service, version="bench")
            with closing(Place("127.0.0.1", 0)) as place:
                async with place.answering(app):
                    print(place.url, flush=True)
                    await asyncio.to_thread(sys.stdin.read)
                    await service.feed.aclose()


def browsers(url: str, number: int) -> dict[str, Any]:
    """Listen with so many browsers until the input ends; how late each event was at each, in milliseconds."""
    where = urlsplit(url)
    request = f"GET {PATH} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {TOKEN}\r\n\r\n".encode()
    selector = selectors.DefaultSelector()
    lags: list[Counter[int]] = []
    waiting = number
    for index in range(number):
        one = socket.create_connection((where.hostname or "", where.port or 0))
        one.sendall(request)
        one.setblocking(False)
        selector.register(one, selectors.EVENT_READ, index)
        lags.append(Counter())
    selector.register(sys.stdin, selectors.EVENT_READ, -1)
    known: dict[bytes, list[float]] = {}
    rests = [b""] * number
    placed = [False] * number
    while True:
        for key, _ in selector.select():
            index = key.data
            if index < 0:
                return _summary(lags)
            data = key.fileobj.recv(1 << 18)  # type: ignore[union-attr]
            if not data:
                raise SystemExit("the web process has closed a connection")
            now = time.time()
            whole = rests[index] + data
            sent = known.get(whole)
            if sent is None:
                sent = known[whole] = [float(found) for found in _SENT.findall(whole)]
                if len(known) > 500:
                    known.clear()
            end = whole.rfind(b"\n\n")
            rests[index] = whole[end + 2 :] if end >= 0 else whole
            mine = lags[index]
            for moment in sent:
                mine[int((now - moment) * 1000)] += 1
            if not placed[index] and b"\nid: " in whole:
                placed[index] = True
                waiting -= 1
                if not waiting:
                    print("ready", flush=True)


def _summary(lags: list[Counter[int]]) -> dict[str, Any]:
    every: Counter[int] = sum(lags, Counter())
    return {
        "heard": every.total(), "least": min(one.total() for one in lags), "most": max(one.total() for one in lags),
        "p50": quantile(every, 0.5), "p99": quantile(every, 0.99), "max": max(every, default=0),
        "slowest_p99": max(quantile(one, 0.99) for one in lags),
    }  # fmt: skip


def quantile(counts: Counter[int], share: float) -> int:
    """The value below or at which this share lies."""
    left = counts.total() * share
    for value in sorted(counts):
        left -= counts[value]
        if left <= 0:
            return value
    return 0


if __name__ == "__main__":
    if sys.argv[1] == "web":
        uvloop.run(web(sys.argv[2]))
    else:
        print(json.dumps(browsers(sys.argv[2], int(sys.argv[3]))), flush=True)
