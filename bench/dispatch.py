"""``python -m bench.dispatch``: how fast due schedules become queued runs, how punctually, and what waiting costs.

A bare prototype (``bench/prototype.py``) takes its turns beside us: what the machine can do while we are measured.
"""

import argparse
import asyncio
import json
import logging
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

import structlog

from bench import prototype
from bench.report import about, machine
from bench.stage import Server, server
from keepstep.dispatch.dispatcher import Dispatcher
from keepstep.store.db import Connection, Database
from keepstep.store.migrate import migrate
from keepstep.store.notices import listening

DATABASE, PROTOTYPE = "dispatch", "prototype"
QUEUE = "procrastinate_queue_v1#scheduled"
RATE = "schedules/s"
LEAST_RATE, MOST_P99_MS, MOST_IDLE_SHARE = 25_000, 50.0, 0.01
_FAR = "now() + interval '100 days' + schedule_id % 3600 * interval '1 second'"


@dataclass(frozen=True)
class Result:
    """One measurement: what, how much of which unit, and the limit that it keeps (None: there is none)."""

    what: str
    value: float
    unit: str
    kept: bool | None = None


def main() -> int:
    """Measure and print; 1 when a limit was missed."""
    options = arguments()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    with home() as directory, server(directory) as place:
        place.create(DATABASE)
        facts = {**machine(), "PostgreSQL": place.version, "schedules": f"{options.schedules:,}"}
        print(about(facts), file=sys.stderr)
        results = asyncio.run(measure(place, options))
    print("| what | found | |\n| --- | ---: | --- |")
    for result in results:
        word = {True: "kept", False: "**missed**", None: ""}[result.kept]
        print(f"| {result.what} | {result.value:,.4g} {result.unit} | {word} |")
    if options.out:
        content = {"at": datetime.now(UTC).isoformat(), "facts": facts, "results": [asdict(r) for r in results]}
        options.out.write_text(json.dumps(content, indent=1) + "\n")
    return int(any(result.kept is False for result in results))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.dispatch", description=__doc__)
    parser.add_argument("--schedules", type=int, default=1_000_000, help="how many there are")
    parser.add_argument("--due", type=int, default=60_000, help="how many are due at once, for each way to dispatch")
    parser.add_argument(
        "--rounds", type=int, default=3, help="how often each way has its turn; the best one counts; 0: leave that out"
    )
    parser.add_argument("--seconds", type=int, default=10, help="how long 1,000 come due every second")
    parser.add_argument("--idle", type=int, default=60, help="seconds of waiting")
    parser.add_argument("--out", type=Path, help="a file for the results as JSON")
    return parser.parse_args()


@contextmanager
def home() -> Iterator[Path]:
    """A directory for the server, gone afterwards."""
    directory = Path(tempfile.mkdtemp(prefix="keepstep-bench-"))
    try:
        yield directory / "home"
    finally:
        shutil.rmtree(directory, ignore_errors=True)


async def measure(place: Server, options: argparse.Namespace) -> list[Result]:
    """All of it, on one set of schedules."""
    database = Database(place.dsn(DATABASE))
    results: list[Result] = []

    def tell(*found: Result) -> None:
        for result in found:
            print(f"{result.what}: {result.value:,.4g} {result.unit}", file=sys.stderr)
        results.extend(found)

    async with database.connection() as connection:
        await migrate(connection)
        await set_the_stage(connection, options.schedules)
    if options.rounds:
        tell(*await rates(place, database, options))
    await clear(database)
    place.settle(DATABASE)
    tell(*await punctuality(database, options.seconds))
    await clear(database)
    place.settle(DATABASE)
    tell(*await idleness(place, database, options.idle))
    return results


