-- name: put
-- The last ones are kept. Deleting goes with inserting, so that it never has to catch up.
WITH old AS (
    DELETE FROM keepstep.pings WHERE id IN (
        SELECT id FROM keepstep.pings WHERE connection_id = %(connection)s ORDER BY id DESC OFFSET %(keep)s - 1
    )
)
INSERT INTO keepstep.pings (connection_id, state, code, reason, fix, elapsed_ms)
VALUES (%(connection)s, %(state)s, %(code)s, %(reason)s, %(fix)s, %(elapsed_ms)s)
RETURNING id

-- name: newest
SELECT p.id, p.connection_id, p.at, p.state, p.code, p.reason, p.fix, p.elapsed_ms
FROM keepstep.pings p JOIN keepstep.connections c ON c.id = p.connection_id
WHERE c.integration = %(integration)s AND coalesce(c.owner_id, '') = coalesce(%(owner)s::text, '')
ORDER BY p.id DESC LIMIT %(limit)s

-- name: standing
-- The newest ping, and the first of those since the last one that was otherwise: well or not well.
WITH newest AS (
    SELECT id, at, state, code, reason, fix, elapsed_ms FROM keepstep.pings WHERE connection_id = %(connection)s ORDER BY id DESC LIMIT 1
), turn AS (
    SELECT coalesce(max(p.id), 0) AS id FROM keepstep.pings p, newest n
    WHERE p.connection_id = %(connection)s AND (p.state = 'ok') <> (n.state = 'ok')
)
SELECT n.*, s.since, s.in_a_row FROM newest n, turn t
CROSS JOIN LATERAL (
    SELECT min(p.at) AS since, count(*) AS in_a_row FROM keepstep.pings p WHERE p.connection_id = %(connection)s AND p.id > t.id
) s
