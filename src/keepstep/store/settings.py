"""What people chose for settings that the environment leaves open."""

from typing import Any

from psycopg.types.json import Jsonb

from keepstep.store.db import Connection
from keepstep.store.queries import queries

_QUERIES = queries("settings")


async def everything(connection: Connection) -> dict[str, Any]:
    """The values by name."""
    cursor = await connection.execute(_QUERIES["all"])
    return {row["name"]: row["value"] for row in await cursor.fetchall()}


async def put(connection: Connection, name: str, value: object, *, by: str) -> None:
    """Keep a value."""
    await connection.execute(_QUERIES["put"], {"name": name, "value": Jsonb(value), "by": by})


async def drop(connection: Connection, name: str) -> bool:
    """Forget a value; whether there was one."""
    cursor = await connection.execute(_QUERIES["drop"], {"name": name})
    return await cursor.fetchone() is not None
