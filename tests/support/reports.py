"""Agents with a history of reports, as the engine and the schedules leave it behind."""

from collections.abc import Sequence
from datetime import datetime

from psycopg.types.json import Jsonb

from keepstep.integrations.erp.emulator.ledger import Ledger
from keepstep.integrations.erp.emulator.options import EmulatorOptions
from keepstep.integrations.erp.emulator.press import Sheet, print_report
from keepstep.integrations.erp.layout import LAYOUTS
from keepstep.integrations.erp.parser import check_file, document_hash, parse
from keepstep.integrations.erp.refusal import NOWHERE, Refused
from keepstep.model.document import Document
from keepstep.model.errors import NotData
from keepstep.model.run import error_json
from keepstep.store import agents as store
from keepstep.store.db import Connection

_NAMES = (
    "Niccolò Già",
    "Perla Forlì",
    "Ottavia Così",
    "Amedeo Perché",
    "Benedetta Lunedì",
    "Cosimo Qua",
    "Delia Laggiù",
)
_AGENTS = """
INSERT INTO keepstep.agents (code, name)
SELECT code, name FROM unnest(%s::text[], %s::text[]) AS a (code, name) ON CONFLICT DO NOTHING
"""
_LATER = """
UPDATE keepstep.schedule_times x SET delta_at = n.at, due_at = n.at
FROM (SELECT s.id, now() + (10 + mod(s.id, 50)) * s.interval_seconds / 60.0 * interval '1 second' AS at
      FROM keepstep.schedules s WHERE s.sync_type IS NOT NULL) n WHERE x.schedule_id = n.id
"""
_RUNS = """
WITH made AS (
    INSERT INTO keepstep.runs (connection_id, mode, dry_run, trigger, entities, state, in_queue, schedule_id,
                               created_at, queued_at, started_at, finished_at)
    SELECT s.connection_id, 'delta', false, 'schedule', s.entities, 'succeeded', true, s.id, n.at, n.at,
           n.at + interval '2 seconds',
           n.at + interval '2 seconds' + (1 + mod(s.id * 7 + n.n * 13, 40)) * interval '0.2 seconds'
    FROM keepstep.schedules s CROSS JOIN LATERAL (
        SELECT n, now() - ((n - 1 + mod(s.id, 97) / 97.0) * s.interval_seconds + 20) * interval '1 second' AS at
        FROM generate_series(1, %s) n) n
    WHERE s.sync_type IS NOT NULL ORDER BY n.at
    RETURNING id, entities, started_at, finished_at
)
INSERT INTO keepstep.run_entities (run_id, entity, position, state, rows, unchanged, requests, started_at, finished_at)
SELECT id, entities[1], 1, 'succeeded', 60, 60, 5, started_at, finished_at FROM made
"""


_ENDED = """
WITH made AS (
    INSERT INTO keepstep.runs (connection_id, mode, dry_run, trigger, entities, state, in_queue, started_at)
    SELECT id, 'delta', false, 'schedule', ARRAY[%(report)s], 'running', true,
           now() - make_interval(mins => %(ago)s) - interval '3 seconds'
    FROM keepstep.connections WHERE integration = 'erp' AND owner_id IS NOT DISTINCT FROM %(agent)s
    RETURNING id, started_at
), of AS (
    INSERT INTO keepstep.run_entities (run_id, entity, position, state, rows, inserted, unchanged, error, started_at,
                                       finished_at)
    SELECT id, %(report)s, 1, %(state)s, n.rows, n.rows / 30, n.rows - n.rows / 30, %(error)s, started_at,
           started_at + interval '3 seconds'
    FROM made, LATERAL (SELECT CASE WHEN %(state)s = 'succeeded' THEN 60 ELSE 0 END AS rows) n
)
SELECT id FROM made
"""
_FINISH = """
UPDATE keepstep.runs SET state = %(state)s, error = %(error)s, finished_at = started_at + interval '3 seconds'
WHERE id = %(id)s
"""
_LIVE = """
INSERT INTO keepstep.runs (connection_id, mode, dry_run, trigger, entities, state, in_queue, queued_at, started_at)
SELECT id, 'delta', false, 'schedule', ARRAY[%(report)s], %(state)s, true, now() - interval '42 seconds',
       CASE WHEN %(state)s = 'running' THEN now() - interval '3 seconds' END
FROM keepstep.connections WHERE integration = 'erp' AND owner_id IS NOT DISTINCT FROM %(agent)s RETURNING id
"""


