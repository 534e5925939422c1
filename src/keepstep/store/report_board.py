"""What the pages of the ERP ask: each report of each agent by its newest runs, and the reports that were refused."""

from typing import Any

from keepstep.store.db import Connection
from keepstep.store.queries import queries

NEWEST = 48
"""So many runs of each connection are looked at."""
_SQL = queries("report_board")
Row = dict[str, Any]


async def cells(connection: Connection, integration: str) -> list[Row]:
    """One row for each schedule of a sync type: how its report does."""
    return await _all(connection, "cells", integration=integration, newest=NEWEST)


async def types(connection: Connection, integration: str, *, rounds: int) -> list[Row]:
    """What the newest runs of each type took and came to: in all, and by rounds of its interval."""
    return await _all(connection, "types", integration=integration, newest=NEWEST, rounds=rounds)


async def agents(connection: Connection, integration: str) -> list[Row]:
    """Who is on the list, and how their connections stand."""
    return await _all(connection, "agents", integration=integration)


async def history(connection: Connection, integration: str, report: str, agent: str, *, limit: int) -> list[Row]:
    """The newest runs of one report of one agent (empty: the shared one)."""
    return await _all(connection, "history", integration=integration, type=report, agent=agent or None, limit=limit)


async def refused(connection: Connection, integration: str) -> list[Row]:
    """The newest refused document of each report and agent, those first that nothing good has followed."""
    return await _all(connection, "refused", integration=integration)


async def documents(connection: Connection, integration: str, report: str, agent: str, *, limit: int) -> list[Row]:
    """What came last as one report of one agent."""
    return await _all(connection, "documents", integration=integration, report=report, agent=agent, limit=limit)


async def held(connection: Connection, integration: str) -> list[Row]:
    """Deletions that wait for a decision."""
    return await _all(connection, "held", integration=integration)


async def _all(connection: Connection, query: str, **parameters: Any) -> list[Row]:
    return await (await connection.execute(_SQL[query], parameters)).fetchall()
