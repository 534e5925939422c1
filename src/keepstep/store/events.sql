-- name: put
INSERT INTO keepstep.events (connection_id, run_id, type, level, entity, page, rows, msg, data)
VALUES (%(connection)s, %(run)s, %(type)s, %(level)s, %(entity)s, %(page)s, %(rows)s, %(msg)s, %(data)s)

-- name: notify
-- Told only if the transaction commits. The payload is the run: listeners fetch what they need.
SELECT pg_notify('keepstep', %(run)s::text)

-- name: of_run
SELECT id, run_id, ts, type, level, entity, page, rows, msg, data FROM keepstep.events
WHERE run_id = %(run)s AND id > %(after)s ORDER BY id LIMIT %(limit)s

-- name: admin
INSERT INTO keepstep.admin_logs ("user", action, payload, result) VALUES (%(user)s, %(action)s, %(payload)s, %(result)s)

-- name: admin_newest
SELECT id, "user", action, payload, result, created_at FROM keepstep.admin_logs
WHERE (%(before)s::bigint IS NULL OR id < %(before)s) AND (%(user)s::text IS NULL OR "user" = %(user)s)
  AND (%(action)s::text IS NULL OR action = %(action)s OR starts_with(action, %(action)s || '.'))
  AND (%(everything)s OR payload ->> 'owner' IS NULL OR payload ->> 'owner' = %(owner)s)
ORDER BY id DESC LIMIT %(limit)s

-- name: admin_names
-- What there is to filter by, in the newest acts: a hundred thousand users are no list to choose from.
SELECT array_agg(DISTINCT "user" ORDER BY "user") AS users, array_agg(DISTINCT action ORDER BY action) AS actions
FROM (
    SELECT "user", action FROM keepstep.admin_logs
    WHERE %(everything)s OR payload ->> 'owner' IS NULL OR payload ->> 'owner' = %(owner)s
    ORDER BY id DESC LIMIT %(most)s
) newest
