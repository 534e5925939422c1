"""``python -m bench.retention``: how much room a day of control rows takes, and how fast the old ones are deleted.

A busy day: 100 connections, a delta every 10 minutes and a full run at night, each of five entities, with the events,
samples, pings, scores, alerts and acts that belong to it, in the sizes that real ones have.
"""

# ruff: noqa: E501 - SQL is easier to read in whole lines

import asyncio
import sys
import time

from bench.dispatch import home
from bench.report import about, machine
from bench.stage import Server, server
from keepstep.dispatch.janitor import Keep
from keepstep.store import janitor, pings
from keepstep.store.db import Connection, Database
from keepstep.store.migrate import migrate

DATABASE = "retention"
CONNECTIONS, RUNS, MONTH, MOST_MB = 100, 144, 30, 3_500
_PAGE = """{"rps": 4361.3, "look": 1, "part": 0, "pages": 1, "total": 1200, "updated": 0, "inserted": 0, "requests": 1,
"batchRows": 100, "rateLimit": {"limit": 50, "remaining": 41, "reset": "2026-03-01T12:00:00+00:00"}, "unchanged": 100,
"etaSeconds": 0.3, "deadLettered": 0}"""
_ALERT = "'What happened, in a sentence or two of the usual length, with the reason that upstream gave for it.'"
_EVENT = "INSERT INTO keepstep.events (connection_id, run_id, type, level, entity, page, rows, msg, data)"
_DAY = (
    f"INSERT INTO keepstep.connections (integration, owner_id)"
    f" SELECT 'doorloop', 'user ' || n FROM generate_series(1, {CONNECTIONS}) n",
    f"INSERT INTO keepstep.runs (connection_id, mode, dry_run, trigger, entities, state, created_at, queued_at, started_at,"
    f" finished_at, in_queue, counted, schedule_id, planned_at) SELECT c.id, CASE n WHEN 1 THEN 'backfill' ELSE 'delta' END,"
    f" false, CASE n WHEN 1 THEN 'nightly' ELSE 'schedule' END, '{{owners,properties,units,leases,tenants}}', 'succeeded',"
    f" t.at, t.at, t.at, t.at, true, true, c.id, t.at FROM generate_series(1, {RUNS}) n, keepstep.connections c,"
    f" LATERAL (SELECT now() - n * interval '10 minutes' AS at) t",
    "INSERT INTO keepstep.run_entities (run_id, entity, position, state, pages, rows, unchanged, requests, total,"
    " started_at, finished_at, completeness) SELECT r.id, e, p, 'succeeded', 1, 100, 100, 1, 1200, now(), now(),"
    " 'unproven' FROM keepstep.runs r, unnest(r.entities) WITH ORDINALITY AS x (e, p)",
    f"{_EVENT} SELECT connection_id, id, 'run-started', 'info', NULL, NULL, NULL,"
    " 'Run ' || id || ' started: delta of owners, properties, units, leases, tenants.', '{}' FROM keepstep.runs",
    f"{_EVENT} SELECT r.connection_id, r.id, 'page', 'info', e, n, 100, e || ': page 1, 100 of 1,200 rows', '{_PAGE}'"
    " FROM keepstep.runs r, unnest(r.entities) e, generate_series(1, CASE r.mode WHEN 'backfill' THEN 10 ELSE 1 END) n",
    f"{_EVENT} SELECT r.connection_id, r.id, 'entity-finished', 'info', e, NULL, NULL, e || ': done.',"
    " '{\"state\": \"succeeded\", \"deleted\": 0}' FROM keepstep.runs r, unnest(r.entities) e",
    f"{_EVENT} SELECT connection_id, id, 'run-finished', 'info', NULL, NULL, NULL, 'Run ' || id || ' succeeded.', '{{}}'"
    " FROM keepstep.runs",
    'INSERT INTO keepstep.rate_samples (ts, connection_id, "limit", remaining, reset, waited_ms, cause)'
    " SELECT started_at, connection_id, 50, 41, now(), 250, 'rate' FROM keepstep.runs, generate_series(1, 2)",
    "INSERT INTO keepstep.request_minutes (connection_id, minute, sent)"
    " SELECT DISTINCT connection_id, date_trunc('minute', started_at), 5 FROM keepstep.runs",
    "INSERT INTO keepstep.pings (connection_id, at, state, reason, elapsed_ms)"
    " SELECT id, now() - n * interval '5 minutes', 'ok', 'DoorLoop answers and takes the key.', 240"
    " FROM generate_series(1, 288) n, keepstep.connections",
    "INSERT INTO keepstep.health_history (connection_id, hour, score, deductions)"
    " SELECT id, date_trunc('hour', now()) - n * interval '1 hour', 94, '[{\"points\": 6, \"reason\": \"5 of the last 20"
    " runs failed.\"}]' FROM generate_series(0, 23) n, keepstep.connections",
    f"INSERT INTO keepstep.alerts (connection_id, rule, severity, title, detail, impact, fix, since, announced_at, ended_at,"
    f" end_announced) SELECT id, 'breaker', 'warning', {_ALERT}, {_ALERT}, {_ALERT}, {_ALERT}, now(), now(), now(), true"
    f" FROM keepstep.connections",
    f"INSERT INTO keepstep.alert_messages (channel, kind, rule, alert_ids, content, state, attempts, sent_at, status, answer)"
    f" SELECT 'teams', k, 'breaker', ARRAY[id], jsonb_build_object('title', {_ALERT}, 'text', {_ALERT}, 'facts',"
    f" jsonb_build_array({_ALERT}, {_ALERT})), 'sent', 1, now(), 202, 'Teams took the message.'"
    f" FROM keepstep.alerts, unnest('{{start,end}}'::text[]) k",
    'INSERT INTO keepstep.admin_logs ("user", action, payload, result)'
    " SELECT 'ana', 'run.start', '{\"integration\": \"doorloop\", \"entities\": [\"owners\"], \"mode\": \"delta\"}', 'run 17'"
    " FROM generate_series(1, 500)",
)  # fmt: skip
_SIZES = """
SELECT relname AS name, pg_total_relation_size(oid) AS bytes, reltuples::bigint AS rows FROM pg_class
WHERE relnamespace = 'keepstep'::regnamespace AND relkind = 'r' AND relname = ANY (%s)
"""
_KEEP = Keep()
_DAYS: dict[str, float] = {
    "runs": _KEEP.runs.days, "run_entities": _KEEP.runs.days, "pings": pings.KEPT / (24 * 12),
    **{name: span.days for name, span in _KEEP.rows.items()},
}  # fmt: skip
_MEASURED = (
    "runs", "run_entities", "events", "rate_samples", "request_minutes", "pings", "health_history", "alerts",
    "alert_messages", "admin_logs",
)  # fmt: skip


