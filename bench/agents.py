"""``python -m bench.agents``: whether every type of every agent keeps its interval, with and without a slow agent.

Intervals are shortened, so that a few minutes show what an hour would: ``--faster 4`` makes 10 minutes 2.5. How late a
run is, is told by the place of its schedule on the grid: what found its agent busy and tried again counts in full.
"""

import argparse
import asyncio
import json
import logging
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import structlog

from bench.child import ROOT
from bench.report import about, machine
from bench.stage import Server, server
from keepstep.always_on import working
from keepstep.app import App
from keepstep.config import Settings
from keepstep.integrations.erp.emulator.options import EmulatorOptions
from keepstep.service.core import Service

ROWS = {"customers": 5, "orders": 5, "ddt": 5, "invoices": 5, "products": 20, "prices": 20}
SLOW = "A000"
_PATIENCE = 1800
"""Seconds for the first report of everybody."""
_FIRST = (
    "SELECT count(*) AS n FROM keepstep.schedules s WHERE s.sync_type IS NOT NULL AND NOT EXISTS"
    " (SELECT FROM keepstep.runs r WHERE r.schedule_id = s.id AND r.state = 'succeeded')"
)
_FASTER = (
    "UPDATE keepstep.schedules SET interval_seconds = interval_seconds / %s, enabled = true WHERE sync_type IS NOT NULL"
)
_LATE = """
WITH seen AS (
    SELECT s.sync_type, s.id, s.interval_seconds, c.owner_id, r.id AS run, r.started_at,
           extract(epoch FROM r.started_at - keepstep.next_slot(r.started_at, s.anchor_at, s.interval_seconds))
           + s.interval_seconds AS late
    FROM keepstep.schedules s JOIN keepstep.connections c ON c.id = s.connection_id
    LEFT JOIN keepstep.runs r ON r.schedule_id = s.id AND r.started_at BETWEEN %(begin)s AND %(end)s
    WHERE s.sync_type IS NOT NULL AND c.owner_id IS DISTINCT FROM %(apart)s::text
), each AS (
    SELECT sync_type, id, interval_seconds, count(run) AS runs FROM seen GROUP BY sync_type, id, interval_seconds
)
SELECT e.sync_type AS type, min(e.interval_seconds) AS seconds, count(*) AS schedules, sum(e.runs)::bigint AS runs,
       count(*) FILTER (WHERE e.runs < floor(extract(epoch FROM %(end)s::timestamptz - %(begin)s::timestamptz)
                                             / e.interval_seconds)) AS missed,
       (SELECT percentile_cont(0.5) WITHIN GROUP (ORDER BY late) FROM seen n WHERE n.sync_type = e.sync_type) AS p50,
       (SELECT percentile_cont(0.99) WITHIN GROUP (ORDER BY late) FROM seen n WHERE n.sync_type = e.sync_type) AS p99,
       (SELECT max(late) FROM seen n WHERE n.sync_type = e.sync_type) AS most
FROM each e GROUP BY e.sync_type ORDER BY 2, 1
"""


@dataclass(frozen=True)
class Line:
    """How late the runs of one type began after their slots, in seconds (None: no slot fell into the time that was
    measured); ``missed``: schedules with too few runs.
    """

    slow: bool
    type: str
    seconds: int
    schedules: int
    runs: int
    missed: int
    p50: float | None
    p99: float | None
    most: float | None


