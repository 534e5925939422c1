-- name: ensure
INSERT INTO keepstep.limits (connection_id) VALUES (%(connection)s) ON CONFLICT DO NOTHING

-- name: lock
-- The clock is read after the row is ours: everybody who writes the state reads a later one.
WITH locked AS MATERIALIZED (
    SELECT state FROM keepstep.limits WHERE connection_id = %(connection)s FOR UPDATE
)
SELECT state::text AS state, extract(epoch FROM clock_timestamp())::float8 AS now FROM locked

-- name: keep
UPDATE keepstep.limits SET state = %(state)s::jsonb, updated_at = clock_timestamp() WHERE connection_id = %(connection)s

-- name: let_go_on
-- The breaker was closed by hand: runs that wait for nothing else are due, and the dispatcher hears of it.
WITH due AS (
    UPDATE keepstep.runs SET due_at = now()
    WHERE connection_id = %(connection)s AND state = 'waiting' AND error ->> 'code' = 'breaker-open' AND due_at > now()
    RETURNING id
)
SELECT pg_notify('keepstep_schedules', '') FROM due

-- name: sample
INSERT INTO keepstep.rate_samples (ts, connection_id, "limit", remaining, reset, waited_ms, cause)
VALUES (clock_timestamp(), %(connection)s, %(limit)s, %(remaining)s, %(reset)s, %(waited_ms)s, %(cause)s)

-- name: current
SELECT c.integration, c.owner_id, l.state::text AS state, extract(epoch FROM clock_timestamp())::float8 AS now
FROM keepstep.limits l JOIN keepstep.connections c ON c.id = l.connection_id
WHERE %(integration)s::text IS NULL OR (c.integration = %(integration)s AND coalesce(c.owner_id, '') = coalesce(%(owner)s, ''))
ORDER BY c.integration, c.owner_id NULLS FIRST

-- name: samples
-- The newest of them, oldest first.
SELECT * FROM (
    SELECT s.ts, s."limit", s.remaining, s.reset, s.waited_ms, s.cause
    FROM keepstep.rate_samples s JOIN keepstep.connections c ON c.id = s.connection_id
    WHERE c.integration = %(integration)s AND coalesce(c.owner_id, '') = coalesce(%(owner)s, '')
      AND s.ts > now() - make_interval(secs => %(seconds)s::float8)
    ORDER BY s.ts DESC, s.id DESC LIMIT %(most)s
) newest ORDER BY ts

-- name: waits_of_run
-- What its requests waited for; the newest of them, oldest first. A refusal is told however short its wait was so far.
SELECT * FROM (
    SELECT s.ts, s."limit", s.remaining, s.reset, s.waited_ms, s.cause
    FROM keepstep.rate_samples s JOIN keepstep.runs r ON r.connection_id = s.connection_id
    WHERE r.id = %(run)s AND s.ts >= r.started_at AND s.ts <= coalesce(r.finished_at, now())
      AND (s.waited_ms >= %(least_ms)s OR s.cause IN ('retry-after', 'breaker'))
    ORDER BY s.ts DESC LIMIT %(most)s
) newest ORDER BY ts

-- name: count_minute
-- For the health score, which asks about the last hour.
INSERT INTO keepstep.request_minutes (connection_id, minute, sent, failed)
SELECT id, date_trunc('minute', now()), %(sent)s, %(failed)s FROM keepstep.connections
WHERE integration = %(integration)s AND owner_id IS NULL
ON CONFLICT (connection_id, minute) DO UPDATE
SET sent = request_minutes.sent + excluded.sent, failed = request_minutes.failed + excluded.failed

-- name: use
-- Requests of the last full reading of each entity, which may be of different runs, and those of the last hour. One that has
-- been read, but never in full, makes the sum unknown.
SELECT (WITH runs AS (
            SELECT r.id FROM keepstep.runs r WHERE r.connection_id = c.id AND r.mode = 'backfill' AND NOT r.dry_run
            AND r.state IN ('succeeded', 'held') ORDER BY r.id DESC LIMIT 50
        ), readings AS (
            SELECT DISTINCT ON (e.entity) e.entity, e.requests FROM keepstep.run_entities e JOIN runs r ON r.id = e.run_id
            WHERE e.state IN ('succeeded', 'held') ORDER BY e.entity, r.id DESC
        )
        SELECT sum(f.requests)::bigint FROM readings f HAVING NOT EXISTS (
            SELECT FROM keepstep.entity_states s WHERE s.connection_id = c.id AND s.entity NOT IN (SELECT entity FROM readings)
        )) AS needed,
       (SELECT coalesce(sum(m.sent), 0)::bigint FROM keepstep.request_minutes m
        WHERE m.connection_id = c.id AND m.minute > now() - interval '1 hour') AS sent
FROM keepstep.connections c WHERE c.integration = %(integration)s AND c.owner_id IS NULL
