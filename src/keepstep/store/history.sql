-- name: events_before
-- The newest events of a run before one, or before now.
SELECT id, ts, type, level, entity, page, rows, msg, data FROM keepstep.events
WHERE run_id = %(run)s AND id < coalesce(%(before)s::bigint, 9223372036854775807) ORDER BY id DESC LIMIT %(limit)s
