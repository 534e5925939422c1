"""The log of what people did."""

from collections.abc import Mapping

from psycopg.types.json import Jsonb

from keepstep.store.db import Connection
from keepstep.store.queries import queries

_EVENTS = queries("events")


async def log(connection: Connection, *, user: str, action: str, payload: Mapping[str, object], result: str) -> None:
    """One act. ``payload`` must hold no secret."""
    await connection.execute(
        _EVENTS["admin"], {"user": user, "action": action, "payload": Jsonb(dict(payload)), "result": result}
    )
