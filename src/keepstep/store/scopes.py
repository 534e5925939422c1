"""Which connections somebody may see."""

from keepstep.model.schedule import Scope
from keepstep.store.db import Connection
from keepstep.store.queries import queries

_SQL = queries("scopes")


async def visible(connection: Connection, scope: Scope) -> list[int]:
    """The ids of the connections that a scope has."""
    cursor = await connection.execute(_SQL["visible"], {"shared": scope.shared, "owner": scope.owner})
    return [int(row["id"]) for row in await cursor.fetchall()]
