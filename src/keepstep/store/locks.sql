-- name: evict
-- A session whose lease is over and that waits for its client is one of a frozen or vanished process; the transaction it
-- may have left open would block every taker. One that the database itself keeps busy is left alone.
SELECT pg_terminate_backend(a.pid)
FROM keepstep.locks l JOIN pg_stat_activity a ON a.pid = l.backend_pid AND a.backend_start = l.backend_start
WHERE l.connection_id = %(connection)s AND l.expires_at < now() AND a.wait_event_type = 'Client'

-- name: interrupt
-- Somebody wants the run to end and its flush does not: what it has not committed is undone.
SELECT pg_terminate_backend(a.pid)
FROM keepstep.locks l JOIN pg_stat_activity a ON a.pid = l.backend_pid AND a.backend_start = l.backend_start
WHERE l.connection_id = %(connection)s

-- name: holder
-- Who holds the connection, and whether its session is still there: kill -9 ends the session long before the lease.
-- A run that has ended needs its lock no more, even where it could not give it back.
SELECT l.run_id, l.renewed_at, l.started_at, l.expires_at > now() AS is_fresh, r.state = 'running' AND EXISTS (
           SELECT FROM pg_stat_activity a WHERE a.pid = l.backend_pid AND a.backend_start = l.backend_start
       ) AS is_there
FROM keepstep.locks l JOIN keepstep.runs r ON r.id = l.run_id WHERE l.connection_id = %(connection)s

-- name: take
INSERT INTO keepstep.locks (connection_id, run_id, token, expires_at, backend_pid, backend_start)
SELECT %(connection)s, %(run)s, %(token)s, now() + make_interval(secs => %(lease)s::float8), a.pid, a.backend_start
FROM pg_stat_activity a WHERE a.pid = pg_backend_pid()
ON CONFLICT (connection_id) DO UPDATE
SET run_id = excluded.run_id, token = excluded.token, started_at = now(), renewed_at = now(), expires_at = excluded.expires_at,
    backend_pid = excluded.backend_pid, backend_start = excluded.backend_start

-- name: fence
-- First statement of every flush: no row means that the lock is gone or somebody else's, and the flush must not commit.
UPDATE keepstep.locks SET renewed_at = now(), expires_at = now() + make_interval(secs => %(lease)s::float8)
WHERE connection_id = %(connection)s AND token = %(token)s
RETURNING now() AS now

-- name: renew
-- Rows that are locked belong to runs that commit at the moment: they are alive, and nobody waits for them.
WITH mine AS (
    SELECT w.connection_id, w.token, w.lease
    FROM unnest(%(connections)s::bigint[], %(tokens)s::uuid[], %(leases)s::float8[]) AS w (connection_id, token, lease)
), free AS (
    SELECT l.connection_id, m.lease FROM keepstep.locks l JOIN mine m ON m.connection_id = l.connection_id AND m.token = l.token
    ORDER BY l.connection_id FOR UPDATE OF l SKIP LOCKED
), renewed AS (
    UPDATE keepstep.locks l SET renewed_at = now(), expires_at = now() + make_interval(secs => f.lease)
    FROM free f WHERE l.connection_id = f.connection_id
)
SELECT l.token FROM keepstep.locks l JOIN mine m ON m.connection_id = l.connection_id AND m.token = l.token

-- name: move
-- The run's session is a new one (the database restarted): the lock follows it.
UPDATE keepstep.locks l SET backend_pid = a.pid, backend_start = a.backend_start
FROM pg_stat_activity a WHERE a.pid = pg_backend_pid() AND l.connection_id = %(connection)s AND l.token = %(token)s
RETURNING l.run_id

-- name: release
DELETE FROM keepstep.locks WHERE connection_id = %(connection)s AND token = %(token)s

-- name: take_away
DELETE FROM keepstep.locks WHERE connection_id = %(connection)s RETURNING run_id

-- name: guard
-- Somebody who writes a synced table outside a run (requeue, approval) holds this row: no flush commits meanwhile.
SELECT run_id, token, renewed_at FROM keepstep.locks WHERE connection_id = %(connection)s FOR UPDATE
