-- name: add_user
INSERT INTO keepstep.users (name, password_hash, role) VALUES (%(name)s, %(hash)s, %(role)s)
ON CONFLICT (lower(name)) DO NOTHING
RETURNING id, name, role, created_at, last_login_at

-- name: users
-- Page by page in the order of their names: those whom another application signs in may be a hundred thousand.
SELECT id, name, role, created_at, last_login_at FROM keepstep.users
WHERE (%(search)s::text IS NULL OR strpos(lower(name), lower(%(search)s)) > 0)
  AND (%(after)s::bigint IS NULL OR lower(name) > (SELECT lower(p.name) FROM keepstep.users p WHERE p.id = %(after)s))
ORDER BY lower(name) LIMIT %(limit)s

-- name: count_users
SELECT count(*) AS n FROM keepstep.users

-- name: user_named
SELECT id, name, role, password_hash, created_at, last_login_at FROM keepstep.users WHERE lower(name) = lower(%(name)s)

-- name: user_by_id
SELECT id, name, role, password_hash, created_at, last_login_at FROM keepstep.users WHERE id = %(id)s

-- name: change_user
UPDATE keepstep.users
SET role = coalesce(%(role)s::text, role), password_hash = coalesce(%(hash)s::text, password_hash)
WHERE id = %(id)s
RETURNING id, name, role, created_at, last_login_at

-- name: remove_user
-- What they had connected is forgotten: nothing goes on in the name of somebody who is gone.
WITH gone AS (
    DELETE FROM keepstep.users WHERE id = %(id)s RETURNING name, owner_id
), forgotten AS (
    UPDATE keepstep.connections c SET credentials = NULL, credentials_set_at = NULL, refused_at = NULL, refused_reason = NULL
    FROM gone WHERE c.of_user = gone.owner_id AND c.own_credentials
), off AS (
    UPDATE keepstep.schedules s SET enabled = false, updated_by = 'keepstep'
    FROM keepstep.connections c JOIN gone ON c.of_user = gone.owner_id
    WHERE s.connection_id = c.id AND c.own_credentials AND s.enabled
)
SELECT name FROM gone

-- name: sign_in
-- Holds the user until the session is there: a change of the password at the same time either ends it or prevents it.
UPDATE keepstep.users SET last_login_at = now(), password_hash = %(new)s
WHERE id = %(id)s AND password_hash = %(old)s
RETURNING id, name, role, owner_id

-- name: add_session
INSERT INTO keepstep.sessions (token_hash, user_id, expires_at)
VALUES (%(hash)s, %(user)s, now() + make_interval(secs => %(lives)s::float8))

-- name: use_session
-- Writes at most once a minute: a page that is left open asks all day.
WITH seen AS (
    UPDATE keepstep.sessions SET seen_at = now()
    WHERE token_hash = %(hash)s AND expires_at > now() AND seen_at < now() - interval '1 minute'
      AND seen_at > now() - make_interval(secs => %(idle)s::float8)
)
SELECT u.id, u.name, u.role, u.owner_id FROM keepstep.sessions s JOIN keepstep.users u ON u.id = s.user_id
WHERE s.token_hash = %(hash)s AND s.expires_at > now() AND s.seen_at > now() - make_interval(secs => %(idle)s::float8)

-- name: end_session
DELETE FROM keepstep.sessions s USING keepstep.users u WHERE s.token_hash = %(hash)s AND u.id = s.user_id RETURNING u.name

-- name: end_sessions_of
DELETE FROM keepstep.sessions WHERE user_id = %(user)s AND token_hash IS DISTINCT FROM %(except)s::bytea

-- name: add_token
INSERT INTO keepstep.api_tokens (name, token_hash, role, created_by) VALUES (%(name)s, %(hash)s, %(role)s, %(by)s)
ON CONFLICT (lower(name)) WHERE revoked_at IS NULL DO NOTHING
RETURNING id, name, role, created_at, created_by, last_used_at

-- name: tokens
SELECT id, name, role, created_at, created_by, last_used_at FROM keepstep.api_tokens
WHERE revoked_at IS NULL ORDER BY lower(name)

-- name: use_token
-- Writes at most once a minute, however often a script calls.
WITH used AS (
    UPDATE keepstep.api_tokens SET last_used_at = now()
    WHERE token_hash = %(hash)s AND revoked_at IS NULL
      AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')
)
SELECT id, name, role FROM keepstep.api_tokens WHERE token_hash = %(hash)s AND revoked_at IS NULL

-- name: revoke_token
-- The row stays: the admin log speaks of it.
UPDATE keepstep.api_tokens SET revoked_at = now() WHERE id = %(id)s AND revoked_at IS NULL RETURNING name

-- name: one_at_a_time
-- Tries for the same name or from the same address count each other; in one order, so that two never wait for each other.
SELECT pg_advisory_xact_lock(h)
FROM (SELECT DISTINCT hashtextextended('keepstep.login ' || w, 0) AS h FROM unnest(%(what)s::text[]) AS t (w) ORDER BY h) AS ordered

-- name: too_many
-- The try that must leave the window before another one counts; no row while there is room.
SELECT extract(epoch FROM at + make_interval(secs => %(window)s::float8) - now())::float8 AS after
FROM keepstep.login_failures
WHERE what = %(what)s AND at > now() - make_interval(secs => %(window)s::float8)
ORDER BY at DESC OFFSET %(most)s - 1 LIMIT 1

-- name: try
-- Every try counts as failed until it has succeeded: a hundred at once cannot slip by.
INSERT INTO keepstep.login_failures (what) SELECT unnest(%(what)s::text[]) RETURNING id

-- name: succeeded
DELETE FROM keepstep.login_failures WHERE id = ANY (%(ids)s) OR what = %(name)s

-- name: host_user
-- Writes at most once a minute, or when the role is another one.
WITH seen AS (
    UPDATE keepstep.users SET last_login_at = now(), role = coalesce(%(role)s::text, role)
    WHERE subject = %(subject)s
      AND (last_login_at IS NULL OR last_login_at < now() - interval '1 minute' OR role <> coalesce(%(role)s::text, role))
)
SELECT id, name, coalesce(%(role)s::text, role) AS role, owner_id FROM keepstep.users WHERE subject = %(subject)s

-- name: add_host_user
-- Two requests at once make one user; nothing where the name is taken.
INSERT INTO keepstep.users (name, subject, role, last_login_at)
VALUES (%(name)s, %(subject)s, %(role)s, now())
ON CONFLICT DO NOTHING
RETURNING id, name, role, owner_id
