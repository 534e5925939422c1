"""Runs in processes of their own that can be killed or frozen at any moment."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.support.sync import Sync

DEADLINE = 60.0
_ROOT = Path(__file__).parents[2]


class Victim:
    """One run in its own process. ``result`` is how it ended by itself, None while it has not."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.pid = 0
        self.events: list[str] = []
        self.result: str | None = None
        self.gone = False

    async def hear(self) -> None:
        """Take in the next line that it says."""
        assert self._process.stdout is not None
        async with asyncio.timeout(DEADLINE):
            line = (await self._process.stdout.readline()).decode()
        kind, _, rest = line.strip().partition(" ")
        if kind == "pid":
            self.pid = int(rest)
        elif kind == "event":
            self.events.append(rest)
        elif kind == "end":
            self.result = rest
        else:
            assert kind == "gone", f"the process that forks has died: {line!r}"
            self.gone = True

    async def until(self, events: int) -> None:
        """Hear so many events, or the end."""
        while not self.gone and len(self.events) < events:
            await self.hear()

    async def until_gone(self) -> None:
        """Hear it to its end."""
        while not self.gone:
            await self.hear()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal; the process that forked it keeps its pid from being reused."""
        if not self.gone and self.result is None:
            os.kill(self.pid, number)

    async def kill(self) -> bool:
        """kill -9; whether that ended it, and not its own end before."""
        self.signal(signal.SIGKILL)
        await self.until_gone()
        return self.result is None


class Victims:
    """Starts them, one after the other, in the twinkling of an eye: forks of a process that has imported everything."""

    def __init__(self, process: asyncio.subprocess.Process, sync: Sync) -> None:
        self._process = process
        self._sync = sync

    async def start(self, *entities: str, mode: str = "backfill", page_size: int = 20, **policy: Any) -> Victim:
        """A run that has its process, and nothing more yet."""
        order = {
            "dsn": self._sync.dsn,
            "url": self._sync.upstream.url,
            "key": self._sync.upstream.options.api_key,
            "entities": entities,
            "mode": mode,
            "page_size": page_size,
            "policy": policy,
        }
        assert self._process.stdin is not None
        self._process.stdin.write((json.dumps(order) + "\n").encode())
        victim = Victim(self._process)
        while not victim.pid:
            await victim.hear()
        return victim


@asynccontextmanager
async def victims(sync: Sync) -> AsyncIterator[Victims]:
    """Processes to be killed that run against the database and the upstream of ``sync``."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.crash_child",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, cwd=_ROOT,
    )  # fmt: skip
    try:
        yield Victims(process, sync)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            async with asyncio.timeout(10):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