async def set_the_stage(connection: Connection, count: int) -> None:
    """So many connections, each with a schedule that is due in a hundred days."""
    began = time.perf_counter()
    await connection.execute("ALTER TABLE keepstep.schedules DISABLE TRIGGER USER")  # which would make each due now
    await connection.execute(
        "INSERT INTO keepstep.connections (integration, owner_id)"
        f" SELECT 'bench', 'user ' || n FROM generate_series(1, {count}) n".encode()
    )
    await connection.execute(
        "INSERT INTO keepstep.schedules (connection_id, enabled, interval_seconds, entities, anchor_at)"
        " SELECT id, true, 3600, '{owners,units}', now() - keepstep.jitter(id, 3600) FROM keepstep.connections"
    )
    await connection.execute("ALTER TABLE keepstep.schedules ENABLE TRIGGER USER")
    await connection.execute(
        "INSERT INTO keepstep.schedule_times (schedule_id, due_at, delta_at)"
        f" SELECT s.schedule_id, {_FAR}, {_FAR} FROM (SELECT id AS schedule_id FROM keepstep.schedules) s".encode()
    )
    print(f"{count:,} schedules made in {time.perf_counter() - began:.0f} s", file=sys.stderr)


async def clear(database: Database) -> None:
    """Nothing is due, nothing is queued."""
    async with database.connection() as connection:
        await _clear(connection)


async def _clear(connection: Connection) -> None:
    await connection.execute("TRUNCATE keepstep_queue.procrastinate_jobs CASCADE")
    await connection.execute("TRUNCATE keepstep.runs CASCADE")
    await connection.execute(
        f"UPDATE keepstep.schedule_times SET due_at = {_FAR}, delta_at = {_FAR}"
        " WHERE due_at < now() + interval '9 days'".encode()
    )


async def make_due(connection: Connection, count: int) -> None:
    """So many schedules, here and there among all of them, have been due within the last minute."""
    await _clear(connection)
    await connection.execute(
        "UPDATE keepstep.schedule_times t SET due_at = n.at, delta_at = n.at FROM ("
        " SELECT id, now() - random() * interval '1 minute' AS at FROM keepstep.schedules"
        f" ORDER BY id * 618033 % 1000003 LIMIT {count}) n WHERE t.schedule_id = n.id".encode()
    )


async def rates(place: Server, database: Database, options: argparse.Namespace) -> list[Result]:
    """What each way to dispatch does in a second, and what one costs the server; everybody takes turns."""
    bare = Database(place.dsn(PROTOTYPE))
    place.create(PROTOTYPE)
    async with bare.connection() as connection:
        await prototype.set_the_stage(connection, options.schedules)
    ours = "SELECT started FROM keepstep.dispatch_due(%s)"
    ways = [("dispatched", database, ours, *how) for how in ((1, 1000), (2, 500), (2, 1000), (2, 2000))]
    ways += [(what, bare, call, who, 1000) for what, call in prototype.CONTENDERS.items() for who in (1, 2)]
    best: dict[str, tuple[float, float]] = {}
    for turn in range(options.rounds):
        for what, where, call, dispatchers, batch in ways if turn % 2 == 0 else ways[::-1]:
            await (_make_ours_due(where, options.due) if where is database else prototype.make_due(where, options.due))
            place.settle(DATABASE if where is database else PROTOTYPE)
            who = "1 dispatcher" if dispatchers == 1 else f"{dispatchers} dispatchers"
            name = f"{what} by {who} in batches of {batch:,}"
            found = await rate(place, where, call, dispatchers, batch)
            print(f"{name}: {found[0]:,.0f}/s, {found[1]:.0f} us", file=sys.stderr)
            rate_before, cost_before = best.get(name, found)
            best[name] = max(found[0], rate_before), min(found[1], cost_before)
    place.drop(PROTOTYPE)
    return _judged(best)


async def _make_ours_due(database: Database, count: int) -> None:
    async with database.connection() as connection:
        await make_due(connection, count)


async def rate(place: Server, database: Database, call: str, dispatchers: int, batch: int) -> tuple[float, float]:
    """Schedules dispatched in a second, and microseconds of the server's CPU for each."""

    async def one(connection: Connection) -> int:
        count = 0
        while row := await (await connection.execute(call.encode(), [batch])).fetchone():
            if not row["started"]:
                break
            count += len(row["started"])
        return count

    connections = [await database.open() for _ in range(dispatchers)]
    began, cpu = time.perf_counter(), place.cpu_seconds()
    count = sum(await asyncio.gather(*(one(connection) for connection in connections)))
    seconds, cpu = time.perf_counter() - began, place.cpu_seconds() - cpu
    for connection in connections:
        await connection.close()
    return count / seconds, cpu / count * 1_000_000


