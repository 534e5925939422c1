-- name: connection
-- Holds the connection until the transaction ends: two tabs take turns, and one schedule comes of it.
INSERT INTO keepstep.connections (integration, owner_id, own_credentials, workspace)
VALUES (%(integration)s, %(owner)s, true, %(workspace)s)
ON CONFLICT (integration, coalesce(owner_id, '')) DO UPDATE
SET own_credentials = true, workspace = coalesce(excluded.workspace, connections.workspace)
RETURNING id

-- name: select
-- ``now`` is the database's: a config is told by the same clock that makes it due.
SELECT s.id, c.id AS connection_id, c.integration, c.owner_id AS owner, s.name, coalesce(s.enabled, false) AS enabled,
       s.interval_seconds, s.full_at_hour_utc, s.entities, s.anchor_at, t.due_at, t.delta_at, t.full_at,
       c.workspace, c.state, coalesce(c.paused_reason, c.refused_reason) AS reason, c.paused_by,
       o.last_success_at AS last_sync_at,
       now() AS now
FROM keepstep.connections c
LEFT JOIN keepstep.schedules s ON s.connection_id = c.id AND s.name = ''
LEFT JOIN keepstep.schedule_times t ON t.schedule_id = s.id
LEFT JOIN keepstep.owner_standing o ON o.connection_id = c.id
WHERE c.integration = %(integration)s AND c.owner_id = %(owner)s

-- name: add
INSERT INTO keepstep.schedules (connection_id, enabled, interval_seconds, entities, updated_by)
VALUES (%(connection)s, %(enabled)s, %(seconds)s, %(entities)s::text[], %(by)s)

-- name: change
-- What is as it should be is not touched: its times stay.
UPDATE keepstep.schedules
SET enabled = %(enabled)s, interval_seconds = %(seconds)s, entities = %(entities)s::text[], updated_by = %(by)s
WHERE id = %(schedule)s
  AND (enabled, interval_seconds, entities) IS DISTINCT FROM (%(enabled)s, %(seconds)s::integer, %(entities)s::text[])

-- name: go_on
SELECT keepstep.go_on(%(schedule)s)

-- name: rest
DELETE FROM keepstep.schedule_times WHERE schedule_id = %(schedule)s

-- name: settle
-- What was planned before its integration was there has the entities that it has.
UPDATE keepstep.schedules s SET entities = %(entities)s::text[]
FROM keepstep.connections c
WHERE c.id = s.connection_id AND c.integration = %(integration)s AND c.own_credentials AND s.name = ''
  AND s.sync_type IS NULL AND s.entities <> %(entities)s::text[]

-- name: rest_all
-- An integration that is not there makes nothing due: its runs could only fail.
DELETE FROM keepstep.schedule_times t USING keepstep.schedules s, keepstep.connections c
WHERE s.id = t.schedule_id AND c.id = s.connection_id AND c.integration = %(integration)s AND c.own_credentials

-- name: awaken_all
SELECT count(keepstep.make_due(s.id)) FROM keepstep.schedules s JOIN keepstep.connections c ON c.id = s.connection_id
WHERE c.integration = %(integration)s AND c.own_credentials AND c.state = 'connected' AND s.enabled
  AND NOT EXISTS (SELECT FROM keepstep.schedule_times t WHERE t.schedule_id = s.id)

-- name: owners_in
-- Whom a workspace stands for: an owner of that name, or those who set something up in it.
SELECT of_user AS owner_id FROM keepstep.connections WHERE of_user = %(workspace)s
UNION
SELECT owner_id FROM keepstep.connections
WHERE integration = %(integration)s AND workspace = %(workspace)s AND owner_id IS NOT NULL
LIMIT 3

-- name: is_owner
SELECT EXISTS (SELECT FROM keepstep.connections WHERE of_user = %(owner)s)
    OR EXISTS (SELECT FROM keepstep.users WHERE owner_id = %(owner)s) AS found
