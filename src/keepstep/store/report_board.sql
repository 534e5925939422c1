-- name: cells
-- Each report of each connection, by its newest runs. They are looked for connection by connection: the index leads to
-- the newest of each, and no history, however long, is read. It is asked for a range of one connection and not for one:
-- else a planner may go back through the runs of all, to the very first where an agent has none. ``last_*``: of the last
-- run that ended by itself.
WITH recent AS MATERIALIZED (
    SELECT c.id AS connection_id, n.type, r.id, r.finished_at IS NULL AS live, r.queued_at,
           CASE WHEN r.finished_at IS NULL THEN r.state ELSE coalesce(nullif(e.state, 'pending'), r.state) END AS state,
           CASE WHEN r.finished_at IS NOT NULL THEN coalesce(e.finished_at, r.finished_at) END AS finished_at,
           extract(epoch FROM coalesce(e.finished_at, r.finished_at) - coalesce(e.started_at, r.started_at))::float8 AS took
    FROM keepstep.connections c
    CROSS JOIN LATERAL (
        SELECT o.id, o.state, o.entities, o.queued_at, o.started_at, o.finished_at FROM keepstep.runs o
        WHERE o.connection_id >= c.id AND o.connection_id <= c.id AND NOT o.dry_run
        ORDER BY o.connection_id, o.id DESC LIMIT %(newest)s
    ) r
    CROSS JOIN LATERAL unnest(r.entities) AS n (type)
    LEFT JOIN keepstep.run_entities e ON e.run_id = r.id AND e.entity = n.type
    WHERE c.integration = %(integration)s
      AND EXISTS (SELECT FROM keepstep.schedules s WHERE s.connection_id = c.id AND s.sync_type IS NOT NULL)
), judged AS (
    SELECT r.*, max(id) FILTER (WHERE state IN ('succeeded', 'held')) OVER (PARTITION BY connection_id, type) AS good_run
    FROM recent r
), standing AS (
    SELECT connection_id, type, max(id) FILTER (WHERE live) AS live_run,
           max(id) FILTER (WHERE NOT live AND state <> 'stopped') AS last_run,
           max(finished_at) FILTER (WHERE state IN ('succeeded', 'held')) AS success_at,
           count(*) FILTER (WHERE state IN ('failed', 'crashed') AND id > coalesce(good_run, 0)) AS failures
    FROM judged GROUP BY connection_id, type
)
SELECT c.id AS connection_id, c.owner_id AS agent, c.state AS connection_state, s.sync_type AS type,
       s.enabled, s.interval_seconds, t.due_at, coalesce(b.failures, 0) AS failures,
       greatest(b.success_at, f.last_full_at, f.last_delta_at) AS last_success,
       b.last_run, l.state AS last_state, l.finished_at AS last_finished, l.took AS last_took,
       b.live_run, v.state AS live_state, v.queued_at, h.run_id AS held_run,
       CASE WHEN l.state IN ('failed', 'crashed') THEN
            (SELECT coalesce(e.error, r.error) FROM keepstep.runs r
             LEFT JOIN keepstep.run_entities e ON e.run_id = r.id AND e.entity = s.sync_type WHERE r.id = b.last_run)
       END AS error
FROM keepstep.connections c
JOIN keepstep.schedules s ON s.connection_id = c.id AND s.sync_type IS NOT NULL
LEFT JOIN keepstep.schedule_times t ON t.schedule_id = s.id
LEFT JOIN keepstep.entity_states f ON f.connection_id = c.id AND f.entity = s.sync_type
LEFT JOIN standing b ON b.connection_id = c.id AND b.type = s.sync_type
LEFT JOIN recent l ON l.id = b.last_run AND l.type = s.sync_type
LEFT JOIN recent v ON v.id = b.live_run AND v.type = s.sync_type
LEFT JOIN keepstep.held_deletions h ON h.connection_id = c.id AND h.entity = s.sync_type AND h.state = 'open'
WHERE c.integration = %(integration)s
ORDER BY c.owner_id NULLS FIRST, s.sync_type

