"""``python -m bench.feed``: the live feed with many browsers, each on a socket of its own, in another process.

The writer commits every event alone, with its announcement; an event's lag is from just before its INSERT until a
browser has read it. The exit code is 1 when a promise is missed.
"""

import argparse
import asyncio
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from bench.child import ROOT
from bench.stage import TICKS, Server, server

MOST_LAG_MS, MOST_CORES = 150, 0.5
_SETTLE_S = 3.0


@dataclass(frozen=True)
class Found:
    """What one setting gave. CPU in cores."""

    browsers: int
    rate: float
    events: int
    told: dict[str, Any]
    web_cores: float
    postgres_cores: float
    complete: bool

    @property
    def kept(self) -> bool:
        """Whether the promise for this setting is kept."""
        return self.complete and self.told["p99"] < MOST_LAG_MS and self.web_cores < MOST_CORES

    def cells(self) -> list[str]:
        """A row of the table."""
        lags = [str(self.told[name]) for name in ("p50", "p99", "slowest_p99", "max")]
        return [
            f"{self.browsers:,}", f"{self.rate:,.0f}", f"{self.browsers * self.rate:,.0f}", *lags,
            f"{self.web_cores:.2f}", f"{self.postgres_cores:.2f}", "yes" if self.complete else "**no**",
        ]  # fmt: skip


HEAD = [
    "browsers", "events/s", "deliveries/s", "lag p50 ms", "p99 ms", "p99 of the slowest ms", "max ms", "web, cores",
    "PostgreSQL, cores", "complete",
]  # fmt: skip


def row(cells: Sequence[str]) -> str:
    """As Markdown."""
    return f"| {' | '.join(cells)} |"


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.feed", description=__doc__)
    parser.add_argument("--browsers", type=int, nargs="+", default=[1000])
    parser.add_argument("--rate", type=float, nargs="+", default=[100.0], help="events a second")
    parser.add_argument("--seconds", type=float, default=20.0)
    options = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="keepstep-bench-"))
    found: list[Found] = []
    try:
        with server(directory / "home") as running:
            for browsers in options.browsers:
                for rate in options.rate:
                    found.append(measure(running, browsers, rate, options.seconds))
                    print(row(found[-1].cells()), file=sys.stderr, flush=True)
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    print("\n".join(map(row, [HEAD, ["--:"] * len(HEAD), *(one.cells() for one in found)])))
    promised = [one for one in found if (one.browsers, one.rate) == (1000, 100.0)]
    return 0 if all(one.kept for one in promised) else 1


def measure(running: Server, browsers: int, rate: float, seconds: float) -> Found:
    """One setting on a database of its own."""
    running.create("feed")
    dsn = running.dsn("feed")
    with child("web", dsn) as web:
        assert web.stdout is not None
        url = web.stdout.readline().strip()
        with child("browsers", url, str(browsers)) as listening:
            assert listening.stdout is not None and listening.stdin is not None
            if listening.stdout.readline().strip() != "ready":
                raise RuntimeError("the browsers did not get in")
            asyncio.run(write(dsn, rate, 2.0, "warm-up"))
            cpu, postgres, began = cpu_of(web.pid), running.cpu_seconds(), time.monotonic()
            events = asyncio.run(write(dsn, rate, seconds, "sent"))
            took = time.monotonic() - began
            web_cores = (cpu_of(web.pid) - cpu) / took
            postgres_cores = (running.cpu_seconds() - postgres) / took
            time.sleep(_SETTLE_S)
            listening.stdin.close()
            told: dict[str, Any] = json.loads(listening.stdout.readline())
    running.drop("feed")
    complete = told["least"] == told["most"] == events
    return Found(browsers, rate, events, told, web_cores, postgres_cores, complete)


async def write(dsn: str, rate: float, seconds: float, word: str) -> int:
    """Commit events at an even pace, each in a transaction of its own; gives how many."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as connection:
        await connection.execute(
            "INSERT INTO keepstep.connections (integration) VALUES ('doorloop') ON CONFLICT DO NOTHING"
        )
        cursor = await connection.execute(
            """INSERT INTO keepstep.runs (connection_id, mode, dry_run, trigger, state, started_at, finished_at)
               SELECT id, 'delta', false, 'manual', 'succeeded', now(), now() FROM keepstep.connections LIMIT 1
               RETURNING id"""
        )
        [run] = await cursor.fetchone() or [None]
        count, begun = 0, time.monotonic()
        while (due := begun + count / rate) < begun + seconds:
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            await connection.execute(
                """WITH e AS (
                       INSERT INTO keepstep.events (connection_id, run_id, type, level, entity, page, rows, msg)
                       SELECT connection_id, id, 'page', 'info', 'owners', 1, 100, %s FROM keepstep.runs WHERE id = %s
                       RETURNING run_id
                   )
                   SELECT pg_notify('keepstep', run_id::text) FROM e""",
                [f"{word} {time.time():.6f}", run],
            )
            count += 1
        return count


@contextmanager
def child(*arguments: str) -> Iterator["subprocess.Popen[str]"]:
    """A process of ``bench.feed_child`` that ends with its input."""
    command = [sys.executable, "-m", "bench.feed_child", *arguments]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        assert process.stdin is not None
        process.stdin.close()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def cpu_of(pid: int) -> float:
    """CPU seconds of a process so far."""
    words = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    return sum(map(int, words[11:13])) / TICKS


if __name__ == "__main__":
    sys.exit(main())
