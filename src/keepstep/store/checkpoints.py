"""Where an entity's reading goes on, and what is known of it between runs."""

from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from keepstep.model.integration import Json, Mode
from keepstep.store.db import Connection
from keepstep.store.queries import queries

_QUERIES = queries("checkpoints")


async def get(
    connection: Connection, connection_id: int, entity: str, mode: Mode, *, stale_hours: int
) -> dict[str, Any] | None:
    """The checkpoint of an unfinished reading, with ``stale`` when it is too old to go on with."""
    cursor = await connection.execute(
        _QUERIES["get"], {"connection": connection_id, "entity": entity, "mode": mode, "stale_hours": stale_hours}
    )
    return await cursor.fetchone()


async def put(
    connection: Connection,
    connection_id: int,
    entity: str,
    mode: Mode,
    *,
    run_id: int,
    cursor: Json | None,
    progress: Json,
) -> None:
    """Move the checkpoint. Only ever called in the transaction that wrote the page."""
    await connection.execute(
        _QUERIES["put"],
        {"connection": connection_id, "entity": entity, "mode": mode, "run": run_id,
         "cursor": None if cursor is None else Jsonb(cursor), "progress": Jsonb(progress)},
    )  # fmt: skip


async def drop(connection: Connection, connection_id: int, entity: str, mode: Mode) -> dict[str, Any] | None:
    """Forget an unfinished reading, and give what it was."""
    cursor = await connection.execute(_QUERIES["drop"], {"connection": connection_id, "entity": entity, "mode": mode})
    return await cursor.fetchone()


async def all_checkpoints(connection: Connection, owner: str | None = None) -> list[dict[str, Any]]:
    """Every unfinished reading of the connections that all share, or of an owner's."""
    return await (await connection.execute(_QUERIES["list"], {"owner": owner})).fetchall()


async def state(connection: Connection, connection_id: int, entity: str) -> dict[str, Any]:
    """Watermark, facts and last successes of an entity; empty values when it was never read."""
    cursor = await connection.execute(_QUERIES["state"], {"connection": connection_id, "entity": entity})
    row = await cursor.fetchone()
    return row or {"watermark": None, "facts": {}, "last_full_at": None, "last_delta_at": None}


async def all_states(connection: Connection, owner: str | None = None) -> list[dict[str, Any]]:
    """What is known of every entity of the same connections."""
    return await (await connection.execute(_QUERIES["states"], {"owner": owner})).fetchall()


async def put_facts(connection: Connection, connection_id: int, entity: str, facts: Json) -> None:
    """Keep what was learned of upstream."""
    await connection.execute(
        _QUERIES["put_facts"], {"connection": connection_id, "entity": entity, "facts": Jsonb(facts)}
    )


async def advance(
    connection: Connection, connection_id: int, entity: str, mode: Mode, watermark: datetime | None
) -> None:
    """A reading has ended: note when, and move the watermark forward (None: leave it)."""
    await connection.execute(
        _QUERIES["advance"], {"connection": connection_id, "entity": entity, "mode": mode, "watermark": watermark}
    )


async def reset(connection: Connection, connection_id: int, entity: str) -> None:
    """Make the next reading of an entity, delta or full, begin from nothing."""
    await connection.execute(_QUERIES["forget_readings"], {"connection": connection_id, "entity": entity})
    await connection.execute(_QUERIES["forget_watermark"], {"connection": connection_id, "entity": entity})