def _judged(best: dict[str, tuple[float, float]]) -> list[Result]:
    """The limit is for the machine as a whole: our best way counts."""
    fastest = max((name for name in best if name.startswith("dispatched")), key=lambda name: best[name])
    results = []
    for name, (per_second, cost) in best.items():
        kept = per_second >= LEAST_RATE if name == fastest else None
        results += [Result(name, per_second, RATE, kept), Result("CPU of the server for each of them", cost, "us")]
    ratio = best[fastest][0] / max(found[0] for name, found in best.items() if name.startswith("a bare prototype by"))
    return [*results, Result("our best, as a share of the bare prototype's best", ratio * 100, "%")]


async def punctuality(database: Database, seconds: int) -> list[Result]:
    """1,000 schedules come due every second; how long until a worker is told of their queue rows."""
    async with database.connection() as connection:
        last = await _fall_due(connection, seconds * 1000)
    heard: list[tuple[int, float]] = []
    async with (
        listening(database, QUEUE, name="bench") as notices,
        database.pooled(),
        Dispatcher(database).running(),
        asyncio.timeout(seconds + 60),
    ):
        while not heard or heard[-1][0] < last:
            notice = json.loads(await anext(notices))
            heard.append((notice["job_id"], time.time()))
    async with database.connection() as connection:
        late = sorted(await lateness(connection, heard))
    return [
        Result("from due to queued, 1,000 due a second: p50", late[len(late) // 2], "ms"),
        Result("from due to queued: p99", p99 := late[len(late) * 99 // 100], "ms", p99 < MOST_P99_MS),
        Result("from due to queued: worst", late[-1], "ms"),
    ]


async def _fall_due(connection: Connection, count: int) -> int:
    """So many schedules come due, one a millisecond, three seconds from now; gives the number of the last queue row."""
    await connection.execute(
        "UPDATE keepstep.schedule_times t SET due_at = n.at, delta_at = n.at FROM ("
        " SELECT id, now() + interval '3 seconds' + row_number() OVER (ORDER BY id * 618033 % 1000003)"
        f" * interval '1 millisecond' AS at FROM keepstep.schedules ORDER BY 2 LIMIT {count}) n"
        " WHERE t.schedule_id = n.id".encode()
    )
    cursor = await connection.execute("SELECT nextval('keepstep_queue.procrastinate_jobs_id_seq') AS n")
    row = await cursor.fetchone()
    assert row is not None
    return int(row["n"]) + count


async def lateness(connection: Connection, heard: list[tuple[int, float]]) -> list[float]:
    """Milliseconds from due to told, for each queue row. A notice names the last row of its batch."""
    cursor = await connection.execute(
        "SELECT j.id, extract(epoch FROM r.planned_at)::float8 AS due FROM keepstep_queue.procrastinate_jobs j"
        " JOIN keepstep.runs r ON r.id = (j.args ->> 'run_id')::bigint ORDER BY j.id"
    )
    rows, late = await cursor.fetchall(), []
    batches = iter(heard)
    last, at = next(batches)
    for row in rows:
        while row["id"] > last:
            last, at = next(batches)
        late.append((at - row["due"]) * 1000)
    return late


async def idleness(place: Server, database: Database, seconds: int) -> list[Result]:
    """CPU of the dispatcher and of the server while nothing is due."""
    async with database.pooled(), Dispatcher(database).running():
        await asyncio.sleep(2)  # it has opened its sessions by then
        ours, theirs = time.process_time(), place.cpu_seconds()
        await asyncio.sleep(seconds)
        ours, theirs = time.process_time() - ours, place.cpu_seconds() - theirs
    share = (ours + theirs) / seconds
    return [
        Result("CPU of an idle dispatcher, a minute", ours / seconds * 60_000, "ms"),
        Result("CPU of the server meanwhile, a minute", theirs / seconds * 60_000, "ms"),
        Result("both, as a share of a core", share * 100, "%", share < MOST_IDLE_SHARE),
    ]


if __name__ == "__main__":
    sys.exit(main())
