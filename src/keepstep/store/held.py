"""Deletions that wait for a person."""

from typing import Any

from psycopg import sql

from keepstep.store import runs
from keepstep.store.db import Connection
from keepstep.store.queries import queries
from keepstep.store.records import Destination
from keepstep.store.session import RunSession

_QUERIES = queries("held")


async def hold(
    connection: Connection, session: RunSession, destination: Destination, gone: sql.Composed, *, rows: int, live: int
) -> None:
    """Keep the keys that ``gone`` selects, and how the table stood."""
    which = {"run": session.run_id, "entity": destination.entity.name}
    await connection.execute(
        _QUERIES["put"],
        {**which, "connection": session.connection_id, "live_rows": live, "delete_rows": rows,
         "table_state": await destination.state(connection)},
    )  # fmt: skip
    await connection.execute(
        sql.SQL("INSERT INTO keepstep.held_keys (run_id, entity, key) SELECT {}, {}, u.key FROM ({}) u").format(
            sql.Literal(which["run"]), sql.Literal(which["entity"]), gone
        )
    )


async def void(connection: Connection, connection_id: int, entity: str, reason: str) -> None:
    """End an open decision that has lost its meaning, and with it the state of its run."""
    cursor = await connection.execute(
        _QUERIES["void"], {"connection": connection_id, "entity": entity, "reason": reason}
    )
    for run in await cursor.fetchall():
        await drop_keys(connection, run["run_id"], entity)
        await runs.settle_held(connection, run["run_id"], entity, deleted=0)


async def select(
    connection: Connection, *, state: str | None = None, run_id: int | None = None
) -> list[dict[str, Any]]:
    """Newest first, each with a ``sample`` of up to 20 keys."""
    return await (await connection.execute(_QUERIES["list"], {"state": state, "run": run_id})).fetchall()


async def decide(connection: Connection, run_id: int, entity: str, state: str, *, by: str, reason: str) -> bool:
    """Close a decision as approved, discarded or void. False: somebody was faster."""
    cursor = await connection.execute(
        _QUERIES["decide"], {"run": run_id, "entity": entity, "state": state, "by": by, "reason": reason}
    )
    return await cursor.fetchone() is not None


def keys(run_id: int, entity: str) -> sql.Composed:
    """Selects the held keys."""
    return sql.SQL("SELECT key FROM keepstep.held_keys WHERE run_id = {} AND entity = {}").format(
        sql.Literal(run_id), sql.Literal(entity)
    )


async def drop_keys(connection: Connection, run_id: int, entity: str) -> None:
    """The keys of a closed decision are of no use."""
    await connection.execute(_QUERIES["drop_keys"], {"run": run_id, "entity": entity})
