"""Reads: what the command line, the API and the page show."""

from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypeVar

from pydantic.alias_generators import to_camel

from keepstep.model.diagnosis import explained
from keepstep.model.errors import NotFound
from keepstep.service.scope import is_hidden, visible
from keepstep.service.shapes import (
    CheckpointView,
    DeadLetterDetail,
    DeadLetterPage,
    DeadLetterSummary,
    EntityRun,
    HeldDeletions,
    LetterCount,
    LoggedEvent,
    PageView,
    RunDetail,
    RunSummary,
    Shape,
)
from keepstep.store import checkpoints, dead_letters, held, history, runs
from keepstep.store.db import Database

MOST_LISTED = 1000
S = TypeVar("S", bound=Shape)
_SUMS = ("rows", "inserted", "updated", "unchanged", "deleted", "dead_lettered", "requests")


class Views:
    """Answers questions; changes nothing."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def runs(
        self, *, limit: int = 50, entity: str | None = None, result: str | None = None, before: int | None = None
    ) -> list[RunSummary]:
        """Runs, newest first. ``before``: only runs with a smaller id."""
        async with self._database.connection() as connection:
            rows = await runs.newest(
                connection, limit=min(max(limit, 1), MOST_LISTED), entity=entity, result=result, before=before,
                only=await visible(connection),
            )  # fmt: skip
        return [_run(row) for row in rows]

    async def runs_of(self, ids: Sequence[int]) -> list[RunSummary]:
        """These runs, newest first."""
        async with self._database.connection() as connection:
            rows = await runs.get_several(connection, ids)
        return [_run(row) for row in rows if not is_hidden(row["of_user"])]

    async def run(self, run_id: int) -> RunSummary:
        """One run. Raises ``NotFound`` when there is none of that id."""
        async with self._database.connection() as connection:
            row = await runs.get(connection, run_id)
        if row is None or is_hidden(row["of_user"]):
            raise NotFound(f"There is no run {run_id}.", fix="List the runs with: keepstep runs")
        return _run(row)

    async def run_detail(self, run_id: int, *, before: int | None = None, limit: int = 500) -> RunDetail:
        """One run with its newest events, or the newest before one. Raises ``NotFound``."""
        run = await self.run(run_id)
        async with self._database.connection() as connection:
            rows = await history.events_before(connection, run_id, before=before, limit=limit + 1)
        shown = rows[len(rows) - limit :] if len(rows) > limit else rows
        return RunDetail(
            **dict(run),
            pages=[_page(row) for row in shown if row["type"] == "page"],
            events=[_shaped(LoggedEvent, row) for row in shown],
            events_before=shown[0]["id"] if shown and len(rows) > limit else None,
        )

    async def events(self, run_id: int, *, after: int = 0) -> list[LoggedEvent]:
        """A run's events in order, from an event id on. Raises ``NotFound``."""
        await self.run(run_id)
        async with self._database.connection() as connection:
            return [_shaped(LoggedEvent, row) for row in await runs.events(connection, run_id, after=after)]

    async def dead_letters(
        self, *, entity: str | None = None, state: str | None = "open", reason: str | None = None, limit: int = 100,
        before: int | None = None,
    ) -> DeadLetterPage:  # fmt: skip
        """Dead letters, newest first. ``reason``: a whole one, or a kind; ``before``: only those with a smaller id; the
        count is of all.
        """
        most = min(max(limit, 1), MOST_LISTED)
        async with self._database.connection() as connection:
            only = await visible(connection)
            rows = await dead_letters.select(
                connection, entity=entity, state=state, reason=reason, limit=most, before=before, only=only
            )
            count = await dead_letters.count(connection, entity=entity, state=state, reason=reason, only=only)
        return DeadLetterPage(items=[_shaped(DeadLetterSummary, row) for row in rows], count=count)

    async def letters_tally(self) -> list[LetterCount]:
        """How many dead letters there are of each entity, kind and state."""
        async with self._database.connection() as connection:
            tally = await dead_letters.tally(connection, only=await visible(connection))
        return [LetterCount(**row) for row in tally]

    async def dead_letter(self, letter_id: int) -> DeadLetterDetail:
        """One dead letter with its payload. Raises ``NotFound`` when there is none of that id."""
        async with self._database.connection() as connection:
            rows = await dead_letters.get(connection, [letter_id])
        if not rows or is_hidden(rows[0]["of_user"]):
            raise NotFound(f"There is no dead letter {letter_id}.", fix="List them with: keepstep dlq list")
        payload = bytes(rows[0]["payload"]).decode("utf-8", "backslashreplace")
        return _shaped(DeadLetterDetail, {**rows[0], "payload": payload})

    async def held(self, *, state: str | None = "open", run_id: int | None = None) -> list[HeldDeletions]:
        """Held deletions, newest first: all, or those of a run."""
        async with self._database.connection() as connection:
            rows = await held.select(connection, state=state, run_id=run_id)
        return [
            _shaped(
                HeldDeletions,
                {
                    **row,
                    "percent": round(100 * row["delete_rows"] / row["live_rows"], 1),
                    "sample": row["sample"] or [],
                },
            )
            for row in rows
            if not is_hidden(row["of_user"])
        ]

    async def checkpoints(self, owner: str | None = None) -> list[CheckpointView]:
        """Every entity of shared connections, or of an owner's, that was ever read, with its unfinished readings."""
        async with self._database.connection() as connection:
            states = await checkpoints.all_states(connection, owner)
            saved = await checkpoints.all_checkpoints(connection, owner)
        known = {(row["integration"], row["entity"]): row for row in states}
        nothing: dict[str, Any] = {"watermark": None, "last_full_at": None, "last_delta_at": None}
        unfinished = {(row["integration"], row["entity"]) for row in saved}
        rest = dict.fromkeys(("mode", "cursor", "run_id", "updated_at"))
        rows = [{**known.get((row["integration"], row["entity"]), nothing), **row} for row in saved]
        rows += [{**row, **rest} for key, row in known.items() if key not in unfinished]
        ordered = sorted(rows, key=lambda row: (row["integration"], row["entity"]))
        return [_shaped(CheckpointView, {**row, "owner": row["owner_id"]}) for row in ordered]


