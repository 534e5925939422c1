"""Worker processes, and what a test asks about the queue."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from keepstep.dispatch.queue import Queue, Timing
from keepstep.model.integration import Mode
from keepstep.model.run import RunRequest
from keepstep.service.shapes import RunSummary
from tests.support.sync import ALL, Sync

DEADLINE = 90.0
QUICK = {"heartbeat": 0.3, "stale": 1.5, "dead": 6.0, "poll": 0.5}
_ROOT = Path(__file__).parents[2]
LIVE = ("queued", "running", "waiting")


async def until(condition: Callable[[], Awaitable[object]], seconds: float = DEADLINE) -> None:
    """Wait until something is so; fail when it never is."""
    async with asyncio.timeout(seconds):
        while not await condition():  # noqa: ASYNC110 - what it waits for is in the database
            await asyncio.sleep(0.02)


class WorkerProcess:
    """One worker in a process of its own. ``events`` are ``(run, type)``."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.pid = process.pid
        self.events: list[tuple[str, str]] = []
        self.end: str | None = None
        self._told = asyncio.Event()
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            kind, _, rest = line.decode().strip().partition(" ")
            if kind == "event":
                run, _, type_ = rest.partition(" ")
                self.events.append((run, type_))
            elif kind == "end":
                self.end = rest
            else:
                self.events.append(("", kind))
            self._told.set()

    async def until(self, type_: str, count: int = 1) -> None:
        """Wait until it has said something so many times."""
        async with asyncio.timeout(DEADLINE):
            while self.count(type_) < count:
                assert self._process.returncode is None, f"the worker ended: {self.end}"
                self._told.clear()
                await self._told.wait()

    def count(self, type_: str) -> int:
        """How often it has said something."""
        return sum(told == type_ for _, told in self.events)

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    async def kill(self) -> None:
        """kill -9."""
        await self.terminate(signal.SIGKILL)

    async def terminate(self, number: signal.Signals = signal.SIGTERM) -> int:
        """End it and wait for its end; gives its exit code."""
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)
        async with asyncio.timeout(DEADLINE):
            code = await self._process.wait()
            await self._reader
        return code


class Workers:
    """Worker processes against the database and the upstream of ``sync``."""

    def __init__(self, sync: Sync) -> None:
        self._sync = sync
        self.queue = Queue(sync.database, Timing(**QUICK))
        self.keys: Sequence[str] = ("doorloop",)
        self._all: list[WorkerProcess] = []

    async def start(
        self, *, concurrency: int = 2, page_size: int = 10, every: float = 0.3, patience: float = 3.0,
        dsn: str | None = None, **policy: Any,
    ) -> WorkerProcess:  # fmt: skip
        """A worker that works."""
        upstream = {"url": self._sync.upstream.url, "key": self._sync.upstream.options.api_key}
        order = {
            "dsn": dsn or self._sync.dsn, "connectors": dict.fromkeys(self.keys, upstream), "timing": QUICK,
            "policy": {"flush_rows": 1, **policy}, "concurrency": concurrency, "page_size": page_size, "every": every,
            "patience": patience,
        }  # fmt: skip
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.support.worker_child", json.dumps(order),
            stdout=asyncio.subprocess.PIPE, cwd=_ROOT,
        )  # fmt: skip
        worker = WorkerProcess(process)
        self._all.append(worker)
        await worker.until("up")
        return worker

    async def enqueue(self, *entities: str, key: str = "doorloop", mode: Mode = Mode.BACKFILL) -> int:
        """Queue a run."""
        return await self.queue.enqueue_one(key, RunRequest(entities or ALL, mode))

    async def ended(self, run_id: int, seconds: float = DEADLINE) -> RunSummary:
        """A run as it ended."""

        async def is_over() -> bool:
            return (await self._sync.views.run(run_id)).result not in LIVE

        await until(is_over, seconds)
        return await self._sync.views.run(run_id)

    async def is_empty(self) -> bool:
        """Whether no queue row and no lock is left."""
        return not await self._sync.value(
            "SELECT (SELECT count(*) FROM keepstep_queue.procrastinate_jobs) + (SELECT count(*) FROM keepstep.locks)"
        )

    async def close(self) -> None:
        """Kill whoever still lives."""
        for worker in self._all:
            with contextlib.suppress(ProcessLookupError):
                worker.send(signal.SIGCONT)
            await worker.kill()


@contextlib.asynccontextmanager
async def workers(sync: Sync) -> AsyncIterator[Workers]:
    """Worker processes that are gone afterwards."""
    processes = Workers(sync)
    try:
        yield processes
    finally:
        await processes.close()
