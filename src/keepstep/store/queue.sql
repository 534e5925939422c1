-- name: enqueue_one
-- A run and its queue row, or nothing where the connection has a live run: of any number of callers one gets through.
WITH queued AS (
    INSERT INTO keepstep.runs (connection_id, mode, dry_run, since, trigger, actor, entities, state, in_queue)
    SELECT %(connection)s, %(mode)s, %(dry_run)s, %(since)s::timestamptz, %(trigger)s, %(actor)s, %(entities)s::text[], 'queued', true
    WHERE NOT EXISTS (  -- spares the ids of those that come too late
        SELECT FROM keepstep.runs WHERE connection_id = %(connection)s AND state IN ('queued', 'running', 'waiting')
    )
    ON CONFLICT (connection_id) WHERE state IN ('queued', 'running', 'waiting') DO NOTHING
    RETURNING id
)
SELECT id, keepstep.enqueue(ARRAY[id]) AS rows FROM queued

-- name: connection
SELECT id FROM keepstep.connections WHERE integration = %(integration)s AND coalesce(owner_id, '') = coalesce(%(owner)s, '')

-- name: live
SELECT id, state, started_at, due_at FROM keepstep.runs
WHERE connection_id = %(connection)s AND state IN ('queued', 'running', 'waiting')

-- name: put
-- Rows for runs that are queued again.
SELECT keepstep.enqueue(%(runs)s::bigint[])

-- name: drop_rows
DELETE FROM keepstep_queue.procrastinate_jobs
WHERE lock = 'connection/' || %(connection)s::bigint AND queueing_lock = 'run/' || %(run)s::bigint AND status IN ('todo', 'doing')

-- name: abort
-- A row that waits is dropped; the worker of one that is done is told at the commit, by the engine's own trigger.
WITH dropped AS (
    DELETE FROM keepstep_queue.procrastinate_jobs
    WHERE lock = 'connection/' || %(connection)s::bigint AND status = 'todo'
)
UPDATE keepstep_queue.procrastinate_jobs SET abort_requested = true
WHERE lock = 'connection/' || %(connection)s::bigint AND status = 'doing'

-- name: finish
-- The attempt is over, also where somebody has removed its row already. Another attempt that this row kept back may
-- begin: its workers were told too early.
WITH gone AS (
    DELETE FROM keepstep_queue.procrastinate_jobs WHERE id = %(job_id)s::bigint RETURNING id, lock
)
SELECT count(pg_notify('procrastinate_queue_v1#' || j.queue_name, json_build_object('type', 'job_inserted', 'job_id', j.id)::text))
FROM gone JOIN keepstep_queue.procrastinate_jobs j ON j.lock = gone.lock AND j.id <> gone.id AND j.status = 'todo'

-- name: sweep_rows
-- Attempts of workers that are dead, or were thought so: their rows would keep the connection's next attempt back.
WITH gone AS (
    DELETE FROM keepstep_queue.procrastinate_jobs j
    WHERE j.status = 'doing' AND NOT EXISTS (
        SELECT FROM keepstep_queue.procrastinate_workers w
        WHERE w.id = j.worker_id AND w.last_heartbeat > now() - make_interval(secs => %(stale)s::float8)
    )
    RETURNING j.id, j.lock
)
SELECT (SELECT count(*) FROM gone) AS rows, count(
    pg_notify('procrastinate_queue_v1#' || j.queue_name, json_build_object('type', 'job_inserted', 'job_id', j.id)::text)
) AS freed
FROM gone JOIN keepstep_queue.procrastinate_jobs j ON j.lock = gone.lock AND j.id <> gone.id AND j.status = 'todo'

-- name: sweep_workers
DELETE FROM keepstep_queue.procrastinate_workers WHERE last_heartbeat < now() - make_interval(secs => %(dead)s::float8) RETURNING id

-- name: unqueued
-- Queued runs without a row: an attempt ended before it began, or somebody emptied the engine's table.
SELECT r.id FROM keepstep.runs r
WHERE r.state = 'queued' AND r.in_queue AND NOT EXISTS (
    SELECT FROM keepstep_queue.procrastinate_jobs j
    WHERE j.lock = 'connection/' || r.connection_id AND j.queueing_lock = 'run/' || r.id AND j.status IN ('todo', 'doing')
)
LIMIT 1000

-- name: suspects
-- Runs that nobody seems to drive. Their lock tells a dead worker from one whose database was away: a live one renews it.
SELECT r.id, r.connection_id, l.token::text, l.renewed_at
FROM keepstep.runs r LEFT JOIN keepstep.locks l ON l.connection_id = r.connection_id AND l.run_id = r.id
WHERE r.state = 'running' AND (l.run_id IS NULL OR l.expires_at < now() OR NOT EXISTS (
    SELECT FROM pg_stat_activity a WHERE a.pid = l.backend_pid AND a.backend_start = l.backend_start
))

-- name: lost_wait
-- A run that its own process drives waits, and the process has not gone on with it: it is gone.
SELECT id, connection_id FROM keepstep.runs WHERE state = 'waiting' AND NOT in_queue AND due_at < now() - interval '1 minute'

-- name: lock_connection
SELECT id FROM keepstep.connections WHERE id = %(connection)s FOR NO KEY UPDATE

-- name: abandoned
-- The run of a dead worker, once more, under the locks that nobody else gets by.
SELECT in_queue, crashes FROM keepstep.runs WHERE id = %(run)s AND state = 'running'

-- name: requeue
UPDATE keepstep.runs SET state = 'queued', queued_at = now(), crashes = crashes + 1 WHERE id = %(run)s AND state = 'running' RETURNING crashes

-- name: stats
SELECT queue_name AS queue, count(*) FILTER (WHERE status = 'todo') AS todo, count(*) FILTER (WHERE status = 'doing') AS doing
FROM keepstep_queue.procrastinate_jobs GROUP BY queue_name

-- name: oldest
SELECT extract(epoch FROM now() - min(queued_at))::float8 AS seconds FROM keepstep.runs WHERE state = 'queued'

-- name: workers
SELECT count(*) AS alive FROM keepstep_queue.procrastinate_workers WHERE last_heartbeat > now() - make_interval(secs => %(stale)s::float8)

-- name: set_aside
-- A run stands still while others wait for a place: what is queued of its connection waits aside from now on, and so will it.
SELECT keepstep.set_aside(r.connection_id) AS is_aside FROM keepstep.runs r
WHERE r.id = %(run_id)s AND r.state = 'running' AND EXISTS (
    SELECT FROM keepstep_queue.procrastinate_jobs j WHERE j.status = 'todo' AND j.queue_name <> 'struggling')

-- name: heartbeat
-- A worker that was silent for long was forgotten; when it wakes up it is the same one again.
INSERT INTO keepstep_queue.procrastinate_workers (id) OVERRIDING SYSTEM VALUE VALUES (%(worker_id)s)
ON CONFLICT (id) DO UPDATE SET last_heartbeat = now()

-- name: disown
-- Rows that were given to a worker which never heard of it.
DELETE FROM keepstep_queue.procrastinate_jobs
WHERE worker_id = %(worker_id)s AND status = 'doing' AND id <> ALL (%(performed)s::bigint[])
