-- A hundred thousand owners: what looks at them finds what it looks for, and one of them does not hold up the others.

-- Of wide rows, whose credentials are renewed every hour: with room in their page the indexes stay as they are.
ALTER TABLE keepstep.connections SET (fillfactor = 80);

-- The few that all share, and the few that work with shared credentials, among all the others.
CREATE INDEX connections_shared ON keepstep.connections (integration) WHERE owner_id IS NULL;
CREATE INDEX connections_watched ON keepstep.connections (id) WHERE NOT own_credentials;
-- For the list: how many are in each state, and those with which something is the matter, in its order.
CREATE INDEX connections_states ON keepstep.connections (integration, state) WHERE owner_id IS NOT NULL;
CREATE INDEX connections_unwell ON keepstep.connections (integration, owner_id, id) WHERE owner_id IS NOT NULL AND state <> 'connected';
DROP INDEX keepstep.owner_standing_failing;
CREATE INDEX owner_standing_failing ON keepstep.owner_standing (connection_id) WHERE failures > 0;

-- Owners whose upstream did not answer the last time. Their runs have a queue and places of their own, so that nobody waits
-- behind a dead mailbox. A shared connection is never here: there are few of them, and each is somebody's main concern.
CREATE TABLE keepstep.struggling (
    connection_id bigint PRIMARY KEY REFERENCES keepstep.connections ON DELETE CASCADE,
    since         timestamptz NOT NULL DEFAULT now(),
    failed        boolean NOT NULL DEFAULT false
);
COMMENT ON COLUMN keepstep.struggling.failed IS 'else it only stood still while others waited, and comes before those that failed';
ALTER TABLE keepstep.struggling ENABLE ROW LEVEL SECURITY;
CREATE POLICY keepstep_owner ON keepstep.struggling USING (keepstep.is_visible(connection_id));

-- Whether the connection is an owner's; what is queued of it from now on waits aside.
CREATE FUNCTION keepstep.set_aside(connection bigint, failed boolean DEFAULT false) RETURNS boolean
LANGUAGE plpgsql AS $$
#variable_conflict use_variable
BEGIN
    INSERT INTO keepstep.struggling AS g (connection_id, failed)
    SELECT c.id, failed FROM keepstep.connections c WHERE c.id = connection AND c.owner_id IS NOT NULL
    ON CONFLICT (connection_id) DO UPDATE SET failed = true WHERE excluded.failed AND NOT g.failed;
    RETURN EXISTS (SELECT FROM keepstep.struggling g WHERE g.connection_id = connection);
END
$$;

-- Silence, faults and a breaker that opened; neither a refusal nor a limit, which are told at once. One success ends it.
CREATE FUNCTION keepstep.run_tells_of_struggle() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.state IN ('succeeded', 'held') THEN
        DELETE FROM keepstep.struggling WHERE connection_id = NEW.connection_id;
    ELSE
        PERFORM keepstep.set_aside(NEW.connection_id, true);
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER run_tells_of_struggle AFTER UPDATE ON keepstep.runs FOR EACH ROW WHEN (
    OLD.state <> NEW.state AND (NEW.state IN ('succeeded', 'held')
    OR NEW.state IN ('failed', 'waiting') AND NEW.error ->> 'kind' IN ('transient', 'breaker-open')))
    EXECUTE FUNCTION keepstep.run_tells_of_struggle();

-- As before (0017), but what struggles has a queue of its own. What somebody waits for comes first there too.
CREATE OR REPLACE FUNCTION keepstep.enqueue(run_ids bigint[]) RETURNS bigint
LANGUAGE sql AS $$
    WITH added AS (
        INSERT INTO keepstep_queue.procrastinate_jobs (queue_name, priority, task_name, lock, queueing_lock, args)
        SELECT CASE WHEN g.connection_id IS NOT NULL THEN 'struggling'
                    WHEN r.trigger = 'manual' THEN 'interactive' WHEN r.mode = 'backfill' AND r.trigger <> 'schedule' THEN 'full' ELSE 'scheduled' END,
               CASE WHEN r.trigger = 'manual' THEN 100 WHEN g.failed THEN 5 WHEN g.connection_id IS NOT NULL THEN 8 WHEN r.mode = 'backfill' AND r.trigger <> 'schedule' THEN 10 ELSE 50 END,
               'keepstep.run', 'connection/' || r.connection_id, 'run/' || r.id, jsonb_build_object('run_id', r.id)
        FROM keepstep.runs r LEFT JOIN keepstep.struggling g ON g.connection_id = r.connection_id WHERE r.id = ANY (run_ids) AND r.state = 'queued' ORDER BY r.id
        ON CONFLICT (queueing_lock) WHERE status = 'todo' DO NOTHING
        RETURNING id, queue_name
    ), told AS (
        SELECT pg_notify('procrastinate_queue_v1#' || queue_name,
                         json_build_object('type', 'job_inserted', 'job_id', max(id))::text), count(*) AS n
        FROM added GROUP BY queue_name
    )
    SELECT coalesce(sum(n), 0)::bigint FROM told
$$;

