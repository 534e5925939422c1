"""``python -m bench.pdf``: what reading a report costs beside pdfplumber's own extraction of its words.

Both take turns, each round in a process of its own; the best round of each counts. Every cell that was read is compared
with what was printed.
"""

import argparse
import io
import json
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

import pdfplumber

from bench.child import ROOT
from bench.report import about, machine
from keepstep.integrations.erp.emulator.ledger import Ledger
from keepstep.integrations.erp.emulator.options import EmulatorOptions
from keepstep.integrations.erp.emulator.press import Sheet, print_report
from keepstep.integrations.erp.layout import LAYOUTS
from keepstep.integrations.erp.parser import parse, words_of

REPORT = "products"
MOST_OVER = 0.20


def main() -> int:
    """Measure and print; 1 when our code takes more than its share."""
    parser = argparse.ArgumentParser(prog="python -m bench.pdf", description=__doc__)
    parser.add_argument("--rows", type=int, nargs="*", default=[120, 5000], help="rows of the reports")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of each")
    parser.add_argument("--child", nargs=2, metavar=("WHAT", "FILE"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        print(json.dumps(measured(options.child[0], Path(options.child[1]).read_bytes())))
        return 0
    print(about(machine()), file=sys.stderr)
    print("| report | pages | words alone, s | read and proven, s | over | ours alone, s | memory, MiB |")
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: |")
    worst = 0.0
    with tempfile.TemporaryDirectory() as directory:
        for rows in options.rows:
            for ruled in (False, True):
                worst = max(worst, compare(Path(directory), rows, ruled, options.rounds))
    return int(worst > MOST_OVER)


def compare(directory: Path, rows: int, ruled: bool, rounds: int) -> float:
    """One line of the table; gives how much more than the extraction alone the reading took."""
    ledger = Ledger(EmulatorOptions(**{REPORT: rows}))
    printed = print_report(Sheet(LAYOUTS[REPORT], ledger.rows(REPORT, ""), datetime.now(UTC), ruled=ruled))
    file = directory / f"{rows}{ruled}.pdf"
    file.write_bytes(printed.pdf)
    plain, ours = [], []
    for _ in range(rounds):
        plain.append(in_child("plain", file))
        ours.append(in_child("parse", file))
    keys = [LAYOUTS[REPORT].key_of(row) for row in ledger.rows(REPORT, "")]
    assert all(one["keys"] == keys for one in ours)
    words, whole = (min(one["seconds"] for one in found) for found in (plain, ours))
    own, memory = min(one["own"] for one in ours), max(one["memory"] for one in ours)
    name = f"{rows:,} rows, {'ruled' if ruled else 'unruled'}"
    over = own / (whole - own)
    print(
        f"| {name} | {printed.pages} | {words:.2f} | {whole:.2f} | {over:.1%} | {own:.2f} | {memory:.0f} |", flush=True
    )
    return over


def in_child(what: str, file: Path) -> dict[str, object]:
    """One round."""
    command = [sys.executable, "-m", "bench.pdf", "--child", what, str(file)]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    found: dict[str, object] = json.loads(done.stdout)
    return found


def measured(what: str, pdf: bytes) -> dict[str, object]:
    """CPU seconds of the whole and of what is ours, and the most memory, once the libraries are loaded."""
    in_pdfplumber = 0.0

    def timed(page: pdfplumber.page.Page) -> object:
        nonlocal in_pdfplumber
        began = time.process_time()
        found = words_of(page)
        in_pdfplumber += time.process_time() - began
        return found

    began = time.process_time()
    keys: list[str] = []
    if what == "plain":
        with pdfplumber.open(io.BytesIO(pdf)) as document:
            for page in document.pages:
                words_of(page)
                page.close()
    else:
        keys = list(parse(pdf, LAYOUTS[REPORT], words=timed).keys)
    seconds = time.process_time() - began
    own = seconds - in_pdfplumber if what == "parse" else 0.0
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": seconds, "own": own, "memory": memory, "keys": keys}


if __name__ == "__main__":
    sys.exit(main())
