"""A hundred thousand users with their connections and schedules, as they are after some weeks: made set by set."""

# ruff: noqa: E501 - SQL is easier to read in whole lines

import time

from keepstep.store.db import Connection

MINUTES = {"google_contacts": 24 * 60, "mail": 15}
"""The intervals that hold until somebody says otherwise."""
_PROBLEM = """{"code": "upstream-silent", "kind": "transient", "message": "Google did not answer within 60 s.",
"fix": "Nothing to do: it is tried again.", "answer": null}"""
_STEPS = (
    # The ids of users are those that a host application gives: random, and not in the order in which they came.
    """
    INSERT INTO keepstep.users (name, subject, role, last_login_at)
    SELECT 'user ' || n || ' of team ' || mod(n, 997) || ' <user' || n || '@example.test>',
           md5('user ' || n)::uuid::text, 'user', now() - random() * interval '30 days' FROM generate_series(1, %(owners)s) n
    """,
    # Credentials are as long as an encrypted pair of tokens.
    """
    INSERT INTO keepstep.connections (integration, owner_id, own_credentials, workspace, credentials, credentials_set_at)
    SELECT CASE mod(id, 2) WHEN 0 THEN 'google_contacts' ELSE 'mail' END, owner_id, true, 'workspace ' || mod(id, 5000),
           convert_to(repeat(md5(id::text), 22), 'UTF8'), now() FROM keepstep.users WHERE subject IS NOT NULL
    """,
    # They turned it on at any time of the day; the product's own jitter is in the anchor, as an edit would put it there.
    """
    INSERT INTO keepstep.schedules (connection_id, enabled, interval_seconds, entities, anchor_at)
    SELECT c.id, true, i.seconds, CASE c.integration WHEN 'mail' THEN '{messages}'::text[] ELSE '{connections,contacts}' END,
           now() - random() * i.seconds * interval '1 second' - keepstep.jitter(c.id, i.seconds)
    FROM keepstep.connections c, LATERAL (SELECT CASE c.integration WHEN 'mail' THEN 900 ELSE 86400 END AS seconds) i
    """,
    """
    INSERT INTO keepstep.schedule_times (schedule_id, due_at, delta_at)
    SELECT s.id, n.at, n.at FROM keepstep.schedules s,
    LATERAL (SELECT keepstep.next_slot(now(), s.anchor_at, s.interval_seconds) AS at) n
    """,
    # One in a hundred has failed lately, one in two hundred must connect again.
    """
    INSERT INTO keepstep.owner_standing (connection_id, last_success_at, last_failure_at, error, failures)
    SELECT c.id, now() - random() * interval '1 day', CASE WHEN mod(c.id, 100) = 0 THEN now() END,
           CASE WHEN mod(c.id, 100) = 0 THEN %(problem)s::jsonb END, CASE WHEN mod(c.id, 100) = 0 THEN 1 + mod(c.id, 7) ELSE 0 END
    FROM keepstep.connections c
    """,
    """
    UPDATE keepstep.connections SET refused_at = now(), refused_reason = 'Google says: Token has been expired or revoked.'
    WHERE mod(id, 200) = 1
    """,
    # Each has its latest run, as the page of runs shows it.
    """
    INSERT INTO keepstep.runs (connection_id, mode, dry_run, trigger, entities, state, created_at, queued_at, started_at,
                               finished_at, in_queue, counted, schedule_id, planned_at)
    SELECT s.connection_id, 'delta', false, 'schedule', s.entities, 'succeeded', t.at, t.at, t.at, t.at, true, true, s.id, t.at
    FROM keepstep.schedules s, LATERAL (SELECT now() - random() * interval '1 day' AS at) t
    """,
    """
    INSERT INTO keepstep.run_entities (run_id, entity, position, state, pages, rows, unchanged, requests, started_at, finished_at,
                                       completeness)
    SELECT r.id, e, p, 'succeeded', 1, 12, 12, 1, r.started_at, r.finished_at, 'unproven'
    FROM keepstep.runs r, unnest(r.entities) WITH ORDINALITY AS x (e, p)
    """,
    """
    INSERT INTO keepstep.events (connection_id, run_id, type, level, msg, data)
    SELECT r.connection_id, r.id, kind, 'info', 'Run ' || r.id || '.', '{}'
    FROM keepstep.runs r, unnest('{run-started,page,entity-finished,run-finished}'::text[]) kind
    """,
    """
    INSERT INTO keepstep.entity_states (connection_id, entity, watermark, facts, last_delta_at)
    SELECT s.connection_id, e, now(), '{"syncToken": "a-sync-token-of-the-usual-length-0123456789"}', now()
    FROM keepstep.schedules s, unnest(s.entities) e
    """,
    """
    INSERT INTO keepstep.admin_logs ("user", action, payload, result)
    SELECT u.name, 'auto-sync.set', jsonb_build_object('integration', c.integration, 'owner', c.owner_id, 'enabled', true), 'done'
    FROM keepstep.connections c JOIN keepstep.users u ON u.owner_id = c.owner_id
    """,
    """
    INSERT INTO keepstep.limits (connection_id, state)
    SELECT id, '{"at": 1790000000.5, "ramp": {"width": 2, "rested_at": 1790000000.4}, "next_start": 1790000000.25}'
    FROM keepstep.connections
    """,
)  # fmt: skip


async def gather(connection: Connection, owners: int) -> float:
    """Make them in an empty database; gives the seconds it took."""
    began = time.perf_counter()
    tables = ("connections", "schedules", "runs")
    for table in tables:  # which would make each due now, one by one
        await connection.execute(f"ALTER TABLE keepstep.{table} DISABLE TRIGGER USER".encode())
    for step in _STEPS:
        given = {name: value for name, value in (("owners", owners), ("problem", _PROBLEM)) if f"%({name})s" in step}
        await connection.execute(step.encode(), given or None)
    for table in tables:
        await connection.execute(f"ALTER TABLE keepstep.{table} ENABLE TRIGGER USER".encode())
    await connection.execute(
        "DELETE FROM keepstep.schedule_times t USING keepstep.schedules s JOIN keepstep.connections c"
        " ON c.id = s.connection_id WHERE t.schedule_id = s.id AND c.state <> 'connected'"
    )
    return time.perf_counter() - began