def main() -> int:
    """Measure and print; 1 when a schedule had fewer runs than it has intervals."""
    parser = argparse.ArgumentParser(prog="python -m bench.agents", description=__doc__)
    parser.add_argument("--agents", type=int, default=200, help="how many there are")
    parser.add_argument("--faster", type=int, default=4, help="by how much intervals are shortened")
    parser.add_argument("--seconds", type=int, default=300, help="how long is measured, with and without a slow agent")
    parser.add_argument("--concurrency", type=int, default=4, help="runs at a time, as keepstep up has them")
    parser.add_argument("--out", type=Path, help="a file for the results as JSON")
    options = parser.parse_args()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    facts = {**machine(), "agents": str(options.agents), "intervals shortened by": str(options.faster)}
    print(about(facts), file=sys.stderr)
    with home() as directory, server(directory / "home") as place, emulator(options.agents) as upstream:
        place.create("agents")
        lines = asyncio.run(measure(place, upstream, directory, options))
    print("| slow agent | type | interval, s | schedules | runs | with too few | late p50, s | p99 | most |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for line in lines:
        late = " | ".join("" if found is None else f"{found:.2f}" for found in (line.p50, line.p99, line.most))
        told = f"{line.runs:,} | {line.missed} | {late}"
        print(f"| {'one' if line.slow else 'none'} | {line.type} | {line.seconds} | {line.schedules} | {told} |")
    if options.out:
        content = {"at": datetime.now(UTC).isoformat(), "facts": facts, "results": [asdict(line) for line in lines]}
        options.out.write_text(json.dumps(content, indent=1) + "\n")
    return int(any(line.missed for line in lines))


@contextmanager
def home() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="keepstep-bench-"))
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


@contextmanager
def emulator(agents: int) -> Iterator[dict[str, str]]:
    """An emulated ERP in a process of its own."""
    codes = ",".join(f"A{number:03}" for number in range(agents))
    flags = [f"--{name}={rows}" for name, rows in ROWS.items()]
    command = [sys.executable, "-m", "keepstep", "emulate", "erp", "--json", f"--agents={codes}", *flags]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT) as process:
        try:
            assert process.stdout is not None
            yield json.loads(process.stdout.readline())
        finally:
            process.terminate()


def tell(upstream: dict[str, str], command: str, **body: Any) -> None:
    request = Request(f"{upstream['control']}/{command}", data=json.dumps(body).encode())  # noqa: S310
    urlopen(request).close()  # noqa: S310


@asynccontextmanager
async def keepstep(
    place: Server, upstream: dict[str, str], directory: Path, concurrency: int
) -> AsyncIterator[Service]:  # fmt: skip
    options = EmulatorOptions()
    environment = {
        "DATABASE_URL": place.dsn("agents"), "KEEPSTEP_HOME": str(directory / "keepstep"),
        "ERP_BASE_URL": upstream["baseUrl"], "ERP_USERNAME": options.username, "ERP_PASSWORD": options.password,
        "ERP_RATE_LIMIT_RPS": "1000", "ERP_MAX_CONCURRENCY": "8",
    }  # fmt: skip
    async with (
        App(Settings.load(environment)).open(pooled=True) as service,
        working(service, concurrency=concurrency),
    ):
        yield service


async def measure(
    place: Server, upstream: dict[str, str], directory: Path, options: argparse.Namespace
) -> list[Line]:  # fmt: skip
    async with keepstep(place, upstream, directory, options.concurrency) as service:

        async def sql(statement: str, parameters: Any = None) -> list[dict[str, Any]]:
            async with service.database.connection() as connection:
                cursor = await connection.execute(statement.encode(), parameters)
                return await cursor.fetchall() if cursor.description else []

        began = time.monotonic()
        codes = [f"A{number:03}" for number in range(options.agents)]
        await sql("INSERT INTO keepstep.agents (code) SELECT unnest(%s::text[])", [codes])
        while missing := (await sql(_FIRST))[0]["n"]:
            if time.monotonic() - began > _PATIENCE:
                raise SystemExit(f"After {_PATIENCE} s {missing} schedules have no run that succeeded.")
            await asyncio.sleep(1)
        took = time.monotonic() - began
        print(f"every report of everybody for the first time: {took:,.0f} s", file=sys.stderr)
        await sql(_FASTER, [options.faster])
        lines = []
        for slow in (False, True):
            if slow:
                tell(upstream, "faults", kind="hang", agent=SLOW, step="poll", forever=True)
            await asyncio.sleep(20)
            [begin] = await sql("SELECT now() AS at")
            await asyncio.sleep(options.seconds)
            [end] = await sql("SELECT now() AS at")
            asked = {"begin": begin["at"], "end": end["at"], "apart": SLOW if slow else None}
            lines += [Line(slow, **found) for found in await sql(_LATE, asked)]
        tell(upstream, "faults/clear")
        return lines


if __name__ == "__main__":
    raise SystemExit(main())
