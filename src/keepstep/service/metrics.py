"""What ``/metrics`` tells, all of it from the database: any process tells the same, whichever of them is asked."""

import asyncio
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.openmetrics import exposition as open_metrics

from keepstep.model.errors import KeepstepError
from keepstep.reliability import budgets
from keepstep.reliability.breaker import Phase
from keepstep.reliability.politeness import Politeness
from keepstep.service.readiness import SILENCE
from keepstep.store import alerts, queue, totals, vitals
from keepstep.store.db import Connection, Database
from keepstep.store.queue import QueueStats
from keepstep.store.totals import Total

PLAIN = "text/plain"
OPEN_METRICS = "application/openmetrics-text"
_PATIENCE = 10.0
"""Seconds that the database may take for all of it."""
_SNAPSHOT = b"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY"
Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Facts:
    """What the database knows at one moment. Rows are as ``store.vitals`` gives them."""

    totals: Sequence[Total]
    signs: Row
    lateness: float
    queue: QueueStats
    live_runs: Sequence[Row] = field(default_factory=list)
    limits: Sequence[Row] = field(default_factory=list)
    open_letters: Sequence[Row] = field(default_factory=list)
    open_held: Sequence[Row] = field(default_factory=list)
    open_alerts: Sequence[Row] = field(default_factory=list)


class Metrics:
    """Answers Prometheus. When the database is away, ``keepstep_database_up`` is 0 and the other series end."""

    def __init__(self, database: Database, *, version: str) -> None:
        self._database = database
        self._version = version

    async def exposition(self, accept: str) -> tuple[bytes, str]:
        """The text, and its media type: OpenMetrics where the ``Accept`` header asks for it."""
        families = Families(self._version, await self._facts())
        if OPEN_METRICS in accept.lower():
            text: bytes = open_metrics.generate_latest(families)  # type: ignore[no-untyped-call]
            return text, f"{OPEN_METRICS}; version=1.0.0; charset=utf-8"
        return generate_latest(families), f"{PLAIN}; version=0.0.4; charset=utf-8"

    async def _facts(self) -> Facts | None:
        try:
            async with (
                asyncio.timeout(_PATIENCE),
                self._database.connection() as connection,
                connection.transaction(),
            ):
                await connection.execute(_SNAPSHOT)
                return await _gather(connection)
        except (KeepstepError, TimeoutError):
            return None


async def _gather(connection: Connection) -> Facts:
    return Facts(
        totals=await totals.read(connection),
        signs=await vitals.signs(connection),
        lateness=await vitals.lateness(connection),
        queue=await queue.stats(connection, stale=SILENCE.total_seconds()),
        live_runs=await vitals.grouped(connection, "live_runs"),
        limits=await vitals.grouped(connection, "limits"),
        open_letters=await vitals.grouped(connection, "open_letters"),
        open_held=await vitals.grouped(connection, "open_held"),
        open_alerts=await alerts.counts(connection),
    )


class Families:
    """A registry of one moment: what prometheus_client's encoders write out. ``facts`` is None without a database."""

    def __init__(self, version: str, facts: Facts | None) -> None:
        self._version = version
        self._facts = facts

    def collect(self) -> Iterator[Metric]:
        """Every family, in the order of the documentation."""
        about = {"version": self._version, "python": platform.python_version()}
        yield _gauge("build_info", "What runs here; always 1.", [(about, 1)])
        yield _gauge("database_up", "Whether the database answered.", [({}, int(self._facts is not None))])
        if self._facts is not None:
            yield from _of_totals(self._facts.totals)
            yield from _of_now(self._facts)


def _of_totals(found: Sequence[Total]) -> Iterator[Metric]:
    def named(name: str) -> list[tuple[Mapping[str, str], float]]:
        return [(total.labels, total.value) for total in found if total.name == name]

    yield _counter("runs", "Runs that ended.", named("runs"))
    yield _counter("rows", "Records by what became of them; dry runs are left out.", named("rows"))
    yield _durations(named("run_seconds"), named("run_seconds_sum"))
    yield _gauge("last_success_timestamp_seconds", "End of the last run that succeeded.", named("last_success_at"))
    yield _counter("requests", "Requests sent upstream, by status code.", named("requests"))


