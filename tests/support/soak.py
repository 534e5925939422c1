"""Many processes, one database, and everything that can go wrong, for as long as one likes.

Two ``keepstep up`` and three ``keepstep worker`` share a database. Every schedule comes due at once, again and again;
people start and stop runs meanwhile, upstream changes. At random moments a process is killed (-9), frozen for longer
than its lease, or told to end, and another takes its place; in the middle PostgreSQL itself is killed. Then, in peace:
every run must have ended, once, none may have overlapped with another of its connection, and the tables must equal
upstream.
"""

import asyncio
import contextlib
import os
import random
import signal
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from psycopg.types.json import set_json_loads

from keepstep.dispatch.queue import Queue
from keepstep.integrations.doorloop.entities import ENTITIES
from keepstep.model.errors import LockHeld, StoreError
from keepstep.model.integration import Mode
from keepstep.model.run import RunRequest
from keepstep.store.db import Database
from tests.support.server import TestServer
from tests.support.soak_keepstep import CONNECTIONS, names
from tests.support.truth import differences, exact_json
from tests.support.upstream import Upstream, serving

ROOT = Path(__file__).parents[2]
SIZES = {"owners": 40, "properties": 60, "units": 150, "leases": 250, "tenants": 200}
LATENCY_MS = 80
"""So that a run takes some seconds and can be hit."""
UPS, WORKERS = 2, 3
_PATIENCE = 180.0
_LIVE = "state IN ('queued', 'running', 'waiting')"


@dataclass
class Options:
    """How long, how wild, and with which dice."""

    seconds: float = 180.0
    connections: int = 3
    seed: int = 1
    every: float = 4.0
    restart_server: bool = True


@dataclass
class Tally:
    """What was done, and what is wrong at the end."""

    counts: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


class Process:
    """One ``keepstep`` process, started again when it ends."""

    def __init__(self, command: str, environment: dict[str, str], log: Path) -> None:
        self.command = command
        self._environment = environment
        self._log = log
        self.process: asyncio.subprocess.Process | None = None
        self.frozen_until = 0.0

    async def start(self) -> None:
        """A new one."""
        with self._log.open("ab") as log:
            self.process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.support.soak_keepstep", self.command, "--concurrency", "2", "--json",
                stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.DEVNULL, stderr=log, cwd=ROOT,
                env=self._environment, start_new_session=True,
            )  # fmt: skip

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(number)

    async def end(self, number: signal.Signals) -> int:
        """Send it a signal and wait for its end; gives its exit code."""
        assert self.process is not None
        self.send(signal.SIGCONT)
        self.send(number)
        async with asyncio.timeout(_PATIENCE):
            return await self.process.wait()


