"""The short form of ``make soak``: everything is killed, frozen and restarted, and nothing is lost or done twice."""

import asyncio
from pathlib import Path

from tests.support.server import TestServer
from tests.support.soak import Options, soak


def test_whatever_happens_to_processes_and_database_every_run_ends_once_and_the_tables_are_upstream(
    server: TestServer, tmp_path: Path
) -> None:
    tally = asyncio.run(soak(Options(seconds=12, connections=2, seed=3, every=3), tmp_path, server))
    assert tally.wrong == [], tally.counts
    assert tally.counts["PostgreSQL killed"] == 1
    assert tally.counts["processes killed"] + tally.counts["processes told to end"] > 0
    assert tally.counts["runs succeeded"] > 2
