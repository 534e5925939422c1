-- name: get
SELECT c.cursor, c.progress, c.run_id, c.started_at, c.updated_at,
       c.updated_at < now() - make_interval(hours => %(stale_hours)s) AS stale
FROM keepstep.checkpoints c WHERE connection_id = %(connection)s AND entity = %(entity)s AND mode = %(mode)s

-- name: put
INSERT INTO keepstep.checkpoints (connection_id, entity, mode, cursor, progress, run_id)
VALUES (%(connection)s, %(entity)s, %(mode)s, %(cursor)s, %(progress)s, %(run)s)
ON CONFLICT (connection_id, entity, mode) DO UPDATE
SET cursor = excluded.cursor, progress = excluded.progress, run_id = excluded.run_id, updated_at = now()

-- name: drop
DELETE FROM keepstep.checkpoints
WHERE connection_id = %(connection)s AND entity = %(entity)s AND mode = %(mode)s
RETURNING progress

-- name: list
-- Of the connections that all share, or of one owner's: those of all owners may be a hundred thousand.
SELECT c.integration, c.owner_id, k.entity, k.mode, k.cursor, k.progress, k.run_id, k.started_at, k.updated_at
FROM keepstep.checkpoints k JOIN keepstep.connections c ON c.id = k.connection_id
WHERE CASE WHEN %(owner)s::text IS NULL THEN c.owner_id IS NULL ELSE c.owner_id = %(owner)s END
ORDER BY c.integration, k.entity, k.mode

-- name: state
SELECT watermark, facts, last_full_at, last_delta_at FROM keepstep.entity_states
WHERE connection_id = %(connection)s AND entity = %(entity)s

-- name: states
-- Of the same connections.
SELECT c.integration, c.owner_id, s.entity, s.watermark, s.facts, s.last_full_at, s.last_delta_at
FROM keepstep.entity_states s JOIN keepstep.connections c ON c.id = s.connection_id
WHERE CASE WHEN %(owner)s::text IS NULL THEN c.owner_id IS NULL ELSE c.owner_id = %(owner)s END
ORDER BY c.integration, s.entity

-- name: put_facts
INSERT INTO keepstep.entity_states (connection_id, entity, facts) VALUES (%(connection)s, %(entity)s, %(facts)s)
ON CONFLICT (connection_id, entity) DO UPDATE SET facts = excluded.facts

-- name: advance
-- The watermark only moves forward, and only when a reading has ended.
INSERT INTO keepstep.entity_states (connection_id, entity, watermark, last_full_at, last_delta_at)
VALUES (%(connection)s, %(entity)s, %(watermark)s,
        CASE WHEN %(mode)s = 'backfill' THEN now() END, CASE WHEN %(mode)s = 'delta' THEN now() END)
ON CONFLICT (connection_id, entity) DO UPDATE
SET watermark = greatest(entity_states.watermark, excluded.watermark),
    last_full_at = coalesce(excluded.last_full_at, entity_states.last_full_at),
    last_delta_at = coalesce(excluded.last_delta_at, entity_states.last_delta_at)

-- name: forget_watermark
UPDATE keepstep.entity_states SET watermark = NULL, facts = '{}' WHERE connection_id = %(connection)s AND entity = %(entity)s

-- name: forget_readings
-- The cursors go; the rows stay, so that the next run finds the tables of seen keys to drop.
UPDATE keepstep.checkpoints SET cursor = NULL, progress = progress || '{"abandoned": true}'
WHERE connection_id = %(connection)s AND entity = %(entity)s
