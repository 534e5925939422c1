-- name: put
INSERT INTO keepstep.pings (connection_id, state, code, reason, elapsed_ms)
VALUES (%(connection)s, %(state)s, %(code)s, %(reason)s, %(elapsed_ms)s)

-- name: newest
SELECT p.at, p.state, p.code, p.reason, p.elapsed_ms
FROM keepstep.pings p JOIN keepstep.connections c ON c.id = p.connection_id
WHERE c.integration = %(integration)s AND c.owner_id IS NULL ORDER BY p.id DESC LIMIT %(limit)s

-- name: due
-- A run that goes on, or that just succeeded, says as much as a ping and costs nothing more.
SELECT NOT EXISTS (
    SELECT FROM keepstep.connections c LEFT JOIN keepstep.limits l ON l.connection_id = c.id
    WHERE c.integration = %(integration)s AND c.owner_id IS NULL AND (
        (l.state -> 'breaker' ->> 'reopens_at') IS NOT NULL
        OR EXISTS (SELECT FROM keepstep.runs r WHERE r.connection_id = c.id AND r.state IN ('queued', 'running', 'waiting'))
        OR EXISTS (SELECT FROM keepstep.runs r WHERE r.connection_id = c.id AND r.state IN ('succeeded', 'held')
                   AND r.finished_at > now() - make_interval(secs => %(every)s::float8) AND r.id > (
                       SELECT coalesce(max(x.id), 0) - 20 FROM keepstep.runs x WHERE x.connection_id = c.id))
    )
) AS due
