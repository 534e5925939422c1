"""The log of what people did: ``log`` is the only way into it."""

from collections.abc import Mapping
from typing import Any

from psycopg.types.json import Jsonb

from keepstep.reliability.masking import summary
from keepstep.store.db import Connection
from keepstep.store.queries import queries

_EVENTS = queries("events")
_MOST_NAMED = 1000
"""Of so many acts the names are told."""


async def log(connection: Connection, *, user: str, action: str, payload: Mapping[str, object], result: str) -> None:
    """One act. What ``payload`` names as a secret is masked; one under another name must not be in it."""
    await connection.execute(
        _EVENTS["admin"], {"user": user, "action": action, "payload": Jsonb(summary(payload)), "result": result}
    )


async def newest(
    connection: Connection,
    *,
    limit: int,
    before: int | None = None,
    user: str | None = None,
    action: str | None = None,
    everything: bool = True,
    owner: str | None = None,
) -> list[dict[str, Any]]:
    """Acts, newest first. ``before``: only those with a smaller id; ``action``: one, or what comes before its dot.

    Without ``everything`` those that concern another one than ``owner`` are left out.
    """
    given = {
        "limit": limit, "before": before, "user": user, "action": action, "everything": everything, "owner": owner,
    }  # fmt: skip
    return await (await connection.execute(_EVENTS["admin_newest"], given)).fetchall()


async def names(
    connection: Connection, *, everything: bool = True, owner: str | None = None
) -> tuple[list[str], list[str]]:
    """Everybody who did something lately, and what was done, each by name; ``everything`` as for ``newest``."""
    given = {"everything": everything, "owner": owner, "most": _MOST_NAMED}
    row = await (await connection.execute(_EVENTS["admin_names"], given)).fetchone()
    return (row["users"] or [], row["actions"] or []) if row else ([], [])
