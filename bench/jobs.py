"""``python -m bench.jobs``: attempts a second, beside the queue engine as it comes, on the same server.

``engine``: Procrastinate as it comes, with a function that does nothing (finished rows deleted, as ours are).
``queue``: our queue rows and our worker on the same engine, with a function that does nothing.
``runs``: whole runs through the worker: lock, fence, heartbeat, one page of one record, events, the end.
"""

import argparse
import asyncio
import itertools
import json
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import procrastinate
import psycopg
from msgspec import Raw

from bench.dispatch import home
from bench.report import about, machine
from bench.stage import Server, server
from keepstep.dispatch.queue import Queue, Timing
from keepstep.dispatch.worker import Worker
from keepstep.model.integration import Check, Entity, Field, Integration, Kind, Page, Ping, Reading
from keepstep.model.run import Event, Policy
from keepstep.store.db import Database
from keepstep.store.migrate import migrate

LEAST_SHARE = 0.9
"""Of the engine's own rate, with nothing done, that our queue must reach."""
_DEADLINE = 300.0


@dataclass(frozen=True)
class Result:
    """Attempts a second: the median of the rounds, and every round."""

    what: str
    rate: float
    rounds: list[float]


class OnePage:
    """An integration that is as fast as can be: one entity, one page of one record."""

    _numbers = itertools.count()
    key, title, base_url = "bench", "Bench", ""
    requests = 0
    entities = (Entity("things", (Field("name", Kind.TEXT),)),)

    async def ping(self) -> Ping:
        raise NotImplementedError

    async def check(self, endpoint: str, *, page_size: int = 1) -> Check:
        raise NotImplementedError

    async def read(self, entity: Entity, reading: Reading) -> AsyncIterator[Page]:
        """The page; each run's record is another one, because here all of them write one table."""
        key = str(next(self._numbers))
        yield Page([Raw(f'{{"id":"{key}","name":"one"}}'.encode())], [key], 1, {"page": 2}, last=True, total=1)

    async def aclose(self) -> None:
        """Nothing to give back."""


def main() -> int:
    """Measure and print; 1 when our queue is much slower than the engine itself."""
    parser = argparse.ArgumentParser(prog="python -m bench.jobs", description=__doc__)
    parser.add_argument("--attempts", type=int, default=3000, help="how many, for each contender and round")
    parser.add_argument("--runs", type=int, default=600, help="how many whole runs, for each round")
    parser.add_argument("--concurrency", type=int, default=8, help="at the same time")
    parser.add_argument("--rounds", type=int, default=3, help="how often, in turn")
    parser.add_argument("--out", type=Path, help="a file for the results as JSON")
    options = parser.parse_args()
    with home() as directory, server(directory) as place:
        facts = {**machine(), "PostgreSQL": place.version, "concurrency": str(options.concurrency)}
        print(about(facts), file=sys.stderr)
        results = measure(place, options)
    engine, queue, _ = (result.rate for result in results)
    print("| what | attempts/s | of the engine's own |\n| --- | ---: | ---: |")
    for result in results:
        print(f"| {result.what} | {result.rate:,.0f} | {result.rate / engine:.0%} |")
    if options.out:
        content = {"at": datetime.now(UTC).isoformat(), "facts": facts, "results": [asdict(r) for r in results]}
        options.out.write_text(json.dumps(content, indent=1) + "\n")
    return int(queue < LEAST_SHARE * engine)


def measure(place: Server, options: argparse.Namespace) -> list[Result]:
    """Everybody in turn, so that a slow moment of the machine does not hit one alone."""
    contenders: list[tuple[str, Callable[[Server, argparse.Namespace], Awaitable[float]]]] = [
        ("engine as it comes", engine_alone), ("our queue", queue_alone), ("whole runs", whole_runs),
    ]  # fmt: skip
    rates: dict[str, list[float]] = {name: [] for name, _ in contenders}
    for _ in range(options.rounds):
        for name, contender in contenders:
            rates[name].append(asyncio.run(contender(place, options)))
            print(f"{name}: {rates[name][-1]:,.0f}/s", file=sys.stderr)
    return [Result(name, statistics.median(found), found) for name, found in rates.items()]


