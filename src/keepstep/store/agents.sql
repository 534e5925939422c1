-- name: all
-- ``next_run``: of the first of the agent's schedules. Times and runs are few for each agent, and found by index.
SELECT a.code, a.name, a.enabled, a.created_at, a.updated_at, a.updated_by, coalesce(c.state, 'connected') AS state,
       coalesce(c.own_credentials, false) AS own_credentials, coalesce(c.paused_reason, c.refused_reason) AS reason,
       o.last_success_at, o.last_failure_at, coalesce(o.failures, 0) AS failures, o.error, o.last_run_id,
       (SELECT min(t.due_at) FROM keepstep.schedules s JOIN keepstep.schedule_times t ON t.schedule_id = s.id
        WHERE s.connection_id = c.id) AS next_run
FROM keepstep.agents a
LEFT JOIN keepstep.connections c ON c.integration = 'erp' AND c.owner_id = a.code
LEFT JOIN keepstep.owner_standing o ON o.connection_id = c.id
WHERE %(code)s::text IS NULL OR a.code = %(code)s
ORDER BY a.code

-- name: lock
SELECT code, name, enabled FROM keepstep.agents WHERE code = %(code)s FOR UPDATE

-- name: add
-- Nothing where the agent is there already.
INSERT INTO keepstep.agents (code, name, enabled, updated_by) VALUES (%(code)s, %(name)s, %(enabled)s, %(by)s)
ON CONFLICT (code) DO NOTHING RETURNING code

-- name: change
UPDATE keepstep.agents
SET name = coalesce(%(name)s::text, name), enabled = coalesce(%(enabled)s::boolean, enabled), updated_by = %(by)s
WHERE code = %(code)s

-- name: remove
DELETE FROM keepstep.agents WHERE code = %(code)s RETURNING code

-- name: enabled
SELECT code FROM keepstep.agents WHERE enabled ORDER BY code

-- name: is_enabled
SELECT enabled FROM keepstep.agents WHERE code = %(code)s

-- name: give
-- The shared connection, with what only the environment of this process knows. What is as it should be is not touched.
INSERT INTO keepstep.connections AS c (integration, env_given)
SELECT 'erp', %(names)s::text[]
WHERE %(names)s::text[] <> '{}' OR EXISTS (SELECT FROM keepstep.connections WHERE integration = 'erp' AND owner_id IS NULL)
ON CONFLICT (integration, coalesce(owner_id, '')) DO UPDATE SET env_given = excluded.env_given
WHERE c.env_given <> excluded.env_given

-- name: is_ready
SELECT keepstep.is_erp_ready(false) AS ready

-- name: disconnect
UPDATE keepstep.connections
SET own_credentials = false, credentials = NULL, credentials_set_at = NULL, refused_at = NULL, refused_reason = NULL
WHERE integration = 'erp' AND owner_id = %(code)s AND own_credentials RETURNING id

-- name: run_now
-- A run of one type for each connection that is free, ahead of scheduled ones. In the order of connections: two callers
-- that meet at the same ones cannot lock each other out.
WITH wanted AS (
    SELECT c.id AS connection_id, c.owner_id AS agent
    FROM keepstep.sync_settings t
    JOIN keepstep.connections c ON c.integration = 'erp' AND c.state = 'connected' AND (c.owner_id IS NOT NULL) = t.per_agent
    LEFT JOIN keepstep.agents a ON a.code = c.owner_id
    WHERE t.sync_type = %(type)s AND (c.owner_id IS NULL OR (a.enabled AND keepstep.is_erp_ready(c.own_credentials)))
      AND (%(agent)s::text IS NULL OR c.owner_id = %(agent)s)
), queued AS (
    INSERT INTO keepstep.runs (connection_id, mode, dry_run, trigger, actor, entities, state, in_queue)
    SELECT w.connection_id, %(mode)s, false, 'manual', %(by)s, ARRAY[%(type)s::text], 'queued', true
    FROM wanted w ORDER BY w.connection_id
    ON CONFLICT (connection_id) WHERE state IN ('queued', 'running', 'waiting') DO NOTHING
    RETURNING id, connection_id
)
SELECT w.agent, w.connection_id, q.id AS run FROM wanted w LEFT JOIN queued q ON q.connection_id = w.connection_id
ORDER BY w.agent

-- name: enqueue
SELECT keepstep.enqueue(%(runs)s::bigint[])

-- name: busy
-- What keeps connections busy; null where it has ended meanwhile.
SELECT c.id AS connection_id, r.id AS run, r.entities FROM keepstep.connections c
LEFT JOIN keepstep.runs r ON r.connection_id = c.id AND r.state IN ('queued', 'running', 'waiting')
WHERE c.id = ANY (%(connections)s::bigint[])

-- name: make_due
-- The type's schedule of busy connections: it has its turn as soon as what goes on has ended.
WITH due AS MATERIALIZED (
    SELECT s.id, s.connection_id FROM keepstep.schedules s
    WHERE s.connection_id = ANY (%(connections)s::bigint[]) AND s.sync_type = %(type)s AND s.enabled
    ORDER BY s.id
)
SELECT d.connection_id, count(keepstep.make_due(d.id)) AS n FROM due d GROUP BY d.connection_id

-- name: live
SELECT c.owner_id AS agent FROM keepstep.runs r JOIN keepstep.connections c ON c.id = r.connection_id
WHERE r.state IN ('queued', 'running', 'waiting') AND c.integration = 'erp' AND c.owner_id IS NOT NULL
ORDER BY c.owner_id

-- name: unwanted
-- Live runs of agents who are not, or not any more, on the list.
SELECT c.owner_id AS agent FROM keepstep.runs r JOIN keepstep.connections c ON c.id = r.connection_id
WHERE r.state IN ('queued', 'running', 'waiting') AND c.integration = 'erp' AND c.owner_id IS NOT NULL
  AND NOT EXISTS (SELECT FROM keepstep.agents a WHERE a.code = c.owner_id AND a.enabled)
