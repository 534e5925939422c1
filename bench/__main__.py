"""``python -m bench``: Keepstep beside raw COPY and dlt, on one server, in one run."""

import argparse
import json
import os
import pstats
import shutil
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from bench import report
from bench.child import ROOT
from bench.contenders import Contender, everybody, versions
from bench.gates import Results, verdicts
from bench.measure import Measurement, Plan
from bench.stage import server

RESULTS = ROOT / "bench" / "results"
DOCUMENT = ROOT / "docs" / "performance.md"


def main() -> int:
    """Measure, print, keep; 1 when a promise was missed."""
    options = arguments()
    contenders = chosen(everybody(options.page_size), options.only)
    if not contenders:
        print("Nobody is left to be measured: --only takes beginnings of these names:", file=sys.stderr)
        print("  " + ", ".join(c.key for c in everybody(options.page_size)), file=sys.stderr)
        return 2
    facts = {"date": f"{datetime.now(UTC):%Y-%m-%d}", **report.machine(), **versions(), "rounds": str(options.rounds)}
    measurements: list[Measurement] = []

    def heard(measurement: Measurement) -> None:
        measurements.append(measurement)
        print(report.one_line(measurement), file=sys.stderr, flush=True)

    RESULTS.mkdir(parents=True, exist_ok=True)
    directory = Path(tempfile.mkdtemp(prefix="keepstep-bench-"))
    os.environ["PYTHONPYCACHEPREFIX"] = str(directory / "compiled")
    try:
        with server(directory / "home") as running:
            facts["PostgreSQL"] = running.version
            plan = Plan(running, directory, options.rounds, options.seed, heard, RESULTS if options.profile else None)
            plan.warm_up(contenders)
            for number, leases in enumerate(options.rows):
                plan.measure(leases, [c for c in contenders if number == 0 or options.only or not c.slow])
    finally:
        shutil.rmtree(directory, ignore_errors=True)
    results = Results(measurements)
    judged = verdicts(results)
    text = f"{report.about(facts)}\n\n{report.promises(judged)}\n\n{report.absolutes(results, contenders)}"
    print(f"\n{text}")
    keep(options.json, facts, measurements)
    if options.document:
        report.into_document(DOCUMENT, text)
    if options.profile:
        show_profiles()
    return 1 if any(verdict.kept is False for verdict in judged) else 0


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--rows", type=numbers, default=(100_000,), metavar="N[,N]", help="leases of the account; dlt does the first"
    )
    parser.add_argument("--full", action="store_true", help="add 1,000,000 leases (Keepstep and COPY)")
    parser.add_argument("--page-size", type=numbers, default=(1000, 100), metavar="N[,N]", help="Keepstep's page sizes")
    parser.add_argument(
        "--only", default="", help="beginnings of contenders' names, comma-separated: keepstep,copy,dlt best"
    )
    parser.add_argument("--rounds", type=int, default=1, help="repetitions; the fastest counts")
    parser.add_argument("--seed", type=int, default=1, help="of the emulated account")
    parser.add_argument("--profile", action="store_true", help="profile Keepstep's processes (they get slower)")
    parser.add_argument("--json", type=Path, help="where the results go (default: a new file in bench/results)")
    parser.add_argument("--document", action="store_true", help="put the tables into docs/performance.md")
    options = parser.parse_args()
    if options.full:
        options.rows = (*options.rows, 1_000_000)
    return options


def numbers(text: str) -> tuple[int, ...]:
    """``100_000,1000`` as numbers."""
    return tuple(int(part) for part in text.split(","))


def chosen(contenders: list[Contender], only: str) -> list[Contender]:
    """Those whose name begins with one of the parts. COPY brings Keepstep along: its table gives the text."""
    parts = [part.strip() for part in only.split(",") if part.strip()]
    picked = [c for c in contenders if not parts or any(c.key.startswith(part) for part in parts)]
    needs_text = any(c.key.startswith("copy") for c in picked) and not any(c.key.startswith("keepstep") for c in picked)
    return [contenders[0], *picked] if needs_text else picked


def keep(file: Path | None, facts: dict[str, str], measurements: list[Measurement]) -> None:
    """Write every single measurement down."""
    now = datetime.now(UTC)
    path = file or RESULTS / f"{now:%Y%m%d-%H%M%S}.json"
    content = {"at": now.isoformat(), "facts": facts, "measurements": [m.as_json() for m in measurements]}
    path.write_text(json.dumps(content, indent=1) + "\n")
    print(f"\nEvery measurement: {path}", file=sys.stderr)


def show_profiles() -> None:
    """The most expensive lines of each profile."""
    for path in sorted(RESULTS.glob("*.pstats")):
        print(f"\n{path.stem}")
        pstats.Stats(str(path)).sort_stats("tottime").print_stats(25)


if __name__ == "__main__":
    sys.exit(main())
