"""Who did what, when, with what result. Secrets are masked before anything is written."""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any

from keepstep.reliability.masking import masked_text, summary
from keepstep.service.scope import current
from keepstep.service.shapes import Shape
from keepstep.store import admin
from keepstep.store.db import Connection, Database

MOST_LISTED = 1000


class AuditEntry(Shape):
    """One act. ``payload`` is a summary with secrets masked."""

    id: int
    created_at: datetime
    user: str
    action: str
    payload: dict[str, Any]
    result: str


class Audit:
    """The admin log. ``secrets`` gives the values that must not be in it, under whatever name they come."""

    def __init__(self, database: Database, secrets: Callable[[], Iterable[str]] = tuple) -> None:
        self._database = database
        self._secrets = secrets

    async def record(
        self, user: str, action: str, payload: Mapping[str, object], result: str, *, within: Connection | None = None
    ) -> None:
        """Write one act: in the transaction of the change itself (``within``) where there is one."""
        if within is None:
            async with self._database.connection() as connection:
                await self._write(connection, user, action, payload, result)
        else:
            await self._write(within, user, action, payload, result)

    async def newest(
        self, *, limit: int = 100, before: int | None = None, user: str | None = None, action: str | None = None
    ) -> list[AuditEntry]:
        """Acts, newest first. ``before``: only those with a smaller id; ``action``: one, or all of ``run``."""
        most, scope = min(max(limit, 1), MOST_LISTED), current()
        async with self._database.connection() as connection:
            rows = await admin.newest(
                connection, limit=most, before=before, user=user, action=action, everything=scope.everything,
                owner=scope.owner,
            )  # fmt: skip
        return [AuditEntry(**row) for row in rows]

    async def names(self) -> tuple[list[str], list[str]]:
        """Everybody who did something lately, and everything that was done, each by name."""
        async with self._database.connection() as connection:
            return await admin.names(connection, everything=current().everything, owner=current().owner)

    async def _write(
        self, connection: Connection, user: str, action: str, payload: Mapping[str, object], result: str
    ) -> None:
        secrets = tuple(self._secrets())
        await admin.log(
            connection,
            user=masked_text(user, secrets),
            action=action,
            payload=summary(payload, secrets),
            result=masked_text(result, secrets),
        )
