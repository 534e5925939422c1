-- name: events_before
-- The newest events of a run before one, or before now.
SELECT id, run_id, ts, type, level, entity, page, rows, msg, data FROM keepstep.events
WHERE run_id = %(run)s AND id < coalesce(%(before)s::bigint, 9223372036854775807) ORDER BY id DESC LIMIT %(limit)s

-- name: newest_events
-- Across all runs: what a log shows before it goes on by itself. Nulls ask for everything.
SELECT id, ts, run_id, type, level, entity, page, rows, msg, data FROM keepstep.events
WHERE id < coalesce(%(before)s::bigint, 9223372036854775807) AND level = ANY (%(levels)s::text[])
  AND (%(run)s::bigint IS NULL OR run_id = %(run)s::bigint)
  AND (%(entity)s::text IS NULL OR entity = %(entity)s::text)
  AND (%(only)s::bigint[] IS NULL OR connection_id = ANY (%(only)s::bigint[]))
ORDER BY id DESC LIMIT %(limit)s::bigint
