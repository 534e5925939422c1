-- name: add
-- Counters add up, moments (names that end in _at) only move on. In one order for everybody, so that two writers never
-- wait for each other's rows crosswise.
INSERT INTO keepstep.totals (name, labels, value)
SELECT name, labels, CASE right(name, 3) WHEN '_at' THEN max(value) ELSE sum(value) END
FROM jsonb_to_recordset(%(totals)s::jsonb) AS t (name text, labels jsonb, value double precision)
GROUP BY name, labels ORDER BY name, labels
ON CONFLICT (name, labels) DO UPDATE
SET value = CASE right(excluded.name, 3) WHEN '_at' THEN greatest(totals.value, excluded.value)
                                         ELSE totals.value + excluded.value END

-- name: all
SELECT name, labels, value FROM keepstep.totals

-- name: claim_ended
-- Ended runs that are not part of the totals yet. One that another process is counting, or whose held deletions are being
-- decided, is left to the next round.
SELECT id FROM keepstep.runs WHERE finished_at IS NOT NULL AND NOT counted
ORDER BY id LIMIT %(limit)s FOR NO KEY UPDATE SKIP LOCKED

-- name: beside
-- What counts beside the totals: ends that are not part of them yet, and the rows that live runs have written so far.
SELECT id FROM keepstep.runs WHERE finished_at IS NOT NULL AND NOT counted
UNION ALL SELECT id FROM keepstep.runs WHERE state IN ('queued', 'running', 'waiting') AND started_at IS NOT NULL

-- name: tally
-- What these runs come to. A live run only brings its rows; a dry run, which writes none, only its end. A run that was
-- held counts as held, before and after its deletions were decided.
WITH chosen AS MATERIALIZED (
    SELECT r.id, c.integration, r.mode, r.trigger, r.dry_run, r.finished_at,
           CASE WHEN EXISTS (SELECT FROM keepstep.held_deletions h WHERE h.run_id = r.id) THEN 'held' ELSE r.state END AS result,
           extract(epoch FROM r.finished_at - r.started_at)::double precision AS seconds
    FROM keepstep.runs r JOIN keepstep.connections c ON c.id = r.connection_id WHERE r.id = ANY (%(runs)s::bigint[])
), ended AS (
    SELECT * FROM chosen WHERE finished_at IS NOT NULL
)
SELECT 'runs' AS name,
       jsonb_build_object('integration', integration, 'mode', mode, 'trigger', trigger, 'dry_run', dry_run::text, 'result', result) AS labels,
       count(*)::double precision AS value
FROM ended GROUP BY 2
UNION ALL
SELECT 'run_seconds', jsonb_build_object('integration', integration, 'mode', mode, 'le', coalesce(
           (SELECT min(b) FROM unnest(%(bounds)s::double precision[]) AS b WHERE seconds <= b)::text, '+Inf')), count(*)
FROM ended WHERE NOT dry_run AND seconds IS NOT NULL GROUP BY 2
UNION ALL
SELECT 'run_seconds_sum', jsonb_build_object('integration', integration, 'mode', mode), sum(seconds)
FROM ended WHERE NOT dry_run AND seconds IS NOT NULL GROUP BY 2
UNION ALL
SELECT 'last_success_at', jsonb_build_object('integration', integration), max(extract(epoch FROM finished_at)::double precision)
FROM ended WHERE NOT dry_run AND result = 'succeeded' GROUP BY 2
UNION ALL
SELECT 'rows', jsonb_build_object('integration', r.integration, 'entity', e.entity, 'operation', o.operation), sum(o.n)
FROM chosen r JOIN keepstep.run_entities e ON e.run_id = r.id
CROSS JOIN LATERAL (VALUES ('inserted', e.inserted), ('updated', e.updated), ('unchanged', e.unchanged),
                           ('deleted', e.deleted), ('dead_lettered', e.dead_lettered)) AS o (operation, n)
WHERE NOT r.dry_run AND o.n > 0 GROUP BY 2

-- name: mark_counted
UPDATE keepstep.runs SET counted = true WHERE id = ANY (%(runs)s::bigint[])

-- name: claim_held
-- Whether a held run's end was counted before its deletions were decided. Its row stays ours until the decision commits.
SELECT r.counted, c.integration FROM keepstep.runs r JOIN keepstep.connections c ON c.id = r.connection_id
WHERE r.id = %(run)s FOR NO KEY UPDATE OF r
