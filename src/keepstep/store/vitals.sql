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