async def agents(connection: Connection, codes: Sequence[str], *, rounds: int = 3) -> None:
    """Agents, and so many successful runs of each report, also of those that all share; nothing is due soon."""
    async with connection.transaction():  # nothing is due in between, not for those who dispatch beside it either
        await store.give(connection, ("base_url", "credentials"))
        await connection.execute(_AGENTS, (list(codes), [_NAMES[n % len(_NAMES)] for n in range(len(codes))]))
        await connection.execute(_LATER)
        if rounds:
            await connection.execute(_RUNS, (rounds,))


async def ended(
    connection: Connection, agent: str, report: str, error: Exception | None = None, *, times: int = 1, ago: int = 0,
    every: int = 0,
) -> int:  # fmt: skip
    """More runs of a report, well ended or with an error, the last one ``ago`` minutes and each ``every`` minutes after
    the one before; gives the id of the last.
    """
    run_id = 0
    for n in reversed(range(times)):
        state, value = ("succeeded", None) if error is None else ("failed", Jsonb(error_json(error)))
        row = await (await connection.execute(_ENDED, {
            "agent": agent or None, "report": report, "state": state, "error": value,
            "ago": ago + n * every,
        })).fetchone()  # fmt: skip
        assert row is not None
        run_id = row["id"]
        await connection.execute(_FINISH, {"id": run_id, "state": state, "error": value})
    return run_id


async def live(connection: Connection, agent: str, report: str, state: str = "queued") -> int:
    """A run that has not ended; gives its id."""
    row = await (await connection.execute(_LIVE, {"agent": agent or None, "report": report, "state": state})).fetchone()
    assert row is not None
    return int(row["id"])


async def held(connection: Connection, agent: str, report: str, *, live_rows: int, delete_rows: int) -> int:
    """A run whose deletions wait for somebody; gives its id."""
    run_id = await ended(connection, agent, report)
    await connection.execute(b"UPDATE keepstep.runs SET state = 'held', mode = 'backfill' WHERE id = %s", (run_id,))
    await connection.execute(b"UPDATE keepstep.run_entities SET state = 'held' WHERE run_id = %s", (run_id,))
    await connection.execute(
        b"INSERT INTO keepstep.held_deletions (run_id, entity, connection_id, live_rows, delete_rows, table_state)"
        b" SELECT id, %s, connection_id, %s, %s, '' FROM keepstep.runs WHERE id = %s",
        (report, live_rows, delete_rows, run_id),
    )
    return run_id


def document(report: str, agent: str, *, flaw: str = "", rows: int = 60, hour: int = 14) -> Document:
    """A report as the ERP prints it, with what the connector finds when it reads it."""
    options = EmulatorOptions(agents=frozenset({agent or "007"}), **{report: rows})  # type: ignore[arg-type]
    made = Ledger(options).rows(report, agent)
    whose = f"{agent} Niccolò Già" if agent else ""
    pdf = print_report(Sheet(LAYOUTS[report], made, datetime(2026, 11, 5, hour, 32), whose, flaw=flaw)).pdf  # noqa: DTZ001
    return read(report, agent, pdf)


def read(report: str, agent: str, body: bytes) -> Document:
    """A document of these bytes, proven or refused as the connector would."""
    error, spot = None, NOWHERE
    try:
        check_file(body)
        parse(body, LAYOUTS[report], agent=agent)
    except Refused as refused:
        error = NotData.named(refused.code, facts={"title": "The ERP", "path": report, "detail": refused.detail})
        spot = refused.spot
    return Document(document_hash(body), body, report, agent, error, spot.page, spot.row, spot.box)
