"""The measurements as Markdown tables, which read well in a terminal too."""

import os
import platform
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.contenders import STEPS, Contender
from bench.gates import MB, Results, Verdict
from bench.measure import Measurement

BEGIN, END = "<!-- results -->", "<!-- end of results -->"


def machine() -> dict[str, str]:
    """What this ran on."""
    cpu = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text())
    memory = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text())
    return {
        "processor": f"{cpu[1].strip() if cpu else platform.machine()}, {os.cpu_count()} logical cores",
        "memory": f"{int(memory[1]) / 1024 / 1024:.0f} GiB" if memory else "unknown",
        "Python": platform.python_version(),
        "load average at the start": f"{os.getloadavg()[0]:.1f}",
    }


def about(facts: Mapping[str, str]) -> str:
    """One line of facts."""
    return "; ".join(f"{name} {value}" for name, value in facts.items()) + "."


def one_line(measurement: Measurement) -> str:
    """A result as it comes."""
    m = measurement
    speed = f"{m.seconds:7.2f} s  {m.rows_per_second:9,.0f} rows/s  cpu {m.cpu:6.2f} + {m.server_cpu:6.2f} s"
    use = f"wal {m.wal / MB:7.2f} MB  peak {m.peak_rss / MB:6.1f} MB  {m.requests:>5} requests"
    return f"{m.leases:>9,}  round {m.round}  {m.contender:<20} {m.step:<18} {speed}  {use}"


def absolutes(results: Results, contenders: Sequence[Contender]) -> str:
    """The fastest round of every contender and step, by size."""
    head = [
        "leases",
        "step",
        "contender",
        "seconds",
        "rows/s",
        "CPU s",
        "PostgreSQL CPU s",
        "WAL MB",
        "peak MB",
        "requests",
    ]
    rows = []
    for leases in results.sizes():
        for step in STEPS:
            for contender in contenders:
                m = results.fastest(leases, contender.key, step)
                if m:
                    rows.append([f"{leases:,}", step, contender.title, *_cells(m)])
    return _table(head, rows, left=3)


def _cells(m: Measurement) -> list[str]:
    return [
        f"{m.seconds:.2f}",
        f"{m.rows_per_second:,.0f}",
        f"{m.cpu:.2f}",
        f"{m.server_cpu:.2f}",
        f"{m.wal / MB:.2f}",
        f"{m.peak_rss / MB:.1f}",
        f"{m.requests}",
    ]


def promises(verdicts: Sequence[Verdict]) -> str:
    """The ratios, each beside its limit."""
    words = {True: "kept", False: "**missed**", None: "not measured"}
    rows = [[v.promise, words[v.kept], v.limit, v.found or "", v.by_cpu or ""] for v in verdicts]
    return _table(["ratio", "", "limit", "found", "by CPU time"], rows, left=2)


def into_document(path: Path, text: str) -> None:
    """Replace the results that a document shows. Raises ValueError where it has no place for them."""
    before, begin, rest = path.read_text("utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"{path} has no lines {BEGIN} and {END}")
    path.write_text(f"{before}{begin}\n{text}\n{end}{after}", "utf-8")


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], *, left: int) -> str:
    widths = [max(len(line[i]) for line in (head, *rows)) for i in range(len(head))]

    def line(cells: Sequence[str]) -> str:
        fitted = [
            cell.ljust(width) if i < left else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, widths, strict=True))
        ]
        return "| " + " | ".join(fitted) + " |"

    rule = ["-" * width if i < left else "-" * (width - 1) + ":" for i, width in enumerate(widths)]
    return "\n".join([line(head), "|" + "|".join(f" {r} " for r in rule) + "|", *map(line, rows)])
