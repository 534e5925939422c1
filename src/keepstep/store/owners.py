"""Connections of owners: their credentials, encrypted before they come here, their pauses, and how they do."""

from typing import Any

from keepstep.store.db import Connection
from keepstep.store.queries import queries

_SQL = queries("owners")
Row = dict[str, Any]
_GRAM, _FEW = 3, 2000
"""A search has groups of so many letters from so many letters on; and so many found are few among all."""


async def sealed(connection: Connection, integration: str, owner: str, *, locked: bool = False) -> bytes | None:
    """An owner's credentials. ``locked``: nobody else renews them until the caller's transaction ends."""
    row = await _one(connection, "sealed_locked" if locked else "sealed", integration=integration, owner=owner)
    return None if row is None else bytes(row["credentials"])


async def is_own(connection: Connection, integration: str, owner: str) -> bool:
    """Whether an owner's connection works with credentials of its owner only."""
    row = await _one(connection, "own", integration=integration, owner=owner)
    return row is not None and bool(row["own_credentials"])


async def struggles(connection: Connection, integration: str, owner: str) -> bool:
    """Whether upstream did not answer this owner's last run."""
    return await _one(connection, "struggles", integration=integration, owner=owner) is not None


async def renew(connection: Connection, integration: str, owner: str, credentials: bytes) -> None:
    """Others in their place."""
    values = {"integration": integration, "owner": owner, "credentials": credentials}
    await connection.execute(_SQL["renew"], values)


async def connect(connection: Connection, integration: str, owner: str, credentials: bytes) -> int:
    """An owner's connection has credentials now, whatever became of earlier ones; gives its id."""
    row = await _one(connection, "connect", integration=integration, owner=owner, credentials=credentials)
    assert row is not None  # noqa: S101 - an upsert returns a row
    return int(row["id"])


async def make_due(connection: Connection, connection_id: int) -> None:
    """Let what is enabled begin at once, if the connection can be used."""
    await connection.execute(_SQL["make_due"], {"connection": connection_id})


async def disconnect(connection: Connection, integration: str, owner: str) -> bool:
    """Forget an owner's credentials; False where there are none."""
    return await _one(connection, "disconnect", integration=integration, owner=owner) is not None


async def refuse(connection: Connection, integration: str, owner: str, reason: str) -> bool:
    """Upstream does not take the credentials any more; False where that is known."""
    return await _one(connection, "refuse", integration=integration, owner=owner, reason=reason) is not None


async def pause(connection: Connection, integration: str, owner: str, *, reason: str, by: str) -> bool:
    """Let nothing begin; False where there is no such connection."""
    return await _one(connection, "pause", integration=integration, owner=owner, reason=reason, by=by) is not None


async def resume(connection: Connection, integration: str, owner: str) -> bool:
    """End a pause; False where there is no such connection."""
    return await _one(connection, "resume", integration=integration, owner=owner) is not None


async def select(
    connection: Connection, *, integration: str | None = None, owner: str | None = None, state: str | None = None,
    failing: bool = False, search: str | None = None, after: int | None = None, limit: int = 100, users: bool = False,
) -> list[Row]:  # fmt: skip
    """Owners' connections by integration and owner. ``after``: only those behind the one of that id; ``users``: none
    of agents.
    """
    among = None
    if search is not None and owner is None and len(search) >= _GRAM:
        among = await _sought(connection, search, integration)
    given: Row = {
        "integration": integration, "owner": owner, "state": state, "failing": failing, "after": after, "limit": limit,
        "search": search if among is None else None, "among": among, "users": users,
    }  # fmt: skip
    return await (await connection.execute(_SQL["list"], given)).fetchall()


async def named(connection: Connection, user: str) -> str | None:
    """The owner of that id, or the user of that name; None where there is neither."""
    row = await _one(connection, "named", user=user)
    return None if row is None else str(row["owner_id"])


async def counts(connection: Connection, *, integration: str | None = None) -> list[Row]:
    """How many connections of owners there are in each state."""
    return await (await connection.execute(_SQL["counts"], {"integration": integration})).fetchall()


async def troubles(connection: Connection, integration: str) -> Row:
    """How many connections of owners there were ever made, are refused, and keep failing."""
    row = await _one(connection, "troubles", integration=integration)
    assert row is not None  # noqa: S101 - an aggregate returns a row
    return row


async def history(connection: Connection, integration: str, owner: str, *, before: int | None, limit: int) -> list[int]:
    """The ids of an owner's runs, newest first."""
    given = {"integration": integration, "owner": owner, "before": before, "limit": limit}
    return [int(row["id"]) for row in await (await connection.execute(_SQL["history"], given)).fetchall()]


async def _sought(connection: Connection, search: str, integration: str | None) -> list[int] | None:
    """The ids of all whom a search finds; None where they are not few."""
    given = {"search": search, "integration": integration, "most": _FEW}
    rows = await (await connection.execute(_SQL["sought"], given)).fetchall()
    found = {int(row["id"]) for row in rows}
    return sorted(found) if len(rows) < _FEW else None


async def _one(connection: Connection, query: str, **parameters: Any) -> Row | None:
    return await (await connection.execute(_SQL[query], parameters)).fetchone()
