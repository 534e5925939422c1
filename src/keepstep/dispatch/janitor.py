"""Housekeeping: counts the runs that have ended, and deletes what is too old to be of use.

Every process has a janitor; each piece of work is done by one of them, when it is due. Nothing depends on its being
done in time: what is not counted yet is added by whoever reads, and what is not deleted yet does no harm.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from types import MappingProxyType

import structlog

from keepstep.store import documents, errors, janitor, totals
from keepstep.store.db import Connection, Database

COUNT_EVERY = 15.0
PRUNE_EVERY = 600.0
"""Seconds between two rounds of a kind, all processes together."""
_BATCH = 1000
_BATCHES = 50
"""So many batches of a kind at a time; what is left is done a second later, so that nothing else has to wait long."""
_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Keep:
    """How long things are kept. Runs go with their events, closed dead letters and decided held deletions."""

    runs: timedelta = timedelta(days=180)
    errors: timedelta = timedelta(days=180)
    documents: timedelta = timedelta(days=90)
    rows: Mapping[janitor.Kind, timedelta] = field(
        default_factory=lambda: MappingProxyType(
            {
                "events": timedelta(days=30),
                "rate_samples": timedelta(days=7),
                "request_minutes": timedelta(days=1),
                "sessions": timedelta(days=1),
                "login_failures": timedelta(days=1),
                "ticks": timedelta(days=7),
                "health_history": timedelta(days=90),
                "alert_messages": timedelta(days=90),
                "alerts": timedelta(days=365),
                "admin_logs": timedelta(days=365),
            }
        )
    )

    @classmethod
    def for_days(cls, *, runs: int, events: int, audit: int, documents: int) -> "Keep":
        """With what people may set, in days; alerts are kept as long as the audit log."""
        rows = dict(cls().rows)
        rows["events"] = timedelta(days=events)
        rows["admin_logs"] = rows["alerts"] = timedelta(days=audit)
        return cls(runs=timedelta(days=runs), documents=timedelta(days=documents), rows=rows)


class Janitor:
    """Does its ``round`` whenever a ``Loop`` calls it."""

    def __init__(
        self, database: Database, keep: Keep | None = None, *, chosen: Callable[[], Awaitable[Keep]] | None = None
    ) -> None:
        self._database = database
        self._keep = keep or Keep()
        self._chosen = chosen
        self._unfinished = False
        self._walked = 0

    async def round(self) -> float:
        """Count and prune where it is due; gives the seconds until the next round."""
        async with self._database.connection() as connection:
            if await janitor.take_turn(connection, "janitor: count", every=COUNT_EVERY):
                await self._count(connection)
            if self._unfinished or await janitor.take_turn(connection, "janitor: prune", every=PRUNE_EVERY):
                if self._chosen is not None:
                    self._keep = await self._chosen()
                await self._prune(connection)
        return 1.0 if self._unfinished else COUNT_EVERY

    async def _count(self, connection: Connection) -> None:
        for _ in range(_BATCHES):
            if await totals.count_ended(connection, limit=_BATCH) < _BATCH:
                return

    async def _prune(self, connection: Connection) -> None:
        self._unfinished = False
        gone = {kind: await self._prune_kind(connection, kind) for kind in self._keep.rows}
        gone_errors = await errors.prune(connection, older=self._keep.errors, limit=_BATCH)
        gone_documents = await documents.prune(connection, older=self._keep.documents, limit=_BATCH)
        gone_runs = await self._prune_runs(connection)
        if gone_runs or gone_errors or gone_documents or any(gone.values()):
            told = {kind: count for kind, count in gone.items() if count}
            _log.info("pruned", runs=gone_runs, errors=gone_errors, documents=gone_documents, **told)

    async def _prune_kind(self, connection: Connection, kind: janitor.Kind) -> int:
        older = self._keep.rows[kind].total_seconds()
        gone = 0
        for _ in range(_BATCHES):
            count = await janitor.prune(connection, kind, older=older, limit=_BATCH)
            gone += count
            if count < _BATCH:
                return gone
        self._unfinished = True
        return gone

    async def _prune_runs(self, connection: Connection) -> int:
        older = self._keep.runs.total_seconds()
        gone = 0
        for _ in range(_BATCHES):
            count, last = await janitor.prune_runs(connection, older=older, after=self._walked, limit=_BATCH)
            gone += count
            self._walked = last or 0
            if last is None:
                return gone
        self._unfinished = True
        return gone
