-- name: server
-- What can be said of the server without changing anything in it.
SELECT current_setting('server_version') AS version, now() AS now, pg_database_size(current_database()) AS bytes,
       pg_is_in_recovery() OR current_setting('default_transaction_read_only')::boolean AS read_only,
       has_database_privilege(current_database(), 'CREATE') AS may_create

-- name: stuck
-- Runs that count as running although the session that holds their lock is gone, or their lock is.
SELECT r.id FROM keepstep.runs r LEFT JOIN keepstep.locks l ON l.run_id = r.id
WHERE r.state = 'running' AND NOT EXISTS (
    SELECT FROM pg_stat_activity a WHERE a.pid = l.backend_pid AND a.backend_start = l.backend_start
)
ORDER BY r.id

-- name: migrated_to
SELECT coalesce(max(version), 0) AS version FROM keepstep.migrations

-- name: signs
-- The dispatcher's last sign of life, by the database's clock.
SELECT now() AS now, (SELECT at FROM keepstep.ticks WHERE name = 'dispatcher') AS tick

-- name: expected
-- Whether anybody counts on a scheduler and a worker.
SELECT EXISTS (SELECT FROM keepstep.schedule_times)
       OR EXISTS (SELECT FROM keepstep.runs WHERE state IN ('queued', 'waiting') AND in_queue) AS expected

-- name: live_runs
SELECT c.integration, r.state, count(*) AS runs
FROM keepstep.runs r JOIN keepstep.connections c ON c.id = r.connection_id
WHERE r.state IN ('queued', 'running', 'waiting') GROUP BY 1, 2

-- name: lateness
-- Seconds by which the schedule that has waited longest is late.
SELECT coalesce(greatest(extract(epoch FROM now() - min(due_at)), 0), 0)::double precision AS seconds FROM keepstep.schedule_times

-- name: limits
-- What is told of each upstream's limits, without what is needed to keep to them; alike ones together. Most of a hundred
-- thousand have a breaker that is closed, and nothing else to tell.
WITH telling AS MATERIALIZED (
    SELECT l.connection_id, jsonb_strip_nulls(jsonb_build_object('breaker', l.state -> 'breaker', 'budgets', l.state -> 'budgets'))::text AS state
    FROM keepstep.limits l WHERE l.state -> 'breaker' ? 'reopens_at' OR l.state ? 'budgets'
), told AS MATERIALIZED (
    SELECT c.integration, t.state, count(*) AS connections FROM telling t JOIN keepstep.connections c ON c.id = t.connection_id GROUP BY 1, 2
)
SELECT integration, state, connections FROM told
UNION ALL
SELECT n.integration, '{}', n.all - (SELECT coalesce(sum(t.connections), 0) FROM told t WHERE t.integration = n.integration)::bigint FROM (
    SELECT integration, sum(n)::bigint AS "all" FROM (
        SELECT integration, count(*) AS n FROM keepstep.connections WHERE owner_id IS NOT NULL GROUP BY 1
        UNION ALL
        SELECT integration, count(*) FROM keepstep.connections WHERE owner_id IS NULL GROUP BY 1
    ) both_kinds GROUP BY 1
) n

-- name: open_letters
SELECT c.integration, d.entity, count(*) AS letters
FROM keepstep.dead_letters d JOIN keepstep.connections c ON c.id = d.connection_id WHERE d.state = 'open' GROUP BY 1, 2

-- name: open_held
SELECT c.integration, h.entity, count(*) AS held
FROM keepstep.held_deletions h JOIN keepstep.connections c ON c.id = h.connection_id WHERE h.state = 'open' GROUP BY 1, 2