def _of_now(facts: Facts) -> Iterator[Metric]:
    tick = facts.signs["tick"]
    yield _gauge(
        "scheduler_last_tick_timestamp_seconds", "Last sign of life of the scheduler.",
        [] if tick is None else [({}, tick.timestamp())],
    )  # fmt: skip
    yield _gauge("schedule_lateness_seconds", "How late the schedule that waits longest is.", [({}, facts.lateness)])
    yield _gauge("workers_alive", "Lanes of workers that were heard of lately.", [({}, facts.queue.workers)])
    states = {"todo": facts.queue.todo, "doing": facts.queue.doing}
    rows = [({"queue": name, "state": state}, n) for state, counts in states.items() for name, n in counts.items()]
    yield _gauge("queue_rows", "Attempts in the queue.", rows)
    yield _gauge("queue_oldest_seconds", "How long the run that waits longest for a worker has waited.",
                 [({}, facts.queue.oldest_seconds or 0.0)])  # fmt: skip
    yield _gauge("runs_live", "Runs that have not ended, by state.", _counted(facts.live_runs))
    yield _gauge("dead_letters_open", "Records that could not be applied.", _counted(facts.open_letters))
    yield _gauge("held_open", "Entities whose deletions wait for a person.", _counted(facts.open_held))
    yield _gauge("alerts_open", "Alerts that somebody must look at.", _counted(facts.open_alerts))
    yield from _of_limits(facts.limits, facts.signs["now"].timestamp())


def _of_limits(rows: Iterable[Row], now: float) -> Iterator[Metric]:
    """Several connections of an integration: how many breakers stand how, and what is left to the poorest."""
    standing: dict[tuple[str, str], int] = {}
    remaining: dict[str, int] = {}
    for row in rows:
        name, state = row["integration"], Politeness.stored(row["state"])
        for phase in Phase:
            there = row["connections"] if state.breaker.phase(now) is phase else 0
            standing[name, phase] = standing.get((name, phase), 0) + there
        budget = budgets.tightest(budgets.current(state.budgets, now))
        if budget is not None:
            remaining[name] = min(budget.remaining, remaining.get(name, budget.remaining))
    yield _gauge("breaker_state", "Connections whose breaker stands so.",
                 [({"integration": name, "state": phase}, n) for (name, phase), n in standing.items()])  # fmt: skip
    yield _gauge("rate_limit_remaining", "Requests that upstream says are left.",
                 [({"integration": name}, n) for name, n in remaining.items()])  # fmt: skip


def _counted(rows: Iterable[Row]) -> list[tuple[dict[str, str], float]]:
    """Every column but the last is a label."""
    found = []
    for row in rows:
        *labels, count = row
        found.append(({name: str(row[name]) for name in labels}, float(row[count])))
    return found


_LABELS = {
    "build_info": ("version", "python"),
    "runs": ("integration", "mode", "trigger", "result", "dry_run"),
    "rows": ("integration", "entity", "operation"),
    "run_duration_seconds": ("integration", "mode"),
    "last_success_timestamp_seconds": ("integration",),
    "requests": ("integration", "code"),
    "queue_rows": ("queue", "state"),
    "breaker_state": ("integration", "state"),
    "rate_limit_remaining": ("integration",),
    "runs_live": ("integration", "state"),
    "dead_letters_open": ("integration", "entity"),
    "held_open": ("integration", "entity"),
}
Samples = Iterable[tuple[Mapping[str, str], float]]


def _counter(name: str, words: str, samples: Samples) -> Metric:
    family = CounterMetricFamily(f"keepstep_{name}", words, labels=_LABELS.get(name, ()))
    return _filled(family, name, samples)


def _gauge(name: str, words: str, samples: Samples) -> Metric:
    family = GaugeMetricFamily(f"keepstep_{name}", words, labels=_LABELS.get(name, ()))
    return _filled(family, name, samples)


def _filled(family: CounterMetricFamily | GaugeMetricFamily, name: str, samples: Samples) -> Metric:
    for labels, value in sorted(samples, key=lambda sample: sorted(sample[0].items())):
        family.add_metric([labels.get(label, "") for label in _LABELS.get(name, ())], value)
    return family


def _durations(buckets: Samples, sums: Samples) -> Metric:
    """Stored is how many runs fell into each bucket; told is how many took at most so long."""
    name = "run_duration_seconds"
    family = HistogramMetricFamily(f"keepstep_{name}", "How long runs took, waits included.", labels=_LABELS[name])
    counts: dict[tuple[str, ...], dict[float, float]] = {}
    for labels, value in buckets:
        group = counts.setdefault(tuple(labels.get(label, "") for label in _LABELS[name]), {})
        group[float(labels["le"])] = value
    seconds = {tuple(labels.get(label, "") for label in _LABELS[name]): value for labels, value in sums}
    for key, group in sorted(counts.items()):
        bounds = sorted({*group, *totals.DURATIONS, float("inf")})
        cumulated = [(_bound(b), sum(n for bound, n in group.items() if bound <= b)) for b in bounds]
        family.add_metric(key, buckets=cumulated, sum_value=seconds.get(key, 0.0))
    return family


def _bound(bound: float) -> str:
    return "+Inf" if bound == float("inf") else repr(bound)
