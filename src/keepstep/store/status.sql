-- name: connection
-- The shared connection of an integration, if it was ever used. Looking must not make it.
SELECT id, now() AS now FROM keepstep.connections WHERE integration = %(integration)s AND owner_id IS NULL

-- name: active_run
-- The live run with the entity under way and its newest page.
SELECT r.id AS run_id, r.state, r.mode, r.dry_run, r.due_at, r.started_at, r.error, e.entity, coalesce(e.rows, s.rows) AS rows, e.total,
       p.entity AS page_entity, p.page, p.data
FROM keepstep.runs r
LEFT JOIN LATERAL (
    SELECT entity, rows, total FROM keepstep.run_entities WHERE run_id = r.id AND state = 'running' ORDER BY position LIMIT 1
) e ON true
CROSS JOIN LATERAL (SELECT coalesce(sum(rows), 0)::bigint AS rows FROM keepstep.run_entities WHERE run_id = r.id) s
LEFT JOIN LATERAL (
    SELECT entity, page, data FROM keepstep.events WHERE run_id = r.id AND type = 'page' ORDER BY id DESC LIMIT 1
) p ON true
WHERE r.connection_id = %(connection)s AND r.state IN ('queued', 'running', 'waiting')

-- name: lock
SELECT run_id, started_at, expires_at, expires_at > now() AS held FROM keepstep.locks WHERE connection_id = %(connection)s

-- name: entities
-- Each entity with its last success and its last failure, which may be one of a run that never came to it.
SELECT n.entity, greatest(s.last_full_at, s.last_delta_at) AS last_success, f.finished_at AS last_failure,
       f.error ->> 'message' AS last_error, f.error
FROM unnest(%(entities)s::text[]) WITH ORDINALITY AS n (entity, place)
LEFT JOIN keepstep.entity_states s ON s.connection_id = %(connection)s AND s.entity = n.entity
LEFT JOIN LATERAL (
    SELECT r.finished_at, coalesce(e.error, r.error) AS error
    FROM keepstep.runs r LEFT JOIN keepstep.run_entities e ON e.run_id = r.id AND e.entity = n.entity
    WHERE r.connection_id = %(connection)s AND r.state IN ('failed', 'crashed') AND n.entity = ANY (r.entities)
      AND coalesce(e.state, 'pending') NOT IN ('succeeded', 'held')
    ORDER BY r.id DESC LIMIT 1
) f ON true
ORDER BY n.place

-- name: ended_runs
-- How the last ones ended that were not stopped by somebody.
SELECT state, error ->> 'code' AS code FROM keepstep.runs
WHERE connection_id = %(connection)s AND finished_at IS NOT NULL AND state <> 'stopped'
ORDER BY id DESC LIMIT %(limit)s

-- name: counts
SELECT (SELECT count(*) FROM keepstep.dead_letters WHERE connection_id = %(connection)s AND state = 'open') AS letters,
       (SELECT count(*) FROM keepstep.held_deletions WHERE connection_id = %(connection)s AND state = 'open') AS held,
       coalesce(sum(m.sent), 0)::bigint AS requests, coalesce(sum(m.failed), 0)::bigint AS failed_requests
FROM keepstep.request_minutes m
WHERE m.connection_id = %(connection)s AND m.minute > now() - interval '1 hour'
