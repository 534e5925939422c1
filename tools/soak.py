"""``python -m tools.soak``: the soak of ``tests/support/soak.py``, for some minutes."""

import argparse
import asyncio
import secrets
import shutil
import sys
import tempfile
from pathlib import Path

from tests.support.server import TestServer, fast_place
from tests.support.soak import Options, soak

from keepstep.store.embedded import EmbeddedPostgres


def main() -> int:
    """Soak, and print what happened; 1 when something is wrong."""
    parser = argparse.ArgumentParser(prog="python -m tools.soak", description=__doc__)
    parser.add_argument("--seconds", type=float, default=180.0, help="how long there is trouble")
    parser.add_argument("--connections", type=int, default=3, help="how many may run at the same time")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(1 << 30), help="to throw the same dice again")
    parser.add_argument("--keep-logs", type=Path, help="a directory for what the processes say")
    given = parser.parse_args()
    options = Options(given.seconds, given.connections, given.seed)
    place = Path(tempfile.mkdtemp(prefix="keepstep-soak-", dir=fast_place()))
    try:
        with EmbeddedPostgres.open(place / "home") as postgres:
            tally = asyncio.run(soak(options, place, TestServer(postgres)))
    finally:
        if given.keep_logs:
            given.keep_logs.mkdir(parents=True, exist_ok=True)
            for log in place.glob("*.log"):
                shutil.copy(log, given.keep_logs)
        shutil.rmtree(place, ignore_errors=True)
    sys.stdout.write(f"seed {options.seed}\n" + "".join(f"{n:>9,}  {what}\n" for what, n in tally.counts.items()))
    sys.stdout.write("".join(f"WRONG: {what}\n" for what in tally.wrong) or "Everything is as it must be.\n")
    return int(bool(tally.wrong))


if __name__ == "__main__":
    sys.exit(main())
