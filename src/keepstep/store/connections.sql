-- name: put_credentials
INSERT INTO keepstep.connections (integration, owner_id, credentials, credentials_set_at)
VALUES (%(integration)s, %(owner)s, %(credentials)s, now())
ON CONFLICT (integration, coalesce(owner_id, '')) DO UPDATE
SET credentials = excluded.credentials, credentials_set_at = excluded.credentials_set_at, refused_at = NULL, refused_reason = NULL
RETURNING credentials_set_at

-- name: remove_credentials
UPDATE keepstep.connections SET credentials = NULL, credentials_set_at = NULL
WHERE integration = %(integration)s AND owner_id IS NOT DISTINCT FROM %(owner)s::text AND credentials IS NOT NULL
RETURNING id

-- name: with_credentials
-- Owners have theirs apart (owners.sql): they may be a hundred thousand.
SELECT id, integration, owner_id, credentials, credentials_set_at FROM keepstep.connections
WHERE credentials IS NOT NULL AND owner_id IS NULL ORDER BY id
