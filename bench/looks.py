"""What looking costs where there are a hundred thousand owners: pages, answers of the API, and what loops ask."""

import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import psycopg
from tests.support.site import ADMIN_TOKEN, NO_TLS
from tests.system.command import Keepstep, keepstep

from bench.results import Result, spread
from bench.stage import Server
from keepstep.dispatch.queue import Queue
from keepstep.store import alerts, queue
from keepstep.store.db import Database
from keepstep.store.queries import queries

OWNERS, MATRIX = "/api/admin/owners", "/systems/integrations/users"
MOST_MS = 250.0
"""What a page or an answer may take at most, p99."""


@contextmanager
def served(place: Server, database: str) -> Iterator[tuple[Keepstep, httpx.Client]]:
    """``keepstep web`` on the database, in a process of its own."""
    with (
        keepstep(ADMIN_SYNC_TOKEN=ADMIN_TOKEN, DATABASE_URL=place.dsn(database)) as command,
        command.start("web", "--json") as web,
    ):
        url = str(json.loads(web.until('"healthz"'))["url"])
        headers = {"authorization": f"Bearer {ADMIN_TOKEN}"}
        with httpx.Client(base_url=url, headers=headers, verify=NO_TLS, timeout=120) as client:
            yield command, client
        web.send(signal.SIGTERM)


def pages(client: httpx.Client, rounds: int) -> Iterator[Result]:
    """Each page and answer that lists owners, asked again and again."""
    far = _far_behind(client)
    paths = {
        "a page of the matrix: first": (MATRIX, {}),
        "… far behind": (MATRIX, {"after": str(far)}),
        "… mail, far behind": (MATRIX, {"after": str(far), "integration": "mail"}),
        "… of one integration": (MATRIX, {"integration": "mail"}),
        "… searched, one found": (MATRIX, {"search": "user 77123 of"}),
        "… searched, many found": (MATRIX, {"search": "team 13"}),
        "… searched, none found": (MATRIX, {"search": "nobody at all"}),
        "… failing": (MATRIX, {"failing": "true"}),
        "… to reconnect": (MATRIX, {"state": "needs-reconnect"}),
        "… paused (none is)": (MATRIX, {"state": "paused"}),
        "owners by the API, 500 of them": (OWNERS, {"limit": "500"}),
        "owners by the API, far behind": (OWNERS, {"limit": "500", "after": str(far)}),
        "runs, newest first": ("/api/admin/sync/runs", {}),
        "… of one entity": ("/api/admin/sync/runs", {"entity": "contacts"}),
        "… failed ones (there are none)": ("/api/admin/sync/runs", {"result": "failed"}),
        "dead letters": ("/api/admin/sync/dlq", {}),
        "errors": ("/api/admin/sync/errors", {}),
        "status": ("/api/admin/sync/status", {}),
        "integrations": ("/api/admin/integrations", {}),
        "the control center": ("/systems/integrations", {}),
        "users": ("/api/admin/users", {}),
        "the page of users": ("/admin/users", {}),
        "what people did": ("/systems/integrations/audit", {}),
        "alerts": ("/api/admin/alerts", {}),
        "metrics": ("/metrics", {}),
        "readiness": ("/readyz", {}),
    }
    for what, (path, query) in paths.items():
        yield from timed(what, lambda path=path, query=query: _asked(client, path, query), rounds)  # type: ignore[misc]


def timed(what: str, ask: Callable[[], object], rounds: int, most: float | None = MOST_MS) -> Iterator[Result]:
    """p50 and p99 of so many times, after one that does not count."""
    ask()
    times = []
    for _ in range(rounds):
        began = time.perf_counter()
        ask()
        times.append((time.perf_counter() - began) * 1000)
        if sum(times) > 8000:  # a slow one is known by then
            break
    yield spread(what, times, "ms", most)


def _asked(client: httpx.Client, path: str, query: dict[str, str]) -> None:
    answer = client.get(path, params=query)
    assert answer.status_code in (200, 503), (path, answer.status_code, answer.text[:300])


def _far_behind(client: httpx.Client) -> int:
    """The place before the last fifty."""
    after, items = None, [{"id": 0}]
    while True:
        given = {"limit": "500", **({} if after is None else {"after": str(after)})}
        page = client.get(OWNERS, params=given).json()
        items = page["items"] or items
        if page["next"] is None:
            return int(items[max(len(items) - 60, 0)]["id"])
        after = page["next"]


async def loops(database: Database, rounds: int) -> list[Result]:
    """What every process asks again and again: the alerter's facts, the sweep, the numbers of the queue."""
    results = []

    async def measured(what: str, ask: Callable[[], Any]) -> None:
        times = []
        for number in range(rounds + 1):
            began = time.perf_counter()
            await ask()
            if number:
                times.append((time.perf_counter() - began) * 1000)
        results.append(spread(what, times, "ms"))

    async with database.pooled(), database.connection() as connection:
        await measured("facts of the alerter, every 10 s", lambda: alerts.facts(connection, patience=3600.0))
        await measured("pings of the alerter, every 10 s", lambda: alerts.pings(connection))
        await measured("a sweep, every 5 s", Queue(database).sweep)
        await measured("numbers of the queue", lambda: queue.stats(connection, stale=30.0))
    return results


def doctor(command: Keepstep, rounds: int) -> Iterator[Result]:
    """``keepstep doctor`` and ``keepstep status``, the start of the process included."""
    for name in ("doctor", "status", "checkpoint list"):
        yield from timed(f"keepstep {name}", lambda name=name: command(*name.split(), "--json"), rounds, None)  # type: ignore[misc]


def worst_plan(dsn: str) -> str:
    """How PostgreSQL answers the slowest of the questions behind the matrix."""
    nothing = dict.fromkeys(("integration", "owner", "state", "search", "among", "after"))
    nothing |= {"failing": False, "limit": 51, "most": 2000}
    asked = [{"search": "of"}, {"search": "team 13"}, {"failing": True}, {"state": "paused"}, {}]
    sought = [{"search": "user 77123 of"}, {"search": "team 13"}, {"search": "nobody at all"}, {"search": "example"}]
    found: list[tuple[float, str]] = []
    with psycopg.connect(dsn, autocommit=True) as connection:
        for name, chosen in [*(("list", one) for one in asked), *(("sought", one) for one in sought), ("counts", {})]:
            statement = b"EXPLAIN (ANALYZE, COSTS OFF, SUMMARY) " + queries("owners")[name]
            connection.execute(statement, nothing | chosen)
            rows = [str(row[0]) for row in connection.execute(statement, nothing | chosen).fetchall()]
            took = float(rows[-1].partition("Execution Time:")[2].split()[0])
            found.append((took, "\n".join([f"{name} {chosen or ''}", *rows])))
    return max(found)[1]
