"""Everything in the database that KEEPSTEP_SECRET_KEY encrypts: connections' credentials and secret settings."""

from dataclasses import dataclass

from keepstep.store.db import Connection
from keepstep.store.queries import queries

_SQL = queries("sealed")


@dataclass(frozen=True, slots=True)
class Sealed:
    """One value: the ``kind`` and ``id`` of its row, and the name of what it was sealed for (``owner``)."""

    kind: str
    id: str
    owner: str
    sealed: bytes


async def everything(connection: Connection, *, owners: int) -> list[Sealed]:
    """All that is shared, and the newest so many that belong to owners."""
    rows = await (await connection.execute(_SQL["everything"], {"owners": owners})).fetchall()
    return [Sealed(**{**row, "sealed": bytes(row["sealed"])}) for row in rows]


async def owned(connection: Connection, *, after: str, limit: int) -> list[Sealed]:
    """What belongs to owners, behind an id."""
    rows = await (await connection.execute(_SQL["owned"], {"after": after, "limit": limit})).fetchall()
    return [Sealed(**{**row, "sealed": bytes(row["sealed"])}) for row in rows]


async def renew(connection: Connection, old: Sealed, new: bytes) -> bool:
    """Put the same under another key; False when it is not what it was."""
    parameters = {"id": old.id, "old": old.sealed, "new": new}
    return await (await connection.execute(_SQL[f"renew_{old.kind}"], parameters)).fetchone() is not None