class Soak:
    """One soak, from the first process to the verdict."""

    def __init__(self, options: Options, server: TestServer, dsn: str, upstream: Upstream, place: Path) -> None:
        self._options = options
        self._server = server
        self._database = Database(dsn)
        self._queue = Queue(self._database)
        self._upstream = upstream
        self._dice = random.Random(options.seed)
        self._keys = names(options.connections)
        self._killed_server_at = float("-inf")
        self.tally = Tally()
        self._processes = [
            Process(command, self._environment(place / f"{command}{number}", dsn), place / f"{command}{number}.log")
            for command, count in (("up", UPS), ("worker", WORKERS)) for number in range(count)
        ]  # fmt: skip

    def _environment(self, home: Path, dsn: str) -> dict[str, str]:
        home.mkdir()
        return {
            "PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8", "KEEPSTEP_HOME": str(home),
            "KEEPSTEP_PORT": "0", "DATABASE_URL": dsn, "DOORLOOP_BASE_URL": self._upstream.url,
            "DOORLOOP_API_KEY": self._upstream.options.api_key, "DOORLOOP_RATE_LIMIT_RPS": "400",
            "DOORLOOP_MAX_CONCURRENCY": "2", "DOORLOOP_PAGE_SIZE": "10", "ADMIN_SYNC_TOKEN": "soak",
            "KEEPSTEP_DROP_GUARD_PERCENT": "100", "AUTO_SYNC_ENABLED": "true",
            CONNECTIONS: str(self._options.connections),
        }  # fmt: skip

    async def run(self) -> Tally:
        """Everything."""
        try:
            await asyncio.gather(*(process.start() for process in self._processes))
            await self._ready()
            await self._trouble()
            await self._peace()
            await self._final_runs()
            for process in self._processes:
                code = await process.end(signal.SIGTERM)
                self._expect(code == 143, f"{process.command} ended with {code} when it was told to end")
            await self._judge()
        finally:
            for process in self._processes:
                if process.process is not None and process.process.returncode is None:
                    await process.end(signal.SIGKILL)
        return self.tally

    async def _ready(self) -> None:
        """Every process works, every connection has a schedule."""
        await self._until(lambda: self._value("SELECT count(*) = 5 FROM keepstep_queue.procrastinate_workers"))
        for key in self._keys:
            await self._sql("INSERT INTO keepstep.connections (integration) VALUES (%s) ON CONFLICT DO NOTHING", key)
        await self._sql(
            "INSERT INTO keepstep.schedules (connection_id, enabled, interval_seconds, entities)"
            " SELECT id, true, 600, %s FROM keepstep.connections ON CONFLICT (connection_id, name) DO NOTHING",
            [entity.name for entity in ENTITIES],
        )

    async def _trouble(self) -> None:
        """Until the time is over."""
        began = time.monotonic()
        halfway = self._options.restart_server
        while (passed := time.monotonic() - began) < self._options.seconds:
            if halfway and passed > self._options.seconds / 2:
                halfway = False
                self._killed_server_at = time.monotonic()
                self._server.kill()
                self._count("PostgreSQL killed")
                await asyncio.to_thread(self._server.await_answer)
            act = self._dice.choice(
                [self._due, self._due, self._due, self._change, self._person, self._harm, self._harm]
            )
            with contextlib.suppress(StoreError):  # the database is away
                await act()
            await self._wake_and_restart()
            await asyncio.sleep(self._options.every * self._dice.random() / 3)

    async def _due(self) -> None:
        """Every schedule is due, some with a full run."""
        full = self._dice.random() < 0.3
        await self._sql(
            "UPDATE keepstep.schedule_times SET due_at = now(), delta_at = now(),"
            f" full_at = {'now()' if full else 'full_at'}"
        )
        await self._sql("SELECT pg_notify('keepstep_schedules', '')")
        self._count("schedules due", self._options.connections)

    async def _change(self) -> None:
        for entity in ENTITIES:
            self._upstream.change(entity.name, create=2, update=10, delete=1)
        self._count("changes upstream", 5 * 13)

    async def _person(self) -> None:
        """Somebody starts or stops a run."""
        key = self._dice.choice(self._keys)
        if self._dice.random() < 0.3:
            self._count("stops", int(await self._queue.cancel(key) is not None))
            return
        mode = self._dice.choice(list(Mode))
        request = RunRequest(tuple(entity.name for entity in ENTITIES), mode, actor="soak")
        answers = await asyncio.gather(
            *(self._queue.enqueue_one(key, request) for _ in range(5)), return_exceptions=True
        )
        started = sum(isinstance(answer, int) for answer in answers)
        self._expect(started <= 1, f"{started} of five runs of {key} were started at once")
        self._expect(all(isinstance(a, int | LockHeld | StoreError) for a in answers), f"odd answers: {answers}")
        self._count("runs by hand", started)

    async def _harm(self) -> None:
        """Kill, freeze or end a process (-15: it had hardly begun)."""
        thawed = [process for process in self._processes if not process.frozen_until]
        process = self._dice.choice(thawed)
        kind = self._dice.choice(["kill", "kill", "freeze", "term"] if len(thawed) > 3 else ["kill", "term"])
        if kind == "freeze":
            process.send(signal.SIGSTOP)
            process.frozen_until = time.monotonic() + self._dice.uniform(5, 80)
            self._count("processes frozen")
            return
        code = await process.end(signal.SIGKILL if kind == "kill" else signal.SIGTERM)
        self._expect(code in (-9, -15, 143) or self._had_no_database(code), f"{process.command} ended with {code}")
        self._count("processes killed" if kind == "kill" else "processes told to end")
        await process.start()

    async def _wake_and_restart(self, *, all_of_them: bool = False) -> None:
        for process in self._processes:
            if process.frozen_until and (all_of_them or time.monotonic() > process.frozen_until):
                process.send(signal.SIGCONT)
                process.frozen_until = 0.0
            if process.process is not None and process.process.returncode is not None:
                code = process.process.returncode
                self._expect(self._had_no_database(code), f"{process.command} ended by itself with {code}")
                await process.start()

    def _had_no_database(self, code: int) -> bool:
        """A process that begins while the database is away ends with 1, to be started again."""
        found = code == 1 and time.monotonic() < self._killed_server_at + 30
        self._count("processes that found no database", int(found))
        return found

    async def _peace(self) -> None:
        """Nothing happens any more: every run must come to its end."""
        await self._sql("UPDATE keepstep.schedules SET enabled = false")
        await self._wake_and_restart(all_of_them=True)
        began = time.monotonic()
        await self._until(lambda: self._value(f"SELECT count(*) = 0 FROM keepstep.runs WHERE {_LIVE}"))
        self._count("seconds until the last run had ended", round(time.monotonic() - began))

    async def _final_runs(self) -> None:
        """Two whole readings: the first one ends what was unfinished, and may have read part of it before a change."""
        request = RunRequest(tuple(entity.name for entity in ENTITIES), Mode.BACKFILL)
        for key in (*self._keys, *self._keys):
            run = await self._queue.enqueue_one(key, request)
            await self._until(lambda: self._value("SELECT state = 'succeeded' FROM keepstep.runs WHERE id = %s", run))  # noqa: B023
        resumed = await self._value("SELECT count(*) FROM keepstep.run_entities WHERE run_id = %s AND resumed", run)
        self._expect(resumed == 0, "the last reading was not a whole one")

    async def _judge(self) -> None:
        """Every run once, none at the same time as another of its connection, nothing left over, tables as upstream."""
        for row in await self._sql("SELECT state, count(*) AS n FROM keepstep.runs GROUP BY state ORDER BY state"):
            self._count(f"runs {row['state']}", row["n"])
        self._count("runs", await self._value("SELECT count(*) FROM keepstep.runs"))
        self._count("runs that lost a worker", await self._value("SELECT sum(crashes)::int FROM keepstep.runs"))
        given_back = "SELECT count(*) FROM keepstep.events WHERE type = 'run-given-back'"
        self._count("runs given back", await self._value(given_back))
        self._count("pages", await self._value("SELECT count(*) FROM keepstep.events WHERE type = 'page'"))
        for what, query in _MUST_BE_NONE.items():
            found = await self._value(query)
            self._expect(found == 0, f"{found} {what}")
        for key in self._keys:
            for entity in ENTITIES:
                rows = {row["id"]: row for row in await self._sql(f"SELECT * FROM {key}.{entity.name}")}
                found = differences(entity, await self._upstream.truth(entity.name), rows)
                self._expect(not found, f"{key}: {found[:3]}")
                self._count("rows compared", len(rows))

    def _count(self, what: str, by: int = 1) -> None:
        self.tally.counts[what] += by

    def _expect(self, so: bool, otherwise: str) -> None:
        if not so:
            self.tally.wrong.append(otherwise)

    async def _until(self, condition: Any) -> None:
        async with asyncio.timeout(_PATIENCE):
            while True:
                with contextlib.suppress(StoreError):
                    if await condition():
                        return
                await asyncio.sleep(0.1)

    async def _sql(self, statement: str, *parameters: Any) -> list[dict[str, Any]]:
        async with self._database.connection() as connection:
            set_json_loads(exact_json, connection)
            cursor = await connection.execute(statement.encode(), parameters or None)
            return await cursor.fetchall() if cursor.description else []

    async def _value(self, statement: str, *parameters: Any) -> Any:
        [row] = await self._sql(statement, *parameters)
        return next(iter(row.values()))