-- As before (0017), but for the same queue.
CREATE OR REPLACE FUNCTION keepstep.dispatch_due(
    batch integer DEFAULT 1000, moment timestamptz DEFAULT now(),
    OUT started bigint[], OUT skipped bigint[], OUT more boolean, OUT next_due timestamptz)
LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    claimed bigint[];
    places tid[];
    dues timestamptz[];
    deltas timestamptz[];
    fulls timestamptz[];
    told bigint;
BEGIN
    -- A crash of the server may undo the last moments of it as a whole: then they are due still.
    PERFORM set_config('synchronous_commit', 'off', true);
    PERFORM keepstep.tick(moment);
    SELECT coalesce(array_agg(c.schedule_id), '{}'), array_agg(c.ctid), array_agg(c.due_at), array_agg(c.delta_at), array_agg(c.full_at)
    INTO claimed, places, dues, deltas, fulls FROM (
        SELECT t.ctid, t.schedule_id, t.due_at, t.delta_at, t.full_at FROM keepstep.schedule_times t WHERE t.due_at <= moment
        ORDER BY t.due_at LIMIT batch FOR UPDATE SKIP LOCKED
    ) c;
    started := '{}';
    skipped := '{}';
    IF claimed <> '{}' THEN
        WITH due AS MATERIALIZED (
            SELECT s.id, s.connection_id, s.entities, s.full_at_hour_utc, t.place, t.due_at,
                   s.sync_type IS NOT NULL AND t.delta_at <= moment AS is_patient, s.sync_type IS NOT NULL AS is_whole,
                   CASE WHEN s.full_at_hour_utc IS NOT NULL THEN t.full_at END AS full_at,
                   CASE WHEN t.delta_at > moment THEN t.delta_at
                        ELSE keepstep.next_slot(moment, s.anchor_at, s.interval_seconds) END AS delta_at,
                   t.full_at IS NOT NULL AND t.full_at <= moment AND s.full_at_hour_utc IS NOT NULL AS is_full
            FROM unnest(claimed, places, dues, deltas, fulls) AS t (schedule_id, place, due_at, delta_at, full_at)
            JOIN keepstep.schedules s ON s.id = t.schedule_id
        ), queued AS (
            -- In the order of connections: two callers that meet at the same ones cannot lock each other out.
            INSERT INTO keepstep.runs (connection_id, mode, dry_run, trigger, entities, state, in_queue, schedule_id,
                                       planned_at, caught_up, created_at, queued_at)
            SELECT d.connection_id, CASE WHEN d.is_full OR d.is_whole THEN 'backfill' ELSE 'delta' END, false,
                   CASE WHEN d.is_full THEN 'nightly' ELSE 'schedule' END, d.entities, 'queued', true, d.id,
                   d.due_at, d.is_full AND extract(hour FROM moment AT TIME ZONE 'UTC') <> d.full_at_hour_utc, moment, moment
            FROM due d ORDER BY d.connection_id, d.is_full DESC, d.due_at
            ON CONFLICT (connection_id) WHERE state IN ('queued', 'running', 'waiting') DO NOTHING
            RETURNING id, schedule_id, connection_id, trigger
        ), moved AS (
            UPDATE keepstep.schedule_times t
            SET delta_at = n.delta_at, full_at = n.full_at, due_at = least(n.delta_at, n.full_at)
            FROM (
                SELECT d.place, CASE
                    WHEN d.is_patient AND d.id NOT IN (SELECT q.schedule_id FROM queued q)
                    THEN least(d.delta_at, moment + interval '1 minute')
                    ELSE d.delta_at END AS delta_at, CASE
                    WHEN NOT d.is_full THEN d.full_at
                    WHEN d.id IN (SELECT q.schedule_id FROM queued q)
                    THEN keepstep.next_full(moment, d.full_at_hour_utc, keepstep.jitter(d.id, 86400), true)
                    ELSE moment + interval '5 minutes' END AS full_at
                FROM due d
            ) n
            WHERE t.ctid = n.place
        ), added AS (
            INSERT INTO keepstep_queue.procrastinate_jobs (queue_name, priority, task_name, lock, queueing_lock, args)
            SELECT CASE WHEN g.connection_id IS NOT NULL THEN 'struggling' WHEN q.trigger = 'nightly' THEN 'full' ELSE 'scheduled' END,
                   CASE WHEN g.failed THEN 5 WHEN g.connection_id IS NOT NULL THEN 8 WHEN q.trigger = 'nightly' THEN 10 ELSE 50 END,
                   'keepstep.run', 'connection/' || q.connection_id, 'run/' || q.id, ('{"run_id": ' || q.id || '}')::jsonb
            FROM queued q LEFT JOIN keepstep.struggling g ON g.connection_id = q.connection_id
            RETURNING id, queue_name
        ), notices AS (
            SELECT pg_notify('procrastinate_queue_v1#' || a.queue_name,
                             json_build_object('type', 'job_inserted', 'job_id', max(a.id))::text)
            FROM added a GROUP BY a.queue_name
        )
        SELECT coalesce((SELECT array_agg(q.id) FROM queued q), '{}'),
               coalesce(array_agg(d.id) FILTER (WHERE d.id NOT IN (SELECT q.schedule_id FROM queued q)), '{}'),
               (SELECT count(*) FROM notices)
        INTO started, skipped, told FROM due d;
    END IF;
    more := cardinality(claimed) >= batch;
    next_due := (SELECT min(t.due_at) FROM keepstep.schedule_times t WHERE t.due_at > moment);
