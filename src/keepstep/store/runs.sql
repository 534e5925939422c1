-- name: connection
-- The connection's id, made on first use. The no-op update makes RETURNING give the row that is already there.
INSERT INTO keepstep.connections (integration, owner_id) VALUES (%(integration)s, %(owner)s)
ON CONFLICT (integration, coalesce(owner_id, '')) DO UPDATE SET integration = excluded.integration
RETURNING id

-- name: insert_run
INSERT INTO keepstep.runs (connection_id, mode, dry_run, since, trigger, actor, entities, state, started_at)
VALUES (%(connection)s, %(mode)s, %(dry_run)s, %(since)s, %(trigger)s, %(actor)s, %(entities)s::text[], 'running', now())
RETURNING id

-- name: insert_entities
INSERT INTO keepstep.run_entities (run_id, entity, position)
SELECT %(run)s, entity, position FROM unnest(%(entities)s::text[]) WITH ORDINALITY AS e (entity, position)

-- name: live
-- The live run of a connection. ``overdue``: whoever should have gone on with it has had a minute to do so.
SELECT r.id, r.state, r.in_queue, r.started_at, r.due_at, CASE r.state
           WHEN 'queued' THEN r.queued_at
           WHEN 'waiting' THEN r.due_at
           ELSE CASE WHEN r.in_queue THEN coalesce(l.renewed_at, r.started_at) ELSE '-infinity' END
       END < now() - interval '1 minute' AS overdue
FROM keepstep.runs r LEFT JOIN keepstep.locks l ON l.connection_id = r.connection_id AND l.run_id = r.id
WHERE r.connection_id = %(connection)s AND r.state IN ('queued', 'running', 'waiting')

-- name: end_live
-- A run that nobody drives any more: its worker died, or it was to go on long ago and a new run takes its place.
UPDATE keepstep.runs SET state = %(state)s, finished_at = now(), due_at = NULL, error = %(error)s
WHERE id = %(run)s AND state IN ('queued', 'running', 'waiting')
RETURNING id

-- name: end_live_entities
UPDATE keepstep.run_entities SET state = %(state)s, finished_at = now() WHERE run_id = %(run)s AND state = 'running'

-- name: start_entity
UPDATE keepstep.run_entities
SET state = 'running', started_at = coalesce(started_at, now()), resumed = resumed OR %(resumed)s
WHERE run_id = %(run)s AND entity = %(entity)s
RETURNING pages

-- name: start_entity_anew
-- A dry run keeps no checkpoint: after a wait it counts from nothing, but for the requests that were really sent.
UPDATE keepstep.run_entities
SET state = 'running', started_at = coalesce(started_at, now()), pages = 0, rows = 0, inserted = 0, updated = 0,
    unchanged = 0, deleted = 0, dead_lettered = 0, skipped = '{}'
WHERE run_id = %(run)s AND entity = %(entity)s

-- name: count_flush
-- The expected page count makes a repeated commit (the connection broke while it was confirmed) count once.
UPDATE keepstep.run_entities
SET pages = pages + %(pages)s, rows = rows + %(rows)s, inserted = inserted + %(inserted)s, updated = updated + %(updated)s,
    unchanged = unchanged + %(unchanged)s, deleted = deleted + %(deleted)s,
    dead_lettered = dead_lettered + %(dead_lettered)s, requests = requests + %(requests)s, total = coalesce(%(total)s, total),
    skipped = CASE WHEN %(skipped)s::jsonb = '{}' THEN skipped ELSE
        (SELECT jsonb_object_agg(s.reason, s.n) FROM (
            SELECT reason, sum(n::bigint) AS n FROM (
                SELECT * FROM jsonb_each_text(skipped) UNION ALL SELECT * FROM jsonb_each_text(%(skipped)s::jsonb)) e (reason, n)
            GROUP BY reason) s) END
WHERE run_id = %(run)s AND entity = %(entity)s AND pages = %(expected_pages)s
RETURNING pages

-- name: count_requests
-- In the transaction that ends or interrupts the run: said again, the run is not running any more and nothing is added.
UPDATE keepstep.run_entities e SET requests = e.requests + n.requests
FROM unnest(%(entities)s::text[], %(requests)s::bigint[]) AS n (entity, requests)
WHERE e.run_id = %(run)s AND e.entity = n.entity
  AND EXISTS (SELECT FROM keepstep.runs r WHERE r.id = %(run)s AND r.state = 'running')

