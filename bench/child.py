"""Both ends of a measured process: it meters itself, and tells its parent in one line of JSON."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
_MARK = "BENCH "


@contextmanager
def metered() -> Iterator[dict[str, Any]]:
    """Meters the block, in the child. The dict may be given more; all of it is told at the end of the block.

    Time and CPU are the block's own, without the start of Python and the imports. The peak is the whole process's.
    """
    told: dict[str, Any] = {}
    before, started = os.times(), time.perf_counter()
    yield told
    wall, after = time.perf_counter() - started, os.times()
    children = after.children_user + after.children_system - before.children_user - before.children_system
    told |= {
        "seconds": wall,
        "cpu": after.user + after.system - before.user - before.system,
        "children_cpu": children,
        "peak_rss": _peak_rss(),
    }
    print(_MARK + json.dumps(told), flush=True)


def _peak_rss() -> int:
    status = Path("/proc/self/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) * 1024 if found else 0


def run_child(module: str, arguments: Sequence[str], environment: Mapping[str, str]) -> dict[str, Any]:
    """Run ``python -m bench.MODULE`` to its end and give what it told. Raises RuntimeError with its last words."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [sys.executable, "-m", f"bench.{module}", *arguments],
        cwd=ROOT,
        env={**inherited, "NO_PROXY": "127.0.0.1,localhost", **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    told = [line for line in done.stdout.splitlines() if line.startswith(_MARK)]
    if done.returncode or not told:
        words = (done.stderr + done.stdout)[-3000:]
        raise RuntimeError(f"bench.{module} {' '.join(arguments)} ended with {done.returncode}:\n{words}")
    answer: dict[str, Any] = json.loads(told[-1].removeprefix(_MARK))
    return answer
