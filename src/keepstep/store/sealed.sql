-- name: everything
-- All that is encrypted with KEEPSTEP_SECRET_KEY, and the name that each was sealed for; of what belongs to owners, who may
-- be a hundred thousand, the newest.
SELECT 'connection' AS kind, id::text AS id, integration AS owner, credentials AS sealed
FROM keepstep.connections WHERE credentials IS NOT NULL AND owner_id IS NULL
UNION ALL
(SELECT 'connection', id::text, integration || ' of ' || owner_id, credentials
 FROM keepstep.connections WHERE credentials IS NOT NULL AND owner_id IS NOT NULL ORDER BY id DESC LIMIT %(owners)s)
UNION ALL
SELECT 'setting', name, name, convert_to(value ->> 'sealed', 'UTF8')
FROM keepstep.settings WHERE jsonb_typeof(value) = 'object' AND jsonb_exists(value, 'sealed')

-- name: owned
-- Page by page, in the order of their ids.
SELECT 'connection' AS kind, id::text AS id, integration || ' of ' || owner_id AS owner, credentials AS sealed
FROM keepstep.connections WHERE credentials IS NOT NULL AND owner_id IS NOT NULL AND id > %(after)s::text::bigint
ORDER BY id LIMIT %(limit)s

-- name: renew_connection
-- Only what is still as it was read: somebody may have set other credentials meanwhile.
UPDATE keepstep.connections SET credentials = %(new)s::bytea
WHERE id = %(id)s::text::bigint AND credentials = %(old)s::bytea RETURNING 1 AS done

-- name: renew_setting
UPDATE keepstep.settings SET value = jsonb_build_object('sealed', convert_from(%(new)s::bytea, 'UTF8'))
WHERE name = %(id)s AND value ->> 'sealed' = convert_from(%(old)s::bytea, 'UTF8') RETURNING 1 AS done