class Countdown:
    """Counts attempts, and tells when all are done."""

    def __init__(self, count: int) -> None:
        self._left = count
        self._began = time.perf_counter()
        self.done = asyncio.Event()

    def one(self) -> None:
        """One more."""
        self._left -= 1
        if self._left == 0:
            self.done.set()

    async def rate(self, count: int) -> float:
        """Attempts a second since it was made."""
        async with asyncio.timeout(_DEADLINE):
            await self.done.wait()
        return count / (time.perf_counter() - self._began)


async def engine_alone(place: Server, options: argparse.Namespace) -> float:
    """As its documentation says."""
    place.create("engine")
    app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=place.dsn("engine"), max_size=20))
    async with app.open_async():
        await app.schema_manager.apply_schema_async()
        countdown: Countdown | None = None

        @app.task(name="nothing")
        async def nothing(number: int) -> None:
            assert countdown is not None
            countdown.one()

        await app.configure_task("nothing").batch_defer_async(*({"number": n} for n in range(options.attempts)))
        with connected(place.dsn("engine")) as connection:
            connection.execute("UPDATE procrastinate_jobs SET lock = 'connection/' || id")
        place.settle("engine")
        countdown = Countdown(options.attempts)
        worker = asyncio.create_task(
            app.run_worker_async(concurrency=options.concurrency, delete_jobs="always", install_signal_handlers=False)
        )
        rate = await countdown.rate(options.attempts)
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
    place.drop("engine")
    return rate


async def queue_alone(place: Server, options: argparse.Namespace) -> float:
    """The port with nothing behind it."""
    async with queued(place, options.attempts) as database:
        countdown = Countdown(options.attempts)

        async def perform(_run_id: int) -> None:
            countdown.one()

        work = Queue(database, Timing()).run_worker(perform, concurrency=options.concurrency)
        return await _until_done(asyncio.create_task(work), countdown.rate(options.attempts))


async def whole_runs(place: Server, options: argparse.Namespace) -> float:
    """A worker as ``keepstep worker`` has it, upstream without latency."""

    @asynccontextmanager
    async def equip(_key: str) -> AsyncIterator[tuple[Integration, Policy]]:
        yield OnePage(), Policy()

    async with queued(place, options.runs) as database:
        countdown = Countdown(options.runs)

        def hear(event: Event) -> None:
            assert event.type != "run-failed", event.msg
            if event.type == "run-finished":
                countdown.one()

        queue = Queue(database, Timing())
        worker = Worker(database, queue, equip, concurrency=options.concurrency, listener=hear)
        return await _until_done(asyncio.create_task(worker.run()), countdown.rate(options.runs))


async def _until_done(work: "asyncio.Task[None]", rate: Awaitable[float]) -> float:
    try:
        return await rate
    finally:
        work.cancel()
        await asyncio.gather(work, return_exceptions=True)


@asynccontextmanager
async def queued(place: Server, count: int) -> AsyncIterator[Database]:
    """A database with so many queued runs, each of a connection of its own."""
    place.create("queue")
    database = Database(place.dsn("queue"))
    async with database.connection() as connection:
        await migrate(connection)
        await connection.execute(
            "INSERT INTO keepstep.connections (integration, owner_id)"
            f" SELECT 'bench', 'user ' || n FROM generate_series(1, {count}) n".encode()
        )
        await connection.execute(
            "INSERT INTO keepstep.runs (connection_id, mode, dry_run, trigger, entities, state, in_queue)"
            " SELECT id, 'delta', false, 'schedule', '{things}', 'queued', true FROM keepstep.connections"
        )
        await connection.execute("SELECT keepstep.enqueue(array_agg(id)) FROM keepstep.runs")
    place.settle("queue")
    async with database.pooled():
        yield database
    place.drop("queue")


@contextmanager
def connected(dsn: str) -> Iterator["psycopg.Connection[tuple[object, ...]]"]:
    """A session."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        yield connection


if __name__ == "__main__":
    sys.exit(main())
