-- name: put
INSERT INTO keepstep.held_deletions (run_id, entity, connection_id, live_rows, delete_rows, table_state)
VALUES (%(run)s, %(entity)s, %(connection)s, %(live_rows)s, %(delete_rows)s, %(table_state)s)

-- name: void
-- A newer full reading, or a table that has moved, makes an older decision meaningless.
UPDATE keepstep.held_deletions SET state = 'void', decided_at = now(), decided_by = 'keepstep', reason = %(reason)s
WHERE connection_id = %(connection)s AND entity = %(entity)s AND state = 'open'
RETURNING run_id

-- name: list
SELECT h.*, c.integration, c.owner_id, c.of_user,
       (SELECT array_agg(k.key) FROM (SELECT key FROM keepstep.held_keys k WHERE k.run_id = h.run_id AND k.entity = h.entity ORDER BY key LIMIT 20) k) AS sample
FROM keepstep.held_deletions h JOIN keepstep.connections c ON c.id = h.connection_id
WHERE (%(state)s::text IS NULL OR h.state = %(state)s) AND (%(run)s::bigint IS NULL OR h.run_id = %(run)s)
ORDER BY h.run_id DESC, h.entity

-- name: decide
UPDATE keepstep.held_deletions SET state = %(state)s, decided_at = now(), decided_by = %(by)s, reason = %(reason)s
WHERE run_id = %(run)s AND entity = %(entity)s AND state = 'open'
RETURNING entity

-- name: drop_keys
DELETE FROM keepstep.held_keys WHERE run_id = %(run)s AND entity = %(entity)s
