"""How the database is, and what lives in it: what ``keepstep doctor``, ``/readyz`` and ``/metrics`` ask it."""

from typing import Any, Literal

from keepstep.store.db import Connection
from keepstep.store.queries import queries

_QUERIES = queries("vitals")
Group = Literal["live_runs", "limits", "open_letters", "open_held"]


async def server(connection: Connection) -> dict[str, Any]:
    """``version``, ``now``, ``bytes``, ``read_only``, ``may_create``."""
    row = await (await connection.execute(_QUERIES["server"])).fetchone()
    assert row is not None  # noqa: S101 - one row by construction
    return row


async def stuck_runs(connection: Connection) -> list[int]:
    """Runs whose process is gone."""
    return [int(row["id"]) for row in await (await connection.execute(_QUERIES["stuck"])).fetchall()]


async def migrated_to(connection: Connection) -> int:
    """The number of the newest migration that was applied."""
    row = await (await connection.execute(_QUERIES["migrated_to"])).fetchone()
    return 0 if row is None else int(row["version"])


async def signs(connection: Connection) -> dict[str, Any]:
    """``now``, and the dispatcher's last ``tick`` (None when there never was one)."""
    row = await (await connection.execute(_QUERIES["signs"])).fetchone()
    assert row is not None  # noqa: S101 - one row by construction
    return row


async def workers(connection: Connection, *, patience: float) -> int:
    """Workers that were heard of within ``patience`` seconds. A process has one for each of its lanes."""
    row = await (await connection.execute(queries("queue")["workers"], {"stale": patience})).fetchone()
    return 0 if row is None else int(row["alive"])


async def is_work_expected(connection: Connection) -> bool:
    """Whether a schedule is on, or a run waits for a worker."""
    row = await (await connection.execute(_QUERIES["expected"])).fetchone()
    return bool(row and row["expected"])


async def grouped(connection: Connection, group: Group) -> list[dict[str, Any]]:
    """Counts by what they belong to; the count is the last column."""
    return await (await connection.execute(_QUERIES[group])).fetchall()


async def lateness(connection: Connection) -> float:
    """Seconds by which the schedule that has waited longest for its run is late; 0 when none is."""
    row = await (await connection.execute(_QUERIES["lateness"])).fetchone()
    return 0.0 if row is None else float(row["seconds"])