def _run(row: dict[str, Any]) -> RunSummary:
    sums = {name: sum(entity[name] for entity in row["entities"]) for name in _SUMS}
    return _shaped(
        RunSummary,
        {
            **row,
            **sums,
            "skipped": dict(sum((Counter(entity["skipped"]) for entity in row["entities"]), Counter())),
            "run_id": row["id"],
            "owner": row["owner_id"],
            "entity": ",".join(row["names"]),
            "duration_ms": _milliseconds(row["started_at"], row["finished_at"]),
            "result": row["state"],
            "error": _error(row),
            "entities": [_shaped(EntityRun, {**entity, "error": _error(entity)}) for entity in row["entities"]],
        },
    )


def _error(row: dict[str, Any]) -> dict[str, Any] | None:
    return None if row["error"] is None else explained(row["error"])


def _page(row: dict[str, Any]) -> PageView:
    data = row["data"]
    counts = {name: data.get(to_camel(name), 0) for name in ("inserted", "updated", "unchanged", "dead_lettered")}
    return PageView(
        event_id=row["id"], ts=row["ts"], entity=row["entity"], page=row["page"], rows=row["rows"], **counts,
        batch_rows=data.get("batchRows", 0), requests=data.get("requests", 0), rps=data.get("rps", 0.0),
    )  # fmt: skip


def _milliseconds(start: datetime | None, end: datetime | None) -> int | None:
    return None if start is None or end is None else round((end - start).total_seconds() * 1000)


def _shaped(shape: type[S], row: dict[str, Any]) -> S:
    return shape(**{name: row[name] for name in shape.model_fields})
