-- name: dispatch
-- The time left is the database's to tell: this machine's clock may be another one.
SELECT started, skipped, more, extract(epoch FROM next_due - clock_timestamp())::float8 AS seconds
FROM keepstep.dispatch_due(%(batch)s)

-- name: wake
SELECT woken, more, extract(epoch FROM next_due - clock_timestamp())::float8 AS seconds
FROM keepstep.wake_waiting(%(batch)s)

-- name: select
SELECT s.id, s.connection_id, c.integration, c.owner_id AS owner, s.name, s.enabled, s.interval_seconds, s.full_at_hour_utc,
       s.entities, s.anchor_at, t.due_at, t.delta_at, t.full_at, s.updated_at, s.updated_by,
       s.env_locked, s.sync_type
FROM keepstep.schedules s
JOIN keepstep.connections c ON c.id = s.connection_id
LEFT JOIN keepstep.schedule_times t ON t.schedule_id = s.id
WHERE (%(integration)s::text IS NULL OR (c.integration = %(integration)s AND c.owner_id IS NULL AND s.name = ''))
ORDER BY c.integration, c.owner_id NULLS FIRST, s.name
LIMIT %(limit)s

-- name: of_types
SELECT s.id, s.connection_id, c.integration, c.owner_id AS owner, s.name, s.enabled, s.interval_seconds, s.full_at_hour_utc,
       s.entities, s.anchor_at, t.due_at, t.delta_at, t.full_at, s.updated_at, s.updated_by,
       s.env_locked, s.sync_type
FROM keepstep.schedules s
JOIN keepstep.connections c ON c.id = s.connection_id
LEFT JOIN keepstep.schedule_times t ON t.schedule_id = s.id
WHERE c.integration = %(integration)s AND c.owner_id IS NULL AND s.sync_type IS NOT NULL
ORDER BY s.interval_seconds, s.name

-- name: lock
-- Edits of one schedule take turns, each seeing what the one before it did.
SELECT s.id FROM keepstep.schedules s JOIN keepstep.connections c ON c.id = s.connection_id
WHERE c.integration = %(integration)s AND c.owner_id IS NULL AND s.name = ''
FOR UPDATE OF s

-- name: add
INSERT INTO keepstep.schedules (connection_id, enabled, interval_seconds, full_at_hour_utc, entities, updated_by)
VALUES (%(connection)s, %(enabled)s, %(interval_seconds)s, %(full_at_hour_utc)s, %(entities)s::text[], %(by)s)
ON CONFLICT (connection_id, name) DO NOTHING

-- name: change
-- What is as it should be is not touched: its times stay.
UPDATE keepstep.schedules
SET enabled = %(enabled)s, interval_seconds = %(interval_seconds)s, full_at_hour_utc = %(full_at_hour_utc)s,
    entities = %(entities)s::text[], updated_by = %(by)s
WHERE id = %(schedule)s
  AND (enabled, interval_seconds, full_at_hour_utc, entities)
      IS DISTINCT FROM (%(enabled)s, %(interval_seconds)s::integer, %(full_at_hour_utc)s::smallint, %(entities)s::text[])

-- name: mark
UPDATE keepstep.schedules SET env_locked = %(names)s::text[]
WHERE id = %(schedule)s AND env_locked IS DISTINCT FROM %(names)s::text[]

-- name: idle
-- Enabled, but without credentials: nothing is dispatched.
DELETE FROM keepstep.schedule_times WHERE schedule_id = %(schedule)s

-- name: awaken
-- It was idle: it is due now.
SELECT keepstep.make_due(s.id) FROM keepstep.schedules s
WHERE s.id = %(schedule)s AND s.enabled
  AND NOT EXISTS (SELECT FROM keepstep.schedule_times t WHERE t.schedule_id = s.id)

-- name: has_credentials
SELECT credentials IS NOT NULL AS found FROM keepstep.connections WHERE integration = %(integration)s AND owner_id IS NULL

-- name: last_tick
SELECT at FROM keepstep.ticks WHERE name = 'dispatcher'
