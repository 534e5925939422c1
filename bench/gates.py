"""The promises about speed, and whether a set of measurements keeps them. Pure."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import inf

from bench.contenders import CHANGED, FIRST, NOTHING_NEW, UNCHANGED
from bench.measure import Measurement

MB = 1_000_000
SMALL, LARGE = 100_000, 1_000_000


@dataclass(frozen=True)
class Verdict:
    """One promise: in words, its limit, what was found (None: not measured), and whether that keeps it.

    ``by_cpu``: a ratio of CPU seconds, PostgreSQL's included, which hardly depends on what else the machine does.
    """

    promise: str
    limit: str
    found: str | None
    kept: bool | None
    by_cpu: str | None = None


class Results:
    """Measurements, to be asked for by size, contender and step."""

    def __init__(self, measurements: Iterable[Measurement]) -> None:
        self.all = list(measurements)

    def of(self, leases: int, contender: str, step: str) -> list[Measurement]:
        """In the order of the rounds."""
        return [m for m in self.all if (m.leases, m.contender, m.step) == (leases, contender, step)]

    def sizes(self) -> list[int]:
        """The numbers of leases that were measured, rising."""
        return sorted({m.leases for m in self.all})

    def fastest(self, leases: int, contender: str, step: str) -> Measurement | None:
        """The round that took the least time."""
        return min(self.of(leases, contender, step), key=lambda m: m.seconds, default=None)

    def most(self, leases: int, contender: str, steps: Sequence[str], what: Callable[[Measurement], int]) -> int | None:
        """The largest value of any round."""
        values = [what(m) for step in steps for m in self.of(leases, contender, step)]
        return max(values, default=None)


def verdicts(results: Results) -> list[Verdict]:
    """Every promise, judged at the smallest size measured (the last one needs two sizes)."""
    sizes = results.sizes()
    if not sizes:
        return []
    size = sizes[0]
    ours, small = "keepstep 1000", "keepstep 100"

    def ratio(words: str, slow: str, fast: str, step: str, *, least: float = 0, most: float = inf) -> Verdict:
        """Each in its fastest round: noise only ever adds time."""
        limit = f"≥ {least:g}" if least else f"≤ {most:g}"
        one, other = (results.fastest(size, contender, step) for contender in (slow, fast))
        if one is None or other is None:
            return Verdict(words, limit, None, None)
        time, cpu = one.seconds / other.seconds, one.all_cpu / other.all_cpu
        return Verdict(words, limit, f"{time:.2f}", least <= time <= most, f"{cpu:.2f}")

    def at_most(words: str, found: int | None, limit: int, unit: int = 1) -> Verdict:
        def shown(value: int) -> str:
            return f"{value / unit:.3g} MB" if unit == MB else str(value)

        kept = None if found is None else found <= limit
        return Verdict(words, f"≤ {shown(limit)}", None if found is None else shown(found), kept)

    readings = (FIRST, UNCHANGED, CHANGED)
    wal = results.most(size, ours, [UNCHANGED], lambda m: m.wal)
    requests = results.most(size, ours, [NOTHING_NEW], lambda m: m.requests)
    large = results.most(LARGE, ours, readings, lambda m: m.peak_rss)
    less = results.most(SMALL, ours, readings, lambda m: m.peak_rss)
    more = None if large is None or less is None else large - less
    far, far_dlt = "latency keepstep", "latency dlt default"
    return [
        ratio("first load: dlt as it comes / Keepstep", "dlt default", ours, FIRST, least=8),
        ratio("first load: dlt at its best / Keepstep", "dlt best", ours, FIRST, least=5),
        ratio("first load: Keepstep / COPY of ready text", ours, "copy", FIRST, most=2.2),
        ratio("unchanged: dlt at its best / Keepstep", "dlt best", ours, UNCHANGED, least=12),
        at_most("unchanged: WAL written", wal, MB, MB),
        ratio("1 % changed: dlt as it comes / Keepstep", "dlt default", ours, CHANGED, least=15),
        ratio("unchanged: pages of 100 / pages of 1,000", small, ours, UNCHANGED, most=1.3),
        ratio("first load 50 ms away: dlt as it comes / Keepstep", far_dlt, far, FIRST, least=10),
        at_most("delta with nothing new: requests", requests, 1),
        at_most("peak memory at 1,000,000 leases", large, 120 * MB, MB),
        at_most("peak memory at 1,000,000 over that at 100,000", more, 15 * MB, MB),
    ]
