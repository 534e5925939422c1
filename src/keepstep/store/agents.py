"""The ERP's agents, and what is asked for of many of them at once (``migrations/0017``)."""

from collections.abc import Mapping, Sequence
from typing import Any

from keepstep.store.db import Connection
from keepstep.store.queries import queries

_SQL = queries("agents")
Row = dict[str, Any]


async def select(connection: Connection, *, code: str | None = None) -> list[Row]:
    """The agents in the order of their codes, with how each does; or one of them."""
    return await (await connection.execute(_SQL["all"], {"code": code})).fetchall()


async def lock(connection: Connection, code: str) -> Row | None:
    """An agent, held until the caller's transaction ends."""
    return await (await connection.execute(_SQL["lock"], {"code": code})).fetchone()


async def add(connection: Connection, code: str, *, name: str, enabled: bool, by: str) -> bool:
    """Add an agent; False where there is one of that code. Connection and schedules follow by themselves."""
    asked = {"code": code, "name": name, "enabled": enabled, "by": by}
    return await (await connection.execute(_SQL["add"], asked)).fetchone() is not None


async def change(connection: Connection, code: str, *, name: str | None, enabled: bool | None, by: str) -> None:
    """Set what is given."""
    await connection.execute(_SQL["change"], {"code": code, "name": name, "enabled": enabled, "by": by})


async def remove(connection: Connection, code: str) -> bool:
    """Take an agent off the list; False where there is none."""
    return await (await connection.execute(_SQL["remove"], {"code": code})).fetchone() is not None


async def enabled(connection: Connection) -> list[str]:
    """The codes of those whose reports are read."""
    return [row["code"] for row in await (await connection.execute(_SQL["enabled"])).fetchall()]


async def is_enabled(connection: Connection, code: str) -> bool | None:
    """Whether an agent's reports are read; None for one who is not on the list."""
    row = await (await connection.execute(_SQL["is_enabled"], {"code": code})).fetchone()
    return None if row is None else bool(row["enabled"])


async def give(connection: Connection, names: Sequence[str]) -> None:
    """What the environment of this process gives: ``credentials``, ``base_url``. What waited for it is due."""
    await connection.execute(_SQL["give"], {"names": sorted(names)})


async def disconnect(connection: Connection, code: str) -> bool:
    """Forget an agent's own credentials; False where there are none."""
    return await (await connection.execute(_SQL["disconnect"], {"code": code})).fetchone() is not None


async def is_ready(connection: Connection) -> bool:
    """Whether processes that start runs can ask the ERP with the service account."""
    row = await (await connection.execute(_SQL["is_ready"])).fetchone()
    return row is not None and bool(row["ready"])


async def run_now(connection: Connection, sync_type: str, *, agent: str | None, mode: str, by: str) -> list[Row]:
    """Queue a run of a type for every connection that has it, or for one agent's; ``run`` is None where one is live.

    In a transaction of the caller's.
    """
    asked = {"type": sync_type, "agent": agent, "mode": mode, "by": by}
    rows = await (await connection.execute(_SQL["run_now"], asked)).fetchall()
    if queued := [row["run"] for row in rows if row["run"] is not None]:
        await connection.execute(_SQL["enqueue"], {"runs": queued})
    return rows


async def busy(connection: Connection, connections: Sequence[int]) -> Mapping[int, Row]:
    """The live run of each connection, by its id."""
    rows = await (await connection.execute(_SQL["busy"], {"connections": list(connections)})).fetchall()
    return {row["connection_id"]: row for row in rows}


async def make_due(connection: Connection, sync_type: str, connections: Sequence[int]) -> frozenset[int]:
    """Make a type of these connections due now; gives those of them that have it enabled."""
    asked = {"type": sync_type, "connections": list(connections)}
    rows = await (await connection.execute(_SQL["make_due"], asked)).fetchall()
    return frozenset(row["connection_id"] for row in rows)


async def live(connection: Connection) -> list[str]:
    """The agents who have a live run."""
    return [row["agent"] for row in await (await connection.execute(_SQL["live"])).fetchall()]


async def unwanted(connection: Connection) -> list[str]:
    """The agents who have a live run and are not on the list."""
    return [row["agent"] for row in await (await connection.execute(_SQL["unwanted"])).fetchall()]
