-- name: all
-- Without a schedule the next run is where it would be: on the grid that began with the last change.
SELECT t.sync_type, t.interval_minutes, t.enabled, t.updated_at, t.updated_by, t.saved, t.per_agent,
       CASE WHEN NOT t.enabled THEN NULL
            WHEN EXISTS (SELECT FROM keepstep.schedules s WHERE s.sync_type = t.sync_type) THEN
                (SELECT min(st.due_at) FROM keepstep.schedules s JOIN keepstep.schedule_times st ON st.schedule_id = s.id
                 WHERE s.sync_type = t.sync_type)
            ELSE keepstep.next_slot(now(), t.updated_at, t.interval_minutes * 60) END AS next_run
FROM keepstep.sync_settings t ORDER BY t.default_minutes, t.sync_type

-- name: lock
SELECT sync_type, interval_minutes, enabled FROM keepstep.sync_settings WHERE sync_type = %(type)s FOR UPDATE

-- name: change
-- Whoever gives an interval has chosen it, also when it is the default.
UPDATE keepstep.sync_settings
SET interval_minutes = coalesce(%(minutes)s::integer, interval_minutes), enabled = coalesce(%(enabled)s::boolean, enabled),
    saved = saved OR %(minutes)s::integer IS NOT NULL, updated_by = %(by)s
WHERE sync_type = %(type)s

-- name: default
-- A default changes what nobody chose; one that is as it should be keeps its times.
UPDATE keepstep.sync_settings
SET default_minutes = %(minutes)s, interval_minutes = CASE WHEN saved THEN interval_minutes ELSE %(minutes)s END,
    updated_by = CASE WHEN saved THEN updated_by ELSE %(by)s END
WHERE sync_type = %(type)s
  AND (default_minutes <> %(minutes)s OR (NOT saved AND interval_minutes <> %(minutes)s))

-- name: plan
-- One schedule of a type for each connection; the type says its interval.
INSERT INTO keepstep.schedules (connection_id, name, sync_type, interval_seconds, entities)
VALUES (%(connection)s, %(type)s, %(type)s, 600, %(entities)s::text[])
ON CONFLICT (connection_id, name) DO NOTHING
