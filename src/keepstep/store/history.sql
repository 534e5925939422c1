-- name: events_before
-- The newest events of a run before one, or before now.
SELECT id, run_id, ts, type, level, entity, page, rows, msg, data FROM keepstep.events
WHERE run_id = %(run)s AND id < coalesce(%(before)s::bigint, 9223372036854775807) ORDER BY id DESC LIMIT %(limit)s

-- name: errors
-- What went wrong, newest first, with as much of each answer as tells one kind from another.
SELECT e.id, e.ts, e.run_id, e.entity, e.data ->> 'code' AS code, e.data ->> 'message' AS message, e.data ->> 'fix' AS fix,
       e.data -> 'answer' ->> 'status' AS status, e.data -> 'answer' ->> 'path' AS path,
       left(e.data -> 'answer' ->> 'snippet', 300) AS snippet
FROM keepstep.events e JOIN keepstep.connections c ON c.id = e.connection_id
WHERE e.type IN ('entity-failed', 'run-failed', 'run-waiting') AND e.data ? 'code'
  AND (%(integration)s::text IS NULL OR c.integration = %(integration)s)
  AND (%(entity)s::text IS NULL OR e.entity = %(entity)s)
ORDER BY e.id DESC LIMIT %(limit)s

-- name: answers
SELECT id, data -> 'answer' AS answer FROM keepstep.events WHERE id = ANY (%(ids)s::bigint[])

-- name: newest_events
-- Across all runs: what a log shows before it goes on by itself. Nulls ask for everything.
SELECT id, ts, run_id, type, level, entity, page, rows, msg, data FROM keepstep.events
WHERE id < coalesce(%(before)s::bigint, 9223372036854775807) AND level = ANY (%(levels)s::text[])
  AND (%(run)s::bigint IS NULL OR run_id = %(run)s::bigint)
  AND (%(entity)s::text IS NULL OR entity = %(entity)s::text)
ORDER BY id DESC LIMIT %(limit)s::bigint
