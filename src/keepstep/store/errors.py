"""Errors by their kind: counted in the transaction that writes a failure down."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from psycopg.types.json import Jsonb

from keepstep.model.run import Event
from keepstep.reliability.fingerprint import fingerprint
from keepstep.store.db import Connection
from keepstep.store.queries import queries

OVER_AFTER = timedelta(hours=24)
"""What was not seen for so long is resolved; when it returns it is reopened."""
MOST_RUNS = 20
_SQL = queries("errors")
_FAILURES = ("entity-failed", "run-failed", "run-waiting")


def is_failure(event: Event) -> bool:
    """Whether an event tells of an error."""
    return event.type in _FAILURES and "code" in event.data


async def count(connection: Connection, owner: int, run_id: int, event: Event) -> None:
    """One more error of its kind, in the caller's transaction."""
    error, answer = event.data, event.data.get("answer") or {}
    status, path = answer.get("status"), answer.get("path")
    text = (answer.get("snippet") or "") or error.get("message") or error["code"]
    await connection.execute(
        _SQL["count"],
        {"connection": owner, "fingerprint": fingerprint(status, path or "", text), "code": error["code"],
         "status": status, "path": path, "message": error.get("message") or "", "fix": error.get("fix") or "",
         "sample": Jsonb(answer) if answer else None, "entity": event.entity, "run": run_id,
         "ended_run": event.type == "run-failed", "over_after": OVER_AFTER.total_seconds(), "most_runs": MOST_RUNS},
    )  # fmt: skip


async def groups(
    connection: Connection,
    *,
    integration: str | None = None,
    entity: str | None = None,
    limit: int = 500,
    only: Sequence[int] | None = None,
) -> list[dict[str, Any]]:
    """Every kind with its ``state`` (open, reopened, resolved), the one seen last first."""
    cursor = await connection.execute(
        _SQL["groups"],
        {
            "integration": integration,
            "entity": entity,
            "limit": limit,
            "only": only,
            "over_after": OVER_AFTER.total_seconds(),
        },
    )
    return await cursor.fetchall()


async def prune(connection: Connection, *, older: timedelta, limit: int) -> int:
    """Forget up to ``limit`` kinds that were not seen for so long; gives their number."""
    return (await connection.execute(_SQL["prune"], {"older": older.total_seconds(), "limit": limit})).rowcount
