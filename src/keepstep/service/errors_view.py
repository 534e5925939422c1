"""Errors, each kind once: how often it came, when first and last, in which runs, and what upstream said."""

from datetime import datetime, timedelta
from typing import Annotated, Any

from keepstep.model.diagnosis import fault_of
from keepstep.service.scope import visible
from keepstep.service.shapes import Diagnosed, Shape, diagnosed, one_of
from keepstep.store import errors
from keepstep.store.db import Database

MOST_LISTED = 500


class ErrorGroup(Shape, Diagnosed):
    """One kind of error: the same status, path and words, whatever numbers, ids and times stand in them.

    ``state``: ``open``; ``resolved`` when it was not seen for a day, at ``resolvedAt``; ``reopened`` when it came again
    after that. ``openedAt``: when its latest episode of ``episodes`` began. ``sample`` is the newest of them as
    upstream gave it; ``runIds`` names the newest runs, at most 20.
    """

    integration: str
    fingerprint: str
    state: Annotated[str, one_of("open", "reopened", "resolved")]
    code: str
    title: str
    status: int | None
    path: str | None
    message: str
    fix: str
    count: int
    first_seen: datetime
    last_seen: datetime
    episodes: int
    opened_at: datetime
    resolved_at: datetime | None
    entities: list[str]
    run_ids: list[int]
    sample: dict[str, Any] | None


class Errors:
    """Answers what went wrong."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def groups(self, *, integration: str | None = None, entity: str | None = None) -> list[ErrorGroup]:
        """Every kind, the one seen last first, at most 500."""
        async with self._database.connection() as connection:
            rows = await errors.groups(
                connection, integration=integration, entity=entity, limit=MOST_LISTED, only=await visible(connection)
            )
        return [_group(row) for row in rows]


def _group(row: dict[str, Any]) -> ErrorGroup:
    fault = fault_of(row["code"])
    over: timedelta = errors.OVER_AFTER
    more = {**diagnosed(row["code"]), "code": row["code"]}
    return ErrorGroup(
        **{**row, **more},
        title=fault.title if fault else row["code"].replace("-", " ").capitalize(),
        resolved_at=row["last_seen"] + over if row["state"] == "resolved" else None,
    )