-- name: finish_entity
UPDATE keepstep.run_entities
SET state = %(state)s, finished_at = now(), completeness = %(completeness)s, error = %(error)s, report = %(report)s,
    deleted = deleted + %(deleted)s
WHERE run_id = %(run)s AND entity = %(entity)s AND state = 'running'

-- name: so_far
SELECT deleted, skipped, rows FROM keepstep.run_entities WHERE run_id = %(run)s AND entity = %(entity)s

-- name: ended_entity
SELECT state, deleted, completeness FROM keepstep.run_entities
WHERE run_id = %(run)s AND entity = %(entity)s AND state <> 'running'

-- name: finish_run
UPDATE keepstep.runs SET state = %(state)s, finished_at = now(), due_at = NULL, error = %(error)s
WHERE id = %(run)s AND state IN ('running', 'waiting')
RETURNING id

-- name: wait_run
UPDATE keepstep.runs SET state = 'waiting', due_at = now() + make_interval(secs => %(after)s::float8), error = %(error)s,
    waits = CASE WHEN NOT %(for_breaker)s THEN 0 WHEN %(moved)s THEN 1 ELSE waits + 1 END
WHERE id = %(run)s AND state = 'running'
RETURNING due_at

-- name: waits
SELECT waits FROM keepstep.runs WHERE id = %(run)s

-- name: resume_run
UPDATE keepstep.runs SET state = 'running', due_at = NULL, error = NULL WHERE id = %(run)s AND state = 'waiting' RETURNING id

-- name: connection_of
-- Its row is locked: whoever wants the connection's lock queues up there.
SELECT c.id FROM keepstep.connections c JOIN keepstep.runs r ON r.connection_id = c.id WHERE r.id = %(run)s FOR NO KEY UPDATE OF c

-- name: take_up
UPDATE keepstep.runs SET state = 'running', started_at = coalesce(started_at, now()), error = NULL
WHERE id = %(run)s AND state = 'queued'
RETURNING mode, dry_run, since, trigger, actor, entities, 
          NOT EXISTS (SELECT FROM keepstep.run_entities e WHERE e.run_id = runs.id) AS first

-- name: unfinished
SELECT entity FROM keepstep.run_entities WHERE run_id = %(run)s AND state IN ('pending', 'running') ORDER BY position

-- name: give_back
UPDATE keepstep.runs SET state = 'queued', queued_at = now() WHERE id = %(run)s AND state = 'running' RETURNING id

-- name: settle_entity
UPDATE keepstep.run_entities SET state = 'succeeded', deleted = deleted + %(deleted)s
WHERE run_id = %(run)s AND entity = %(entity)s AND state = 'held'

-- name: settle_run
UPDATE keepstep.runs r SET state = 'succeeded'
WHERE id = %(run)s AND state = 'held'
  AND NOT EXISTS (SELECT FROM keepstep.held_deletions h WHERE h.run_id = r.id AND h.state = 'open')

-- name: get_run
SELECT r.*, c.integration, c.owner_id, c.of_user FROM keepstep.runs r JOIN keepstep.connections c ON c.id = r.connection_id WHERE r.id = %(run)s

-- name: get_runs
SELECT r.*, c.integration, c.owner_id, c.of_user FROM keepstep.runs r JOIN keepstep.connections c ON c.id = r.connection_id
WHERE r.id = ANY (%(runs)s::bigint[]) ORDER BY r.id DESC

-- name: run_entities
SELECT * FROM keepstep.run_entities WHERE run_id = ANY (%(runs)s::bigint[]) ORDER BY run_id, position

-- name: list_runs
SELECT r.*, c.integration, c.owner_id, c.of_user FROM keepstep.runs r JOIN keepstep.connections c ON c.id = r.connection_id
WHERE (%(entity)s::text IS NULL OR EXISTS (SELECT FROM keepstep.run_entities e WHERE e.run_id = r.id AND e.entity = %(entity)s))
  AND (%(result)s::text IS NULL OR r.state = %(result)s)
  AND (%(before)s::bigint IS NULL OR r.id < %(before)s)
  AND (%(only)s::bigint[] IS NULL OR r.connection_id = ANY (%(only)s::bigint[]))
ORDER BY r.id DESC LIMIT %(limit)s

-- name: finish_state
-- What the entities of a run say about the whole.
SELECT count(*) FILTER (WHERE state = 'failed') AS failed, count(*) FILTER (WHERE state = 'held') AS held,
       (array_agg(error ORDER BY position) FILTER (WHERE error IS NOT NULL))[1] AS error
FROM keepstep.run_entities WHERE run_id = %(run)s
