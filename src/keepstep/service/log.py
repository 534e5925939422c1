"""The log of all runs: what was told before a listener came. What is told from then on is the feed's."""

from datetime import UTC

from keepstep.service.ring import LogLine, Wanted
from keepstep.service.scope import visible
from keepstep.store import history
from keepstep.store.db import Database


class LoggedLine(LogLine):
    """An event with its id: the first number of what the feed gives as ``id`` with the same event."""

    id: int


class Log:
    """Answers what was told."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def newest(self, wanted: Wanted, *, limit: int, before: int | None = None) -> list[LoggedLine]:
        """The newest events that are wanted, oldest first. ``before``: only those with a smaller id."""
        async with self._database.connection() as connection:
            rows = await history.newest_events(
                connection,
                run=wanted.run_id,
                entity=wanted.entity,
                levels=wanted.levels,
                before=before,
                limit=limit,
                only=await visible(connection),
            )
        return [
            LoggedLine(
                id=row["id"], type=row["type"], ts=row["ts"].astimezone(UTC), entity=row["entity"], page=row["page"],
                rows=row["rows"], level=row["level"], msg=row["msg"], run_id=row["run_id"],
                rate_limit=row["data"].get("rateLimit"),
            )
            for row in reversed(rows)
        ]  # fmt: skip
