"""``python -m bench.idle``: what ``keepstep up`` costs while nothing is to do, its PostgreSQL included."""

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from bench.child import ROOT
from bench.dispatch import home
from bench.report import about, machine
from bench.stage import processes

MOST_SHARE = 0.01


def main() -> int:
    """Measure and print; 1 when the limit is missed."""
    parser = argparse.ArgumentParser(prog="python -m bench.idle", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="how long it is watched")
    parser.add_argument("--settle", type=int, default=20, help="seconds that it gets to come to rest")
    options = parser.parse_args()
    print(about(machine()), file=sys.stderr)
    with home() as directory:
        ours, theirs = watch(directory, options.settle, options.seconds)
    print("| what | of a core |\n| --- | ---: |")
    print(f"| keepstep up | {ours:.2%} |\n| its PostgreSQL | {theirs:.2%} |\n| together | {ours + theirs:.2%} |")
    return int(ours + theirs >= MOST_SHARE)


def watch(directory: Path, settle: float, seconds: float) -> tuple[float, float]:
    """Cores used by the service, its keeper included, and by all processes of its PostgreSQL, ended ones included."""
    command = [str(Path(sys.executable).with_name("keepstep")), "up", "--json"]
    chosen = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    place = {"KEEPSTEP_HOME": str(directory), "KEEPSTEP_HOST": "127.0.0.1", "KEEPSTEP_PORT": "0"}
    with subprocess.Popen(
        command, cwd=ROOT, env=chosen | place, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    ) as service:
        try:
            assert service.stdout is not None
            json.loads(service.stdout.readline())  # it serves
            time.sleep(settle)
            before = _cpu_seconds(directory, service.pid)
            time.sleep(seconds)
            after = _cpu_seconds(directory, service.pid)
        finally:
            service.send_signal(signal.SIGTERM)
    return (after[0] - before[0]) / seconds, (after[1] - before[1]) / seconds


def _cpu_seconds(directory: Path, service: int) -> tuple[float, float]:
    postmaster = int((directory / "postgres/data/postmaster.pid").read_text().splitlines()[0])
    found = list(processes())
    keeper = next(parent for pid, parent, _ in found if pid == postmaster)
    ours = sum(seconds for pid, _, seconds in found if pid in (service, keeper))
    return ours, sum(seconds for pid, parent, seconds in found if postmaster in (pid, parent))


if __name__ == "__main__":
    sys.exit(main())
