"""Connections' credentials, encrypted before they come here."""

from typing import Any

from keepstep.store.db import Connection
from keepstep.store.queries import queries

_SQL = queries("connections")


async def put_credentials(
    connection: Connection, integration: str, credentials: bytes, *, owner: str | None = None
) -> dict[str, Any]:
    """Store credentials; gives ``credentials_set_at``. In a transaction of the caller's."""
    parameters = {"integration": integration, "owner": owner, "credentials": credentials}
    row = await (await connection.execute(_SQL["put_credentials"], parameters)).fetchone()
    assert row is not None  # noqa: S101 - an upsert returns a row
    return row


async def remove_credentials(connection: Connection, integration: str, *, owner: str | None = None) -> bool:
    """Forget credentials; False when there were none. In a transaction of the caller's."""
    parameters = {"integration": integration, "owner": owner}
    return await (await connection.execute(_SQL["remove_credentials"], parameters)).fetchone() is not None


async def with_credentials(connection: Connection) -> list[dict[str, Any]]:
    """Every shared connection that has stored credentials."""
    return await (await connection.execute(_SQL["with_credentials"])).fetchall()
