-- name: put
-- The same bad record again only raises its count and takes its newest form.
INSERT INTO keepstep.dead_letters (connection_id, entity, record_key, kind, reason, payload, payload_hash, run_id)
SELECT %(connection)s, %(entity)s, d.key, d.kind, d.reason, d.payload, d.hash, %(run)s
FROM unnest(%(keys)s::text[], %(kinds)s::text[], %(reasons)s::text[], %(payloads)s::bytea[], %(hashes)s::text[])
     AS d (key, kind, reason, payload, hash)
ON CONFLICT (connection_id, entity, (coalesce(record_key, '')), (CASE WHEN record_key IS NULL THEN payload_hash ELSE '' END), (kind = 'duplicate'))
WHERE state = 'open'
DO UPDATE SET attempts = dead_letters.attempts + 1, last_seen_at = now(), kind = excluded.kind, reason = excluded.reason,
              payload = excluded.payload, payload_hash = excluded.payload_hash, run_id = excluded.run_id

-- name: open_count
SELECT count(*) AS n FROM keepstep.dead_letters WHERE connection_id = %(connection)s AND entity = %(entity)s AND state = 'open'

-- name: resolve
-- Their records have arrived good.
UPDATE keepstep.dead_letters SET state = 'resolved', closed_at = now(), closed_by = %(by)s, note = %(note)s
WHERE connection_id = %(connection)s AND entity = %(entity)s AND state = 'open' AND record_key = ANY (%(keys)s)
RETURNING id

-- name: resolve_gone
-- A complete reading would have met them again: their records are gone, or have an id now.
UPDATE keepstep.dead_letters d SET state = 'resolved', closed_at = now(), closed_by = %(by)s, note = %(note)s
FROM keepstep.checkpoints k
WHERE d.connection_id = %(connection)s AND d.entity = %(entity)s AND d.state = 'open' AND d.last_seen_at < k.started_at
  AND k.connection_id = d.connection_id AND k.entity = d.entity AND k.mode = 'backfill'

-- name: list
SELECT id, entity, record_key, kind, reason, payload_hash, created_at, last_seen_at, run_id, attempts, state
FROM keepstep.dead_letters
WHERE (%(entity)s::text IS NULL OR entity = %(entity)s) AND (%(state)s::text IS NULL OR state = %(state)s)
  AND (%(reason)s::text IS NULL OR reason = %(reason)s OR kind = %(reason)s)
  AND (%(before)s::bigint IS NULL OR id < %(before)s)
  AND (%(only)s::bigint[] IS NULL OR connection_id = ANY (%(only)s::bigint[]))
ORDER BY id DESC LIMIT %(limit)s

-- name: count
SELECT count(*) AS n FROM keepstep.dead_letters
WHERE (%(entity)s::text IS NULL OR entity = %(entity)s) AND (%(state)s::text IS NULL OR state = %(state)s)
  AND (%(reason)s::text IS NULL OR reason = %(reason)s OR kind = %(reason)s)
  AND (%(only)s::bigint[] IS NULL OR connection_id = ANY (%(only)s::bigint[]))

-- name: tally
-- What there is to filter by.
SELECT entity, kind, state, count(*) AS n FROM keepstep.dead_letters
WHERE (%(only)s::bigint[] IS NULL OR connection_id = ANY (%(only)s::bigint[]))
GROUP BY entity, kind, state ORDER BY entity, kind, state

-- name: get
SELECT d.*, c.integration, c.owner_id, c.of_user FROM keepstep.dead_letters d JOIN keepstep.connections c ON c.id = d.connection_id
WHERE d.id = ANY (%(ids)s::bigint[]) ORDER BY d.id

-- name: retried
UPDATE keepstep.dead_letters SET attempts = attempts + 1, last_seen_at = now(), kind = %(kind)s, reason = %(reason)s
WHERE id = %(id)s AND state = 'open'

-- name: close
UPDATE keepstep.dead_letters SET state = %(state)s, closed_at = now(), closed_by = %(by)s, note = %(note)s
WHERE id = ANY (%(ids)s::bigint[]) AND state = 'open'
RETURNING id
