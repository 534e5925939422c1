"""Schedules in a database whose moments a test chooses."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from keepstep.store.db import Connection

ROOT = Path(__file__).parents[2]
_LIVE = "('queued', 'running', 'waiting')"


def at(text: str) -> datetime:
    """An instant in UTC."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


NOON = at("2026-03-01T12:00")


class Stage:
    """What a test does with schedules and asks about them, on one connection."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    async def all(self, statement: str, *values: object) -> list[dict[str, Any]]:
        """The rows of any statement."""
        cursor = await self.connection.execute(statement.encode(), values or None)
        return await cursor.fetchall() if cursor.description else []

    async def call(self, statement: str, *values: object) -> dict[str, Any]:
        """Its first row."""
        return next(iter(await self.all(statement, *values)), {})

    async def add(
        self, *, owner: str | None = None, name: str = "", enabled: bool = True, interval: int = 600,
        full_at: int | None = None, entities: list[str] | None = None, anchor: datetime = NOON,
    ) -> int:  # fmt: skip
        """A schedule on a connection of this owner, due now if enabled; on the grid of ``anchor`` from then on."""
        await self.call(
            "INSERT INTO keepstep.connections (integration, owner_id) VALUES ('doorloop', %s) ON CONFLICT DO NOTHING",
            owner,
        )
        row = await self.call(
            "INSERT INTO keepstep.schedules"
            " (connection_id, name, enabled, interval_seconds, full_at_hour_utc, entities)"
            " SELECT id, %s, %s, %s, %s, %s FROM keepstep.connections"
            " WHERE owner_id IS NOT DISTINCT FROM %s RETURNING id",
            name, enabled, interval, full_at, entities or ["owners"], owner,
        )  # fmt: skip
        schedule = int(row["id"])
        if enabled:
            await self.call("UPDATE keepstep.schedules SET anchor_at = %s WHERE id = %s", anchor, schedule)
            await self.plan(schedule, delta_at=NOON)
        return schedule

    async def many(self, count: int, *, due: int | None = None) -> None:
        """Many connections with a schedule each, so many of them (all) due now."""
        await self.call(
            "INSERT INTO keepstep.connections (integration, owner_id)"
            " SELECT 'doorloop', 'user ' || n FROM generate_series(1, %s) n",
            count,
        )
        await self.call(
            "INSERT INTO keepstep.schedules (connection_id, enabled, interval_seconds, entities)"
            " SELECT id, true, 3600, '{owners}' FROM keepstep.connections"
        )
        await self.call(
            "UPDATE keepstep.schedule_times"
            " SET delta_at = now() + interval '1 hour', due_at = now() + interval '1 hour' WHERE schedule_id > %s",
            count if due is None else due,
        )

    async def plan(self, schedule: int, *, delta_at: datetime, full_at: datetime | None = None) -> None:
        """Set its times; its full run stays where it is unless a moment is given."""
        await self.call(
            "UPDATE keepstep.schedule_times t SET delta_at = n.delta_at, full_at = n.full_at,"
            " due_at = least(n.delta_at, n.full_at)"
            " FROM (SELECT schedule_id, %s::timestamptz AS delta_at, coalesce(%s::timestamptz, full_at) AS full_at"
            " FROM keepstep.schedule_times WHERE schedule_id = %s) n WHERE t.schedule_id = n.schedule_id",
            delta_at, full_at, schedule,
        )  # fmt: skip

    async def edit(self, schedule: int, assignments: str) -> None:
        """Change it, as anybody may by hand."""
        await self.call(f"UPDATE keepstep.schedules SET {assignments} WHERE id = {schedule}")

    async def dispatch(self, moment: datetime | None = None) -> tuple[list[int], list[int]]:
        """The runs that a dispatch at a moment (now) started, and the schedules that it skipped."""
        if moment is None:
            found = await self.call("SELECT * FROM keepstep.dispatch_due()")
        else:
            found = await self.call("SELECT * FROM keepstep.dispatch_due(500, %s)", moment)
        return found["started"], found["skipped"]

    async def full_runs_of(self, schedule: int, day: datetime) -> int:
        """Dispatch through one UTC day, every two hours, ending each run; how many were full."""
        before = await self._full_runs(schedule)
        midnight = day.replace(hour=0, minute=0, second=0)
        for hour in range(0, 24, 2):
            await self.dispatch(midnight.replace(hour=hour, minute=30))
            await self.end_runs()
        return await self._full_runs(schedule) - before

    async def _full_runs(self, schedule: int) -> int:
        row = await self.call(
            "SELECT count(*) AS n FROM keepstep.runs WHERE schedule_id = %s AND mode = 'backfill'", schedule
        )
        return int(row["n"])

    async def times(self, schedule: int) -> dict[str, Any]:
        """Its times, empty when it has none."""
        return await self.call(
            "SELECT due_at, delta_at, full_at FROM keepstep.schedule_times WHERE schedule_id = %s", schedule
        )

    async def live_run(
        self, connection_id: int, state: str, *, due_at: datetime | None = None, in_queue: bool = True,
        trigger: str = "manual", mode: str = "delta",
    ) -> int:  # fmt: skip
        """A run in this state."""
        row = await self.call(
            "INSERT INTO keepstep.runs"
            " (connection_id, mode, dry_run, trigger, entities, state, in_queue, started_at, due_at, error)"
            " VALUES (%s, %s, false, %s, '{owners}', %s, %s, %s, %s, %s) RETURNING id",
            connection_id, mode, trigger, state, in_queue, None if state == "queued" else NOON,
            (due_at or NOON) if state == "waiting" else None, "{}" if state == "waiting" else None,
        )  # fmt: skip
        return int(row["id"])

    async def end_runs(self) -> None:
        """Every live run has succeeded."""
        await self.call(
            f"UPDATE keepstep.runs SET state = 'succeeded', finished_at = now(), due_at = NULL WHERE state IN {_LIVE}"
        )
        await self.call("DELETE FROM keepstep_queue.procrastinate_jobs")

    async def runs(self) -> list[dict[str, Any]]:
        """All runs, oldest first."""
        return await self.all("SELECT * FROM keepstep.runs ORDER BY id")

    async def queue(self) -> list[dict[str, Any]]:
        """All queue rows, oldest first."""
        return await self.all(
            "SELECT task_name, args, queue_name, priority, lock, queueing_lock, status, scheduled_at"
            " FROM keepstep_queue.procrastinate_jobs ORDER BY id"
        )

    async def now(self) -> datetime:
        """The database's time."""
        now: datetime = (await self.call("SELECT now() AS now"))["now"]
        return now

    async def tick(self) -> datetime:
        """The last sign of life."""
        tick: datetime = (await self.call("SELECT at FROM keepstep.ticks WHERE name = 'dispatcher'"))["at"]
        return tick

    async def plans(self, *statements: str) -> str:
        """How the server carries out everything within these statements."""
        told: list[str] = []
        self.connection.add_notice_handler(lambda notice: told.append(notice.message_primary or ""))
        await self.call("LOAD 'auto_explain'")
        for setting in ("log_nested_statements = on", "log_min_duration = 0", "log_level = notice"):
            await self.call(f"SET auto_explain.{setting}")
        await self.call("ANALYZE")
        for statement in statements:
            await self.call(statement)
        return "\n".join(told)

    async def script(self, path: str) -> None:
        """Run a file of the repository."""
        await self.connection.execute((ROOT / path).read_bytes())