def main() -> int:
    """Measure and print; 1 when a month takes more than it may."""
    with home() as directory, server(directory) as place:
        place.create(DATABASE)
        print(about({**machine(), "PostgreSQL": place.version}), file=sys.stderr)
        return int(asyncio.run(measure(place)) > MOST_MB)


async def measure(place: Server) -> float:
    """Gives the megabytes of a month."""
    database = Database(place.dsn(DATABASE))
    async with database.connection() as connection:
        await migrate(connection)
        for statement in _DAY:
            await connection.execute(statement.encode())
        await connection.execute("VACUUM ANALYZE")
        rows = await (await connection.execute(_SIZES, [list(_MEASURED)])).fetchall()
        kept = await (
            await connection.execute("SELECT avg((left(type, 4) = 'run-')::int)::float8 AS share FROM keepstep.events")
        ).fetchone()
        assert kept is not None
        month = _show({row["name"]: (row["rows"], row["bytes"]) for row in rows}, kept["share"])
        await _delete(connection)
    return month


def _show(sizes: dict[str, tuple[int, int]], share: float) -> float:
    """Events of a run's beginning and end stay as long as the run, by their share of all events."""
    print("| table | rows a day | MB a day | MB a month | MB kept |\n| --- | ---: | ---: | ---: | ---: |")
    month = everything = 0.0
    for name in _MEASURED:
        count, size = sizes[name]
        megabytes, days = size / 1e6, _DAYS[name]
        kept = megabytes * days
        if name == "events":
            kept = megabytes * ((1 - share) * days + share * _KEEP.runs.days)
        month += megabytes * min(days, MONTH)
        everything += kept
        print(f"| {name} | {count:,} | {megabytes:.1f} | {megabytes * min(days, MONTH):,.0f} | {kept:,.0f} |")
    print(f"| all | | | {month:,.0f} | {everything:,.0f} |")
    return month


async def _delete(connection: Connection) -> None:
    """In batches, as the janitor does."""
    gone, slowest, started = 0, 0.0, time.perf_counter()
    while True:
        began = time.perf_counter()
        count = await janitor.prune(connection, "events", older=-60.0, limit=1000)
        slowest = max(slowest, time.perf_counter() - began)
        gone += count
        if count < 1000:
            break
    took = time.perf_counter() - started
    print(f"\nevents deleted: {gone:,} in {took:.1f} s, {gone / took:,.0f} a second; slowest batch {slowest:.2f} s")
    gone, after, started = 0, 0, time.perf_counter()
    while True:
        count, last = await janitor.prune_runs(connection, older=0.0, after=after, limit=1000)
        gone += count
        if last is None:
            break
        after = last
    took = time.perf_counter() - started
    print(f"runs deleted, with all that is theirs: {gone:,} in {took:.1f} s, {gone / took:,.0f} a second")


if __name__ == "__main__":
    sys.exit(main())
