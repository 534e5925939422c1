-- name: known
-- Its lock keeps the janitor from taking the bytes away before it is noted what they came as.
SELECT 1 AS known FROM keepstep.document_contents WHERE hash = %(hash)s FOR KEY SHARE

-- name: put_content
INSERT INTO keepstep.document_contents (hash, size, sealed, key) VALUES (%(hash)s, %(size)s, %(sealed)s, %(key)s)
ON CONFLICT (hash) DO NOTHING

-- name: put
INSERT INTO keepstep.documents (integration, report, agent, hash, state, error, page, row, box)
VALUES (%(integration)s, %(report)s, %(agent)s, %(hash)s, %(state)s, %(error)s, %(page)s, %(row)s, %(box)s)
ON CONFLICT (integration, report, agent, hash, state) DO UPDATE
SET last_seen = now(), times = documents.times + 1, error = excluded.error,
    page = excluded.page, row = excluded.row, box = excluded.box
RETURNING id

-- name: thin_out
-- Only the newest documents of a report are kept. It goes with inserting, so that it never has to catch up.
DELETE FROM keepstep.documents WHERE id IN (
    SELECT id FROM keepstep.documents
    WHERE integration = %(integration)s AND report = %(report)s AND agent = %(agent)s AND state = %(state)s
    ORDER BY last_seen DESC, id DESC OFFSET %(most)s
)

-- name: list
SELECT d.id, d.integration, d.report, d.agent, d.hash, c.size, d.state, d.error, d.page, d.row, d.box,
       d.first_seen, d.last_seen, d.times
FROM keepstep.documents d JOIN keepstep.document_contents c USING (hash)
WHERE (%(integration)s::text IS NULL OR d.integration = %(integration)s)
  AND (%(report)s::text IS NULL OR d.report = %(report)s)
  AND (%(state)s::text IS NULL OR d.state = %(state)s)
ORDER BY d.last_seen DESC, d.id DESC LIMIT %(limit)s

-- name: one
-- ``proven_at``: when a good one of the same report came after it.
SELECT d.id, d.integration, d.report, d.agent, d.hash, c.size, d.state, d.error, d.page, d.row, d.box,
       d.first_seen, d.last_seen, d.times,
       (SELECT max(g.last_seen) FROM keepstep.documents g
        WHERE g.integration = d.integration AND g.report = d.report AND g.agent = d.agent AND g.state = 'proven'
          AND g.last_seen > d.last_seen) AS proven_at
FROM keepstep.documents d JOIN keepstep.document_contents c USING (hash) WHERE d.id = %(id)s

-- name: content
SELECT sealed, key FROM keepstep.document_contents WHERE hash = %(hash)s

-- name: keys
SELECT hash, key FROM keepstep.document_contents WHERE hash > %(after)s ORDER BY hash LIMIT %(limit)s

-- name: renew_key
-- Only what is still as it was read: somebody else may be at it too.
UPDATE keepstep.document_contents SET key = %(new)s WHERE hash = %(hash)s AND key = %(old)s RETURNING 1 AS done

-- name: prune
-- The newest proven document of each report stays however old it is: its rows are in the table.
DELETE FROM keepstep.documents d WHERE id IN (
    SELECT o.id FROM keepstep.documents o
    WHERE o.last_seen < now() - make_interval(secs => %(older)s::float8)
      AND (o.state = 'refused' OR EXISTS (
          SELECT FROM keepstep.documents n
          WHERE n.integration = o.integration AND n.report = o.report AND n.agent = o.agent AND n.state = 'proven'
            AND (n.last_seen, n.id) > (o.last_seen, o.id)
      ))
    ORDER BY o.last_seen LIMIT %(limit)s FOR UPDATE SKIP LOCKED
)

-- name: prune_contents
-- Bytes that no report is made of any more. One that is being kept at this moment has its content locked (foreign key).
DELETE FROM keepstep.document_contents c WHERE hash IN (
    SELECT o.hash FROM keepstep.document_contents o
    WHERE NOT EXISTS (SELECT FROM keepstep.documents d WHERE d.hash = o.hash)
    LIMIT %(limit)s FOR UPDATE SKIP LOCKED
) AND NOT EXISTS (SELECT FROM keepstep.documents d WHERE d.hash = c.hash)
