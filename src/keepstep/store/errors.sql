-- name: count
-- One more of its kind. What was not seen for so long was resolved: a new episode begins. A run that tells of what one of
-- its entities has told already adds nothing.
INSERT INTO keepstep.error_groups AS g (connection_id, fingerprint, code, status, path, message, fix, sample, entities, run_ids, entity_run)
VALUES (%(connection)s, %(fingerprint)s, %(code)s, %(status)s, %(path)s, %(message)s, %(fix)s, %(sample)s,
        array_remove(ARRAY[%(entity)s::text], NULL), ARRAY[%(run)s::bigint],
        CASE WHEN %(entity)s::text IS NOT NULL THEN %(run)s::bigint END)
ON CONFLICT (connection_id, fingerprint) DO UPDATE SET
    code = excluded.code, message = excluded.message, fix = excluded.fix, sample = excluded.sample,
    count = g.count + CASE WHEN %(ended_run)s AND g.entity_run = %(run)s THEN 0 ELSE 1 END,
    last_seen = greatest(g.last_seen, now()),
    episodes = g.episodes + CASE WHEN g.last_seen < now() - make_interval(secs => %(over_after)s::float8) THEN 1 ELSE 0 END,
    opened_at = CASE WHEN g.last_seen < now() - make_interval(secs => %(over_after)s::float8) THEN now() ELSE g.opened_at END,
    entities = CASE WHEN excluded.entities <@ g.entities THEN g.entities ELSE excluded.entities || g.entities END,
    run_ids = CASE WHEN g.run_ids[1] = %(run)s THEN g.run_ids
                   ELSE (%(run)s::bigint || array_remove(g.run_ids, %(run)s::bigint))[1:%(most_runs)s] END,
    entity_run = coalesce(excluded.entity_run, g.entity_run)

-- name: groups
-- Each kind with its state, the one seen last first.
SELECT g.fingerprint, g.code, g.status, g.path, g.message, g.fix, g.sample, g.count, g.first_seen, g.last_seen, g.episodes,
       g.opened_at, g.entities, g.run_ids, c.integration, CASE
           WHEN g.last_seen < now() - make_interval(secs => %(over_after)s::float8) THEN 'resolved'
           WHEN g.episodes > 1 THEN 'reopened'
           ELSE 'open'
       END AS state
FROM keepstep.error_groups g JOIN keepstep.connections c ON c.id = g.connection_id
WHERE (%(integration)s::text IS NULL OR c.integration = %(integration)s)
  AND (%(entity)s::text IS NULL OR %(entity)s = ANY (g.entities))
  AND (%(only)s::bigint[] IS NULL OR g.connection_id = ANY (%(only)s::bigint[]))
ORDER BY g.last_seen DESC, g.first_seen DESC LIMIT %(limit)s

-- name: prune
DELETE FROM keepstep.error_groups WHERE (connection_id, fingerprint) IN (
    SELECT connection_id, fingerprint FROM keepstep.error_groups
    WHERE last_seen < now() - make_interval(secs => %(older)s::float8)
    ORDER BY last_seen LIMIT %(limit)s FOR UPDATE SKIP LOCKED
)