_ENDS = "('run-finished', 'run-failed', 'run-stopped')"
_MUST_BE_NONE = {
    "runs overlap with another of their connection": (
        "SELECT count(*) FROM keepstep.runs a JOIN keepstep.runs b USING (connection_id)"
        " WHERE a.id < b.id AND a.finished_at > b.started_at"
    ),
    "runs ended more or less than once": (
        "SELECT count(*) FROM (SELECT r.id FROM keepstep.runs r"
        f" LEFT JOIN keepstep.events e ON e.run_id = r.id AND e.type IN {_ENDS}"
        " GROUP BY r.id HAVING count(e.id) <> 1) odd"
    ),
    "runs were started more than once": (
        "SELECT count(*) FROM (SELECT run_id FROM keepstep.events WHERE type = 'run-started' GROUP BY run_id"
        " HAVING count(*) > 1) odd"
    ),
    "pages were committed after the end of their run": (
        "SELECT count(*) FROM keepstep.events p JOIN keepstep.events e USING (run_id)"
        f" WHERE p.type = 'page' AND e.type IN {_ENDS} AND p.id > e.id"
    ),
    "runs failed": "SELECT count(*) FROM keepstep.runs WHERE state = 'failed'",
    "runs are live": f"SELECT count(*) FROM keepstep.runs WHERE {_LIVE}",
    "locks are held": "SELECT count(*) FROM keepstep.locks",
    "queue rows are left": "SELECT count(*) FROM keepstep_queue.procrastinate_jobs",
    "entities do not add up": (
        "SELECT count(*) FROM keepstep.run_entities WHERE rows <> inserted + updated + unchanged + dead_lettered"
    ),
}  # fmt: skip


@contextlib.asynccontextmanager
async def staged(options: Options, place: Path, server: TestServer) -> AsyncIterator[Soak]:
    """A soak on a database of its own."""
    with server.database() as dsn:
        async with serving(**SIZES, seed=options.seed, latency_ms=LATENCY_MS) as upstream:
            yield Soak(options, server, dsn, upstream, place)


async def soak(options: Options, place: Path, server: TestServer) -> Tally:
    """One soak."""
    async with staged(options, place, server) as made:
        return await made.run()
