-- name: all
SELECT name, value FROM keepstep.settings

-- name: put
INSERT INTO keepstep.settings (name, value, updated_by) VALUES (%(name)s, %(value)s, %(by)s)
ON CONFLICT (name) DO UPDATE SET value = excluded.value, updated_at = now(), updated_by = excluded.updated_by

-- name: drop
DELETE FROM keepstep.settings WHERE name = %(name)s RETURNING name
