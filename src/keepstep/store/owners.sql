-- name: sealed
SELECT credentials FROM keepstep.connections
WHERE integration = %(integration)s AND owner_id = %(owner)s AND credentials IS NOT NULL

-- name: own
SELECT own_credentials FROM keepstep.connections WHERE integration = %(integration)s AND owner_id = %(owner)s

-- name: struggles
SELECT g.since FROM keepstep.struggling g JOIN keepstep.connections c ON c.id = g.connection_id
WHERE c.integration = %(integration)s AND c.owner_id = %(owner)s

-- name: sealed_locked
-- Of all workers one renews tokens: the others wait here, and find what it has saved.
SELECT credentials FROM keepstep.connections
WHERE integration = %(integration)s AND owner_id = %(owner)s AND credentials IS NOT NULL FOR NO KEY UPDATE

-- name: renew
UPDATE keepstep.connections SET credentials = %(credentials)s, credentials_set_at = now()
WHERE integration = %(integration)s AND owner_id = %(owner)s

-- name: connect
-- New credentials: what upstream said of the old ones is over, a pause is not.
INSERT INTO keepstep.connections (integration, owner_id, own_credentials, credentials, credentials_set_at)
VALUES (%(integration)s, %(owner)s, true, %(credentials)s, now())
ON CONFLICT (integration, coalesce(owner_id, '')) DO UPDATE
SET own_credentials = true, credentials = excluded.credentials, credentials_set_at = excluded.credentials_set_at,
    refused_at = NULL, refused_reason = NULL
RETURNING id

-- name: make_due
SELECT keepstep.make_due(s.id) FROM keepstep.schedules s WHERE s.connection_id = %(connection)s AND s.enabled

-- name: disconnect
UPDATE keepstep.connections
SET credentials = NULL, credentials_set_at = NULL, refused_at = NULL, refused_reason = NULL
WHERE integration = %(integration)s AND owner_id = %(owner)s AND credentials IS NOT NULL
RETURNING id

-- name: refuse
UPDATE keepstep.connections SET refused_at = now(), refused_reason = %(reason)s
WHERE integration = %(integration)s AND owner_id = %(owner)s AND own_credentials AND refused_at IS NULL
RETURNING id

-- name: pause
UPDATE keepstep.connections SET paused_at = now(), paused_by = %(by)s, paused_reason = %(reason)s
WHERE integration = %(integration)s AND owner_id = %(owner)s
RETURNING id

-- name: resume
UPDATE keepstep.connections SET paused_at = NULL, paused_by = NULL, paused_reason = NULL
WHERE integration = %(integration)s AND owner_id = %(owner)s
RETURNING id

-- name: sought
-- Whom a search finds, through the indexes of groups of three letters; at most so many by each of both ways, as who is
-- among many more is found sooner by looking from the first on.
(SELECT c.id FROM keepstep.connections c
 WHERE c.owner_id IS NOT NULL AND (%(integration)s::text IS NULL OR c.integration = %(integration)s)
   AND keepstep.grams(c.owner_id || coalesce(' ' || c.workspace, '')) @> keepstep.grams(%(search)s)
   AND strpos(lower(c.owner_id || coalesce(' ' || c.workspace, '')), lower(%(search)s)) > 0
 LIMIT %(most)s)
UNION ALL
(SELECT c.id FROM keepstep.users u JOIN keepstep.connections c ON c.of_user = u.owner_id
 WHERE (%(integration)s::text IS NULL OR c.integration = %(integration)s)
   AND keepstep.grams(u.name) @> keepstep.grams(%(search)s) AND strpos(lower(u.name), lower(%(search)s)) > 0
 LIMIT %(most)s)

-- name: list
-- Page by page, in the order of an index: a place in it, and not a number of rows to leave out. Names are searched by
-- themselves: to put each owner's name beside the rest first would cost a look for each owner. ``among``: those whom a
-- search has found already.
SELECT c.id, c.integration, c.owner_id AS owner, u.name AS "user", c.workspace, c.state,
       coalesce(c.paused_reason, c.refused_reason) AS reason, c.paused_by, coalesce(s.enabled, false) AS enabled,
       s.interval_seconds, s.due_at, o.last_success_at, o.last_failure_at, coalesce(o.failures, 0) AS failures,
       coalesce(o.retries, 0) AS retries, o.error, o.last_run_id, now() AS now
