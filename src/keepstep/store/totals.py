"""Counters that only grow, for ``/metrics``: every process tells the same, and a restart loses none.

A run that ends writes no counter: with thousands of runs a second all of them would wait for the same few rows. What
it did stands in its own row and those of its entities. Housekeeping adds ended runs to ``keepstep.totals``, many at a
time, and marks them as counted in the same transaction; a reader adds those that are not counted yet. Both see each run
once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from psycopg.types.json import Jsonb

from keepstep.store.db import Connection
from keepstep.store.queries import queries

_QUERIES = queries("totals")
DURATIONS = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0, 7200.0, 21600.0)
"""Upper bounds, in seconds, of the durations that are told apart. Others may be added; counts under old ones stay."""


@dataclass(frozen=True, slots=True)
class Total:
    """One counter with its labels, or one moment in seconds since 1970 (a name that ends in ``_at``)."""

    name: str
    labels: Mapping[str, str]
    value: float


async def add(connection: Connection, totals: Sequence[Total]) -> None:
    """Add to counters, in the caller's transaction; it holds their rows until it ends."""
    if totals:
        rows = [{"name": t.name, "labels": dict(t.labels), "value": t.value} for t in totals]
        await connection.execute(_QUERIES["add"], {"totals": Jsonb(rows)})


async def count_ended(connection: Connection, *, limit: int = 1000) -> int:
    """Make ended runs part of the totals, in a transaction of its own; gives how many."""
    async with connection.transaction():
        runs = [int(row["id"]) for row in await _rows(connection, "claim_ended", {"limit": limit})]
        if runs:
            # A statement of its own: its snapshot is younger than the locks on the runs.
            await add(connection, await _tally(connection, runs))
            await connection.execute(_QUERIES["mark_counted"], {"runs": runs})
    return len(runs)


async def read(connection: Connection) -> list[Total]:
    """Every counter as it is now. The caller's transaction must see one snapshot (repeatable read)."""
    stored = [Total(**row) for row in await _rows(connection, "all", {})]
    runs = [int(row["id"]) for row in await _rows(connection, "beside", {})]
    return merged([*stored, *(await _tally(connection, runs) if runs else [])])


def merged(totals: Sequence[Total]) -> list[Total]:
    """One total for each name and labels: counters added up, of moments the last."""
    found: dict[tuple[str, tuple[tuple[str, str], ...]], Total] = {}
    for total in totals:
        key = (total.name, tuple(sorted(total.labels.items())))
        known = found.get(key)
        if known is not None:
            value = max(known.value, total.value) if total.name.endswith("_at") else known.value + total.value
            total = Total(total.name, total.labels, value)
        found[key] = total
    return list(found.values())


async def deleted_later(connection: Connection, run_id: int, entity: str, count: int) -> None:
    """Held deletions of a run are carried out: say so before they are written to the run, in the same transaction."""
    [run] = await _rows(connection, "claim_held", {"run": run_id})
    if count and run["counted"]:
        labels = {"integration": run["integration"], "entity": entity, "operation": "deleted"}
        await add(connection, [Total("rows", labels, count)])


async def _tally(connection: Connection, runs: Sequence[int]) -> list[Total]:
    rows = await _rows(connection, "tally", {"runs": list(runs), "bounds": list(DURATIONS)})
    return [Total(**row) for row in rows]


async def _rows(connection: Connection, name: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
    return await (await connection.execute(_QUERIES[name], parameters)).fetchall()
