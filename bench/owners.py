"""``python -m bench.owners``: a hundred thousand users with auto-sync, and whether one delays another.

Their connections and schedules are made in a database of their own. Then: what each page, answer and loop costs that
looks at all of them; how punctually what is due is queued, as on every day and when all is due at once; and, with real
runs, how long healthy owners wait where others have a dead account.
"""

import argparse
import asyncio
import json
import logging
import sys
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

import structlog
from tests.support import crowd

from bench import fairness, looks, punctual
from bench.dispatch import home
from bench.report import about, machine
from bench.results import HEAD, Result, line
from bench.stage import Server, server
from keepstep.store.db import Database
from keepstep.store.migrate import migrate

DATABASE = "owners"


def main() -> int:
    """Measure and print; 1 when a limit was missed."""
    options = arguments()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    parts = options.only.split(",") if options.only else ["dispatch", "looks", "runs"]
    results: list[Result] = []

    def tell(*found: Result) -> None:
        for result in found:
            print(line(result), file=sys.stderr, flush=True)
        results.extend(found)

    with home() as directory, server(directory) as place:
        facts = {**machine(), "PostgreSQL": place.version, "owners": f"{options.owners:,}"}
        print(about(facts), file=sys.stderr)
        place.create(DATABASE)
        place.database = DATABASE
        asyncio.run(set_the_stage(place, options.owners))
        if "looks" in parts:
            for result in looked_at(place, options.rounds):
                tell(result)
            print(looks.worst_plan(place.dsn(DATABASE)), file=sys.stderr)
        if "dispatch" in parts:
            tell(*asyncio.run(punctual.as_they_come(place, Database(place.dsn(DATABASE)), options.seconds)))
            tell(*asyncio.run(punctual.after_an_outage(place, Database(place.dsn(DATABASE)))))
        if "runs" in parts:
            seconds = options.seconds
            tell(*asyncio.run(fairness.measure(place, directory, per_second=options.runs, seconds=seconds)))
    print(f"{about(facts)}\n\n{HEAD}")
    for result in results:
        print(line(result))
    if options.out:
        content = {"at": datetime.now(UTC).isoformat(), "facts": facts, "results": [asdict(r) for r in results]}
        options.out.write_text(json.dumps(content, indent=1) + "\n")
    return int(any(result.kept is False for result in results))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.owners", description=__doc__)
    parser.add_argument("--owners", type=int, default=100_000, help="how many there are")
    parser.add_argument("--rounds", type=int, default=40, help="how often each page is asked for")
    parser.add_argument("--only", default="", help="some parts: looks,dispatch,runs")
    parser.add_argument("--seconds", type=int, default=30, help="how long schedules come due, and runs in each scene")
    parser.add_argument("--runs", type=int, default=8, help="owners in a second whose real runs come due")
    parser.add_argument("--out", type=Path, help="a file for the results as JSON")
    return parser.parse_args()


async def set_the_stage(place: Server, owners: int) -> None:
    """The owners, as they are after some weeks."""
    database = Database(place.dsn(DATABASE))
    async with database.connection() as connection:
        await migrate(connection)
        seconds = await crowd.gather(connection, owners)
    print(f"{owners:,} owners made in {seconds:.0f} s", file=sys.stderr)
    place.settle(DATABASE)


def looked_at(place: Server, rounds: int) -> list[Result]:
    """Pages, answers, loops and commands."""
    results = asyncio.run(looks.loops(Database(place.dsn(DATABASE)), rounds))
    with looks.served(place, DATABASE) as (command, client):
        results += looks.pages(client, rounds)
        results += looks.doctor(command, 3)
    return results


if __name__ == "__main__":
    sys.exit(main())