-- name: types
-- What the newest runs of each type took and came to: in all (``round`` null), and by rounds of its interval, 0 the
-- present one.
WITH recent AS MATERIALIZED (
    SELECT c.id AS connection_id, n.type, r.id, r.finished_at IS NULL AS live, r.queued_at,
           CASE WHEN r.finished_at IS NULL THEN r.state ELSE coalesce(nullif(e.state, 'pending'), r.state) END AS state,
           CASE WHEN r.finished_at IS NOT NULL THEN coalesce(e.finished_at, r.finished_at) END AS finished_at,
           extract(epoch FROM coalesce(e.finished_at, r.finished_at) - coalesce(e.started_at, r.started_at))::float8 AS took
    FROM keepstep.connections c
    CROSS JOIN LATERAL (
        SELECT o.id, o.state, o.entities, o.queued_at, o.started_at, o.finished_at FROM keepstep.runs o
        WHERE o.connection_id >= c.id AND o.connection_id <= c.id AND NOT o.dry_run
        ORDER BY o.connection_id, o.id DESC LIMIT %(newest)s
    ) r
    CROSS JOIN LATERAL unnest(r.entities) AS n (type)
    LEFT JOIN keepstep.run_entities e ON e.run_id = r.id AND e.entity = n.type
    WHERE c.integration = %(integration)s
      AND EXISTS (SELECT FROM keepstep.schedules s WHERE s.connection_id = c.id AND s.sync_type IS NOT NULL)
), counted AS (
    SELECT r.*, CASE WHEN NOT live THEN
               floor(greatest(extract(epoch FROM now() - finished_at), 0) / (t.interval_minutes * 60))::integer END AS round
    FROM recent r JOIN keepstep.sync_settings t ON t.sync_type = r.type
)
SELECT type, CASE WHEN grouping(round) = 0 THEN round END AS round, grouping(round) = 1 AS is_sum,
       count(*) FILTER (WHERE state = 'succeeded') AS good, count(*) FILTER (WHERE state IN ('failed', 'crashed')) AS failed,
       count(*) FILTER (WHERE state = 'held') AS held,
       max(finished_at) AS last_finished, max(id) FILTER (WHERE NOT live) AS last_run,
       percentile_cont(ARRAY[0.5, 0.95]) WITHIN GROUP (ORDER BY took) FILTER (WHERE state IN ('succeeded', 'held')) AS took
FROM counted GROUP BY GROUPING SETS ((type), (type, round))
HAVING grouping(round) = 1 OR round BETWEEN 0 AND %(rounds)s - 1
ORDER BY type, round NULLS FIRST

-- name: agents
SELECT a.code, a.name, a.enabled, a.updated_at, a.updated_by, coalesce(c.state, 'connected') AS state,
       coalesce(c.paused_reason, c.refused_reason) AS reason, coalesce(c.own_credentials, false) AS own_credentials
FROM keepstep.agents a LEFT JOIN keepstep.connections c ON c.integration = %(integration)s AND c.owner_id = a.code
ORDER BY a.code

-- name: history
-- The newest runs of one report of one connection; among its newest runs of all kinds, so that no long history is read.
SELECT r.id, r.trigger, r.queued_at, r.started_at,
       CASE WHEN r.finished_at IS NULL THEN r.state ELSE coalesce(nullif(e.state, 'pending'), r.state) END AS state,
       coalesce(e.finished_at, r.finished_at) AS finished_at, coalesce(e.error, r.error) AS error,
       extract(epoch FROM coalesce(e.finished_at, r.finished_at) - coalesce(e.started_at, r.started_at))::float8 AS took,
       coalesce(e.rows, 0) AS rows, coalesce(e.inserted + e.updated + e.deleted, 0) AS changed
FROM keepstep.connections c
CROSS JOIN LATERAL (
    SELECT * FROM keepstep.runs o WHERE o.connection_id >= c.id AND o.connection_id <= c.id AND NOT o.dry_run
    ORDER BY o.connection_id, o.id DESC LIMIT 500
) r
LEFT JOIN keepstep.run_entities e ON e.run_id = r.id AND e.entity = %(type)s
WHERE c.integration = %(integration)s AND c.owner_id IS NOT DISTINCT FROM %(agent)s AND %(type)s = ANY (r.entities)
ORDER BY r.id DESC LIMIT %(limit)s

-- name: refused
-- The newest refused document of each report and agent. ``proven_at``: when a good one came after it. ``kept``: how many
-- refused ones there are. Those that nothing good has followed come first.
SELECT d.*, c.size, g.last_seen AS proven_at FROM (
    SELECT DISTINCT ON (report, agent) id, report, agent, hash, error, page, row, box, first_seen, last_seen, times,
           count(*) OVER (PARTITION BY report, agent) AS kept
    FROM keepstep.documents WHERE integration = %(integration)s AND state = 'refused'
    ORDER BY report, agent, last_seen DESC, id DESC
) d
JOIN keepstep.document_contents c USING (hash)
LEFT JOIN LATERAL (
    SELECT p.last_seen FROM keepstep.documents p
    WHERE p.integration = %(integration)s AND p.report = d.report AND p.agent = d.agent AND p.state = 'proven'
      AND p.last_seen > d.last_seen
    ORDER BY p.last_seen DESC LIMIT 1
) g ON true
ORDER BY g.last_seen IS NOT NULL, d.last_seen DESC

-- name: documents
-- What came last as one report of one agent.
SELECT id, state, error, page, row, first_seen, last_seen, times FROM keepstep.documents
WHERE integration = %(integration)s AND report = %(report)s AND agent = %(agent)s
ORDER BY last_seen DESC, id DESC LIMIT %(limit)s

-- name: held
-- Deletions that wait for somebody to decide: reports with suspiciously fewer rows than the last ones.
SELECT h.run_id, h.entity AS type, c.owner_id AS agent, h.live_rows, h.delete_rows, h.created_at
FROM keepstep.held_deletions h JOIN keepstep.connections c ON c.id = h.connection_id
WHERE c.integration = %(integration)s AND h.state = 'open' ORDER BY h.created_at DESC