END
$$;

-- The views that people query by hand are made with the rights of Keepstep's role, so that the policies of the tables beneath
-- do not hold in them: they ask themselves who is looking. As before (0001, 0011, 0015) but for that.
-- Its body is parsed now: whoever looks through a view in another schema may not know this one.
CREATE FUNCTION keepstep.shows(owner text) RETURNS boolean
LANGUAGE sql STABLE
RETURN owner IS NULL OR NOT row_security_active('keepstep.connections'::regclass)
    OR owner = coalesce(nullif(current_setting('keepstep.owner', true), ''),
                        nullif(current_setting('request.jwt.claims', true), '')::jsonb ->> 'sub');

CREATE OR REPLACE VIEW keepstep.auto_sync_jobs WITH (security_barrier) AS
SELECT c.owner_id AS user_id, ceil(s.interval_seconds / 60.0)::integer AS interval_minutes, s.created_at, s.updated_at
FROM keepstep.schedules s JOIN keepstep.connections c ON c.id = s.connection_id
WHERE c.integration = 'mail' AND c.owner_id IS NOT NULL AND s.name = '' AND s.enabled AND keepstep.shows(c.owner_id);

CREATE OR REPLACE VIEW keepstep.audit_events WITH (security_barrier) AS
SELECT CASE e.type WHEN 'run-started' THEN 'SYNC_STARTED' WHEN 'run-finished' THEN 'SYNC_FINISHED' ELSE 'SYNC_ERROR' END AS event_type,
       c.integration AS ref_table, e.data || jsonb_build_object('runId', e.run_id, 'message', e.msg) AS payload,
       e.ts AS created_at, r.actor AS actor_id, CASE WHEN r.trigger = 'manual' THEN 'MANUAL' ELSE 'AUTO_SYNC' END AS label
FROM keepstep.events e JOIN keepstep.runs r ON r.id = e.run_id JOIN keepstep.connections c ON c.id = e.connection_id
WHERE e.type IN ('run-started', 'run-finished', 'run-failed') AND keepstep.shows(c.owner_id);

CREATE OR REPLACE VIEW keepstep.auto_sync_history WITH (security_barrier) AS
SELECT c.owner_id AS user_id, c.integration, r.id AS run_id, r.trigger, r.state, r.planned_at, r.started_at, r.finished_at,
       e.rows, e.inserted, e.updated, e.unchanged, e.deleted, e.dead_lettered, r.error ->> 'message' AS error
FROM keepstep.runs r
JOIN keepstep.connections c ON c.id = r.connection_id AND c.owner_id IS NOT NULL
CROSS JOIN LATERAL (
    SELECT coalesce(sum(n.rows), 0)::bigint AS rows, coalesce(sum(n.inserted), 0)::bigint AS inserted,
           coalesce(sum(n.updated), 0)::bigint AS updated, coalesce(sum(n.unchanged), 0)::bigint AS unchanged,
           coalesce(sum(n.deleted), 0)::bigint AS deleted, coalesce(sum(n.dead_lettered), 0)::bigint AS dead_lettered
    FROM keepstep.run_entities n WHERE n.run_id = r.id
) e WHERE keepstep.shows(c.owner_id);

-- As before (0014), for the tables that it left out.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['limits', 'rate_samples', 'request_minutes', 'pings', 'health_history', 'schema_fields'] LOOP
        EXECUTE format('ALTER TABLE keepstep.%I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY keepstep_owner ON keepstep.%I USING (keepstep.is_visible(connection_id))', name);
    END LOOP;
END
$$;
ALTER TABLE keepstep.alerts ENABLE ROW LEVEL SECURITY;
CREATE POLICY keepstep_owner ON keepstep.alerts USING (connection_id IS NULL OR keepstep.is_visible(connection_id));
ALTER TABLE keepstep.schedule_times ENABLE ROW LEVEL SECURITY;
CREATE POLICY keepstep_owner ON keepstep.schedule_times
    USING (EXISTS (SELECT FROM keepstep.schedules s WHERE s.id = schedule_id));

-- As before (0015), but contacts are made of what was read of the connections: both are scheduled.
CREATE OR REPLACE FUNCTION keepstep.auto_sync_bounds(integration text, OUT least_minutes integer, OUT most_minutes integer, OUT entities text[])
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    CASE integration
        WHEN 'mail' THEN least_minutes := 5; most_minutes := 1440; entities := '{messages}';
        WHEN 'google_contacts' THEN least_minutes := 60; most_minutes := 43200; entities := '{connections,contacts}';
        ELSE RAISE invalid_parameter_value USING
            MESSAGE = format('Users have no auto-sync of %s.', integration), HINT = 'Give mail or google_contacts.';
    END CASE;
END
$$;
