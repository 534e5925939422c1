-- name: newest
-- The newest event and, among the ids shortly before it, those that are not there: (first, last) of each stretch.
WITH newest AS (SELECT coalesce(max(id), 0) AS high FROM keepstep.events),
     recent AS (
         SELECT e.id, lag(e.id, 1, greatest(n.high - %(depth)s::bigint, 0)) OVER (ORDER BY e.id) AS before
         FROM newest n JOIN keepstep.events e ON e.id > n.high - %(depth)s::bigint
     )
SELECT n.high, coalesce(array_agg(r.before + 1 ORDER BY r.id) FILTER (WHERE r.id > r.before + 1), '{}') AS firsts,
       coalesce(array_agg(r.id - 1 ORDER BY r.id) FILTER (WHERE r.id > r.before + 1), '{}') AS lasts
FROM newest n LEFT JOIN recent r ON true
GROUP BY n.high

-- name: writers
-- Transactions that may hold ids of events: whoever inserts has locked the table before it takes an id, and lets go of
-- it after the row can be seen. Asked of the locks and not of transaction ids: an id is taken before there is one.
SELECT l.virtualtransaction AS writer FROM pg_locks l
WHERE l.locktype = 'relation' AND l.relation = 'keepstep.events'::regclass AND l.mode = 'RowExclusiveLock' AND l.granted
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())

-- name: news
-- What was committed since: in the gaps and above them.
(SELECT e.id, e.ts, e.run_id, e.type, e.level, e.entity, e.page, e.rows, e.msg, e.data,
  (SELECT c.of_user FROM keepstep.connections c WHERE c.id = e.connection_id) AS of_user
 FROM unnest(%(firsts)s::bigint[], %(lasts)s::bigint[]) AS g (first, last)
 JOIN keepstep.events e ON e.id BETWEEN g.first AND g.last)
UNION ALL
(SELECT e.id, e.ts, e.run_id, e.type, e.level, e.entity, e.page, e.rows, e.msg, e.data,
  (SELECT c.of_user FROM keepstep.connections c WHERE c.id = e.connection_id) AS of_user
 FROM keepstep.events e WHERE e.id > %(high)s::bigint ORDER BY e.id LIMIT %(limit)s::bigint)
ORDER BY id LIMIT %(limit)s::bigint

-- name: missed
-- What one position has seen and another has not, in order, from an id on.
SELECT e.id, e.ts, e.run_id, e.type, e.level, e.entity, e.page, e.rows, e.msg, e.data,
  (SELECT c.of_user FROM keepstep.connections c WHERE c.id = e.connection_id) AS of_user
FROM keepstep.events e
WHERE e.id > %(after)s::bigint AND e.id <= %(high)s::bigint
  AND NOT EXISTS (
      SELECT FROM unnest(%(firsts)s::bigint[], %(lasts)s::bigint[]) AS g (first, last) WHERE e.id BETWEEN g.first AND g.last
  )
  AND (e.id > %(seen_high)s::bigint OR EXISTS (
      SELECT FROM unnest(%(seen_firsts)s::bigint[], %(seen_lasts)s::bigint[]) AS g (first, last)
      WHERE e.id BETWEEN g.first AND g.last
  ))
  AND (%(run)s::bigint IS NULL OR e.run_id = %(run)s::bigint)
  AND (%(entity)s::text IS NULL OR e.entity = %(entity)s::text)
  AND e.level = ANY (%(levels)s::text[])
  AND (%(everything)s OR EXISTS (
      SELECT FROM keepstep.connections c
      WHERE c.id = e.connection_id AND ((c.of_user IS NULL AND %(shared)s) OR c.of_user = %(owner)s::text)
  ))
ORDER BY e.id LIMIT %(limit)s::bigint
