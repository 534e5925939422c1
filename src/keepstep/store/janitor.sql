-- name: take_turn
-- One process at a time does a piece of housekeeping, and the next one only when it is due again. A tick far in the future
-- is one from before a clock was set back.
INSERT INTO keepstep.ticks (name, at) VALUES (%(name)s, now())
ON CONFLICT (name) DO UPDATE SET at = now()
WHERE abs(extract(epoch FROM now() - ticks.at)) >= %(every)s::float8
RETURNING at

-- name: prune_events
-- Those that say how a run went stay as long as the run: keepstep.audit_events is made of them.
DELETE FROM keepstep.events WHERE id IN (
    SELECT id FROM keepstep.events
    WHERE ts < now() - make_interval(secs => %(older)s::float8) AND left(type, 4) <> 'run-'
    ORDER BY ts LIMIT %(limit)s FOR UPDATE SKIP LOCKED
)

-- name: prune_rate_samples
DELETE FROM keepstep.rate_samples WHERE id IN (
    SELECT id FROM keepstep.rate_samples WHERE ts < now() - make_interval(secs => %(older)s::float8)
    ORDER BY ts LIMIT %(limit)s FOR UPDATE SKIP LOCKED
)

-- name: prune_request_minutes
DELETE FROM keepstep.request_minutes WHERE (connection_id, minute) IN (
    SELECT connection_id, minute FROM keepstep.request_minutes
    WHERE minute < now() - make_interval(secs => %(older)s::float8)
    ORDER BY minute LIMIT %(limit)s FOR UPDATE SKIP LOCKED
)

-- name: prune_sessions
DELETE FROM keepstep.sessions WHERE token_hash IN (
    SELECT token_hash FROM keepstep.sessions WHERE expires_at < now() - make_interval(secs => %(older)s::float8)
    LIMIT %(limit)s FOR UPDATE SKIP LOCKED
)

-- name: prune_login_failures
DELETE FROM keepstep.login_failures WHERE id IN (
    SELECT id FROM keepstep.login_failures WHERE at < now() - make_interval(secs => %(older)s::float8)
    LIMIT %(limit)s FOR UPDATE SKIP LOCKED
)

-- name: prune_ticks
-- Not the dispatcher's: since when it is silent is just what people want to know.
DELETE FROM keepstep.ticks WHERE name IN (
    SELECT name FROM keepstep.ticks
    WHERE at < now() - make_interval(secs => %(older)s::float8) AND name <> 'dispatcher' LIMIT %(limit)s FOR UPDATE SKIP LOCKED
)

-- name: old_runs
-- The next runs in the order of their ids, which grow with time: where none of them is old, none after them is.
SELECT id, coalesce(finished_at < now() - make_interval(secs => %(older)s::float8), false) AS old
FROM keepstep.runs WHERE id > %(after)s ORDER BY id LIMIT %(limit)s

-- name: prune_letters
DELETE FROM keepstep.dead_letters
WHERE run_id = ANY (%(runs)s::bigint[]) AND closed_at < now() - make_interval(secs => %(older)s::float8)

-- name: prune_held
DELETE FROM keepstep.held_deletions
WHERE run_id = ANY (%(runs)s::bigint[]) AND decided_at < now() - make_interval(secs => %(older)s::float8)

-- name: prune_runs
-- A run stays while something of it does: a dead letter, a decision to take, a place to go on from.
DELETE FROM keepstep.runs r
WHERE id = ANY (%(runs)s::bigint[]) AND counted
  AND NOT EXISTS (SELECT FROM keepstep.dead_letters d WHERE d.run_id = r.id)
  AND NOT EXISTS (SELECT FROM keepstep.held_deletions h WHERE h.run_id = r.id)
  AND NOT EXISTS (SELECT FROM keepstep.checkpoints c WHERE c.run_id = r.id)
  AND NOT EXISTS (SELECT FROM keepstep.locks l WHERE l.run_id = r.id)

-- name: prune_health_history
DELETE FROM keepstep.health_history WHERE (connection_id, hour) IN (
    SELECT connection_id, hour FROM keepstep.health_history WHERE hour < now() - make_interval(secs => %(older)s::float8)
    ORDER BY hour LIMIT %(limit)s FOR UPDATE SKIP LOCKED
)

-- name: prune_alert_messages
-- What still waits to be delivered stays, however old it is.
DELETE FROM keepstep.alert_messages WHERE id IN (
    SELECT id FROM keepstep.alert_messages
    WHERE state <> 'waiting' AND created_at < now() - make_interval(secs => %(older)s::float8)
    ORDER BY created_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
)

-- name: prune_alerts
DELETE FROM keepstep.alerts WHERE id IN (
    SELECT id FROM keepstep.alerts WHERE ended_at < now() - make_interval(secs => %(older)s::float8)
    ORDER BY ended_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
)

-- name: prune_admin_logs
DELETE FROM keepstep.admin_logs WHERE id IN (
    SELECT id FROM keepstep.admin_logs WHERE created_at < now() - make_interval(secs => %(older)s::float8)
    ORDER BY created_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
)