FROM keepstep.connections c
LEFT JOIN LATERAL ( -- an agent has a schedule of each type: on while one is, due when the first one is
    SELECT bool_or(n.enabled) AS enabled, min(t.due_at) AS due_at,
           coalesce(min(n.interval_seconds) FILTER (WHERE n.enabled), min(n.interval_seconds)) AS interval_seconds
    FROM keepstep.schedules n LEFT JOIN keepstep.schedule_times t ON t.schedule_id = n.id
    WHERE n.connection_id = c.id AND (n.name = '' OR n.sync_type IS NOT NULL)
) s ON true
LEFT JOIN keepstep.owner_standing o ON o.connection_id = c.id
LEFT JOIN keepstep.users u ON u.owner_id = c.of_user
WHERE c.owner_id IS NOT NULL AND (NOT %(users)s OR c.of_user IS NOT NULL)
  AND (%(integration)s::text IS NULL OR c.integration = %(integration)s)
  AND (%(owner)s::text IS NULL OR c.owner_id = %(owner)s)
  AND (%(state)s::text IS NULL OR c.state = %(state)s)
  AND (NOT %(failing)s OR c.id IN (SELECT f.connection_id FROM keepstep.owner_standing f WHERE f.failures > 0))
  AND (%(among)s::bigint[] IS NULL OR c.id = ANY (%(among)s))
  AND (%(search)s::text IS NULL
       OR strpos(lower(c.owner_id || coalesce(' ' || c.workspace, '')), lower(%(search)s)) > 0
       OR c.of_user IN (SELECT n.owner_id FROM keepstep.users n WHERE strpos(lower(n.name), lower(%(search)s)) > 0))
  AND (%(after)s::bigint IS NULL OR (c.integration, c.owner_id, c.id) >
       (SELECT p.integration, p.owner_id, p.id FROM keepstep.connections p WHERE p.id = %(after)s))
ORDER BY c.integration, c.owner_id, c.id LIMIT %(limit)s

-- name: named
-- An id before a name: nobody is meant instead of another user by taking that one's id as a name.
SELECT found.owner_id FROM (
    SELECT u.owner_id, 1 AS place FROM keepstep.users u WHERE u.owner_id = %(user)s
    UNION ALL
    (SELECT c.owner_id, 2 FROM keepstep.connections c WHERE c.owner_id = %(user)s LIMIT 1)
    UNION ALL
    SELECT u.owner_id, 3 FROM keepstep.users u WHERE lower(u.name) = lower(%(user)s)
) found ORDER BY found.place LIMIT 1

-- name: counts
SELECT c.integration, c.state, count(*) AS n FROM keepstep.connections c
WHERE c.owner_id IS NOT NULL AND (%(integration)s::text IS NULL OR c.integration = %(integration)s)
GROUP BY c.integration, c.state ORDER BY c.integration, c.state

-- name: troubles
SELECT count(*) FILTER (WHERE c.state <> 'needs-connecting') AS connections,
       count(*) FILTER (WHERE c.state = 'needs-reconnect') AS refused,
       count(*) FILTER (WHERE c.state = 'connected' AND o.failures >= 3) AS failing
FROM keepstep.connections c LEFT JOIN keepstep.owner_standing o ON o.connection_id = c.id AND o.failures >= 3
WHERE c.owner_id IS NOT NULL AND c.integration = %(integration)s

-- name: history
SELECT r.id FROM keepstep.runs r JOIN keepstep.connections c ON c.id = r.connection_id
WHERE c.integration = %(integration)s AND c.owner_id = %(owner)s AND (%(before)s::bigint IS NULL OR r.id < %(before)s)
ORDER BY r.id DESC LIMIT %(limit)s
