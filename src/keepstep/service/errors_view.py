"""Errors, each kind once: how often it came, when first and last, in which runs, and what upstream said."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from keepstep.reliability.fingerprint import fingerprint
from keepstep.service.shapes import Shape
from keepstep.store import history
from keepstep.store.db import Database

_MOST_LOOKED_AT = 5000
_MOST_RUNS = 20


class ErrorGroup(Shape):
    """One kind of error. ``sample`` is the newest of them as upstream gave it; ``runIds`` names the newest runs."""

    fingerprint: str
    code: str
    status: int | None
    path: str | None
    message: str
    fix: str
    count: int
    first_seen: datetime
    last_seen: datetime
    entities: list[str]
    run_ids: list[int]
    sample: dict[str, Any] | None


class Errors:
    """Answers what went wrong."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def groups(self, *, integration: str | None = None, entity: str | None = None) -> list[ErrorGroup]:
        """The kinds of error among the newest 5,000, the one seen last first."""
        async with self._database.connection() as connection:
            rows = await history.errors(connection, integration=integration, entity=entity, limit=_MOST_LOOKED_AT)
            kinds = grouped(rows)
            samples = await history.answers(connection, [found[0]["id"] for found in kinds.values()])
        return [_group(name, found, samples.get(found[0]["id"])) for name, found in kinds.items()]


def grouped(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Mapping[str, Any]]]:
    """Rows that are the same error, by fingerprint. Rows and groups stay in the order they come in.

    An error that ended its run is told twice, for the entity and for the run: it counts once.
    """
    names = [_fingerprint(row) for row in rows]
    of_entities = {(name, row["run_id"]) for name, row in zip(names, rows, strict=True) if row["entity"] is not None}
    found: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for name, row in zip(names, rows, strict=True):
        if row["entity"] is not None or (name, row["run_id"]) not in of_entities:
            found[name].append(row)
    return dict(found)


def _fingerprint(row: Mapping[str, Any]) -> str:
    return fingerprint(_status(row), row["path"] or "", row["snippet"] or row["message"] or row["code"])


def _status(row: Mapping[str, Any]) -> int | None:
    return int(row["status"]) if row["status"] is not None else None


def _group(name: str, rows: Sequence[Mapping[str, Any]], sample: dict[str, Any] | None) -> ErrorGroup:
    newest = rows[0]
    return ErrorGroup(
        fingerprint=name,
        code=newest["code"],
        status=_status(newest),
        path=newest["path"],
        message=newest["message"] or "",
        fix=newest["fix"] or "",
        count=len(rows),
        first_seen=min(row["ts"] for row in rows),
        last_seen=max(row["ts"] for row in rows),
        entities=_distinct(row["entity"] for row in rows if row["entity"] is not None),
        run_ids=_distinct(row["run_id"] for row in rows)[:_MOST_RUNS],
        sample=sample,
    )


def _distinct(values: Iterable[Any]) -> list[Any]:
    return list(dict.fromkeys(values))
