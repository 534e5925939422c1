-- name: held
SELECT entity, delete_rows, live_rows, created_at AS since FROM keepstep.held_deletions
WHERE connection_id = %(connection)s AND state = 'open' ORDER BY entity

-- name: letters
SELECT count(*) AS letters, min(created_at) AS since FROM keepstep.dead_letters
WHERE connection_id = %(connection)s AND state = 'open'

-- name: unproven
-- The last full run: which entities it could not prove complete.
SELECT e.entity, e.completeness, e.finished_at AS since
FROM (
    SELECT id FROM keepstep.runs WHERE connection_id = %(connection)s AND mode = 'backfill' AND NOT dry_run
      AND state IN ('succeeded', 'held', 'failed') ORDER BY id DESC LIMIT 1
) r JOIN keepstep.run_entities e ON e.run_id = r.id
WHERE e.state IN ('succeeded', 'held') AND e.completeness LIKE 'completeness unproven%%' ORDER BY e.position

-- name: since
-- Since when an error has been coming again and again.
SELECT code, entities, opened_at FROM keepstep.error_groups
WHERE connection_id = %(connection)s AND last_seen > now() - interval '1 day'

-- name: orphans
-- Runs that count as running although the session that holds their lock is gone, or their lock is.
SELECT r.id, coalesce(l.renewed_at, r.started_at) AS since
FROM keepstep.runs r LEFT JOIN keepstep.locks l ON l.run_id = r.id
WHERE r.connection_id = %(connection)s AND r.state = 'running' AND NOT EXISTS (
    SELECT FROM pg_stat_activity a WHERE a.pid = l.backend_pid AND a.backend_start = l.backend_start
)
ORDER BY r.id

-- name: drift
-- Fields without a column that were met lately.
SELECT entity, array_agg(field ORDER BY field) AS fields, min(first_seen) AS since FROM keepstep.schema_fields
WHERE connection_id = %(connection)s AND column_name IS NULL AND first_seen > now() - make_interval(secs => %(lately)s::float8)
GROUP BY entity ORDER BY entity

-- name: stale
-- The alert knows since when.
SELECT since FROM keepstep.alerts WHERE connection_id = %(connection)s AND rule = 'stale' AND ended_at IS NULL

-- name: undelivered
-- Ways of alerts whose last message did not arrive, and since when none has.
SELECT m.channel, m.answer, coalesce((
    SELECT min(f.created_at) FROM keepstep.alert_messages f WHERE f.channel = m.channel AND f.attempts > 0 AND f.state <> 'sent'
      AND f.id > coalesce((SELECT max(s.id) FROM keepstep.alert_messages s WHERE s.channel = m.channel AND s.state = 'sent'), 0)
), m.created_at) AS since
FROM (
    SELECT DISTINCT ON (channel) channel, state, answer, created_at FROM keepstep.alert_messages
    WHERE attempts > 0 AND created_at > now() - interval '30 days' ORDER BY channel, id DESC
) m WHERE m.state <> 'sent' AND m.answer IS NOT NULL
