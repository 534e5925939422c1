-- The ERP's agents: whose reports are read. A row here is all it takes: connections and schedules follow in its transaction,
-- also where it was written by hand, so that nobody keeps a copy of this list that could be old.

CREATE TABLE keepstep.agents (
    code       text PRIMARY KEY CHECK (code ~ '^\S(.*\S)?$' AND length(code) <= 64),
    name       text NOT NULL DEFAULT '' CHECK (length(name) <= 200),
    enabled    boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    updated_by text NOT NULL DEFAULT session_user
);
COMMENT ON TABLE keepstep.agents IS 'the whitelist: of nobody else are reports of the ERP read';
COMMENT ON COLUMN keepstep.agents.code IS 'as the ERP calls the agent; the owner of their connection and of their rows';

ALTER TABLE keepstep.sync_settings ADD COLUMN per_agent boolean NOT NULL DEFAULT false;
UPDATE keepstep.sync_settings SET per_agent = true WHERE sync_type IN ('orders', 'customers', 'ddt', 'invoices');

-- What only the environment of the processes that start runs knows.
ALTER TABLE keepstep.connections ADD COLUMN env_given text[] NOT NULL DEFAULT '{}';
COMMENT ON COLUMN keepstep.connections.env_given IS 'what the environment gives: credentials, base_url';

-- Whether the ERP can be asked at all. ``own``: with credentials that the agent has.
CREATE FUNCTION keepstep.is_erp_ready(own boolean) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT EXISTS (
        SELECT FROM keepstep.connections c
        WHERE c.integration = 'erp' AND c.owner_id IS NULL
          AND (own OR c.credentials IS NOT NULL OR 'credentials' = ANY (c.env_given))
          AND ('base_url' = ANY (c.env_given) OR EXISTS (SELECT FROM keepstep.settings s WHERE s.name = 'ERP_BASE_URL')))
$$;

-- As before (0010), but what the ERP would be asked for is due only while it can be asked.
CREATE OR REPLACE FUNCTION keepstep.make_due(schedule bigint, moment timestamptz DEFAULT now()) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO keepstep.schedule_times (schedule_id, due_at, delta_at, full_at)
    SELECT s.id, moment, moment, keepstep.next_full(
        moment, s.full_at_hour_utc, keepstep.jitter(s.id, 86400), keepstep.full_done_today(s.id, moment))
    FROM keepstep.schedules s JOIN keepstep.connections c ON c.id = s.connection_id
    WHERE s.id = schedule AND s.enabled AND c.state = 'connected'
      AND (c.integration <> 'erp' OR keepstep.is_erp_ready(c.own_credentials))
    ON CONFLICT (schedule_id) DO UPDATE
    SET due_at = excluded.due_at, delta_at = excluded.delta_at, full_at = excluded.full_at;
    SELECT pg_notify('keepstep_schedules', '')
$$;

-- The connection of an agent (null: the shared one) and a schedule of each of its types.
CREATE FUNCTION keepstep.plan_erp(agent text) RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO keepstep.connections (integration, owner_id) VALUES ('erp', agent)
    ON CONFLICT (integration, coalesce(owner_id, '')) DO NOTHING;
    INSERT INTO keepstep.schedules (connection_id, name, sync_type, interval_seconds, entities, updated_by)
    SELECT c.id, t.sync_type, t.sync_type, t.interval_minutes * 60, ARRAY[t.sync_type], session_user
    FROM keepstep.connections c JOIN keepstep.sync_settings t ON t.per_agent = (agent IS NOT NULL)
    WHERE c.integration = 'erp' AND c.owner_id IS NOT DISTINCT FROM agent
    ORDER BY t.default_minutes, t.sync_type
    ON CONFLICT (connection_id, name) DO NOTHING;
END
$$;

-- Nothing of an agent begins any more. Rows and past runs stay, and so does the connection.
CREATE FUNCTION keepstep.rest_erp(agent text) RETURNS void
LANGUAGE sql AS $$
    DELETE FROM keepstep.schedules s USING keepstep.connections c
    WHERE c.id = s.connection_id AND c.integration = 'erp' AND c.owner_id = agent AND s.sync_type IS NOT NULL
$$;

CREATE FUNCTION keepstep.agent_is_edited() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END
$$;
CREATE FUNCTION keepstep.agent_was_edited() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP <> 'INSERT' AND OLD.enabled AND (TG_OP = 'DELETE' OR NOT NEW.enabled OR NEW.code <> OLD.code) THEN
        PERFORM keepstep.rest_erp(OLD.code);
    END IF;
    IF TG_OP <> 'DELETE' AND NEW.enabled THEN
        PERFORM keepstep.plan_erp(NULL);
        PERFORM keepstep.plan_erp(NEW.code);
    END IF;
    PERFORM pg_notify('keepstep_agents', '');
    RETURN NULL;
END
$$;
CREATE FUNCTION keepstep.agents_were_emptied() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM keepstep.rest_erp(c.owner_id) FROM keepstep.connections c WHERE c.integration = 'erp' AND c.owner_id IS NOT NULL;
    PERFORM pg_notify('keepstep_agents', '');
    RETURN NULL;
END
$$;
CREATE TRIGGER agent_is_edited BEFORE UPDATE ON keepstep.agents FOR EACH ROW EXECUTE FUNCTION keepstep.agent_is_edited();
CREATE TRIGGER agent_was_edited AFTER INSERT OR UPDATE OR DELETE ON keepstep.agents
    FOR EACH ROW EXECUTE FUNCTION keepstep.agent_was_edited();
CREATE TRIGGER agents_were_emptied AFTER TRUNCATE ON keepstep.agents
    FOR EACH STATEMENT EXECUTE FUNCTION keepstep.agents_were_emptied();

-- What waited for an account or an address begins at once; what has lost one is not due.
CREATE FUNCTION keepstep.settle_erp() RETURNS void
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM keepstep.make_due(s.id) FROM keepstep.schedules s JOIN keepstep.connections c ON c.id = s.connection_id
    WHERE c.integration = 'erp' AND s.sync_type IS NOT NULL AND s.enabled AND c.state = 'connected'
      AND keepstep.is_erp_ready(c.own_credentials)
      AND NOT EXISTS (SELECT FROM keepstep.schedule_times t WHERE t.schedule_id = s.id);
    DELETE FROM keepstep.schedule_times t USING keepstep.schedules s, keepstep.connections c
    WHERE s.id = t.schedule_id AND c.id = s.connection_id AND c.integration = 'erp'
      AND NOT keepstep.is_erp_ready(c.own_credentials);
END
$$;
CREATE FUNCTION keepstep.erp_was_configured() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF TG_TABLE_NAME = 'connections' THEN
        PERFORM keepstep.plan_erp(NULL);
    END IF;
    PERFORM keepstep.settle_erp();
    RETURN NULL;
END
$$;
CREATE TRIGGER erp_was_added AFTER INSERT ON keepstep.connections
    FOR EACH ROW WHEN (NEW.integration = 'erp' AND NEW.owner_id IS NULL) EXECUTE FUNCTION keepstep.erp_was_configured();
CREATE TRIGGER erp_was_configured AFTER UPDATE OF credentials, env_given ON keepstep.connections
    FOR EACH ROW WHEN (NEW.integration = 'erp' AND NEW.owner_id IS NULL
        AND ((OLD.credentials IS NULL) <> (NEW.credentials IS NULL) OR OLD.env_given <> NEW.env_given))
    EXECUTE FUNCTION keepstep.erp_was_configured();
CREATE TRIGGER erp_was_addressed AFTER INSERT ON keepstep.settings
    FOR EACH ROW WHEN (NEW.name = 'ERP_BASE_URL') EXECUTE FUNCTION keepstep.erp_was_configured();
CREATE TRIGGER erp_lost_its_address AFTER DELETE ON keepstep.settings
    FOR EACH ROW WHEN (OLD.name = 'ERP_BASE_URL') EXECUTE FUNCTION keepstep.erp_was_configured();

-- Two hundred agents of one type share one interval: each has its own place in all of it, by the golden ratio, where a
-- minute (``jitter``) would have them all come at once.
CREATE FUNCTION keepstep.spread(schedule_id bigint, interval_seconds integer) RETURNS interval
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT interval_seconds * 1000000::bigint * ((schedule_id % 1000000) * 618033 % 1000000) / 1000000 * interval '1 microsecond'
$$;
CREATE OR REPLACE FUNCTION keepstep.schedule_is_edited() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' OR NEW.interval_seconds <> OLD.interval_seconds OR (NEW.enabled AND NOT OLD.enabled) THEN
        NEW.anchor_at := now() - CASE
            WHEN NEW.sync_type IS NOT NULL
                 AND EXISTS (SELECT FROM keepstep.connections WHERE id = NEW.connection_id AND owner_id IS NOT NULL)
            THEN keepstep.spread(NEW.id, NEW.interval_seconds)
            ELSE keepstep.jitter(NEW.id, NEW.interval_seconds) END;
    END IF;
    NEW.updated_at := now();
    RETURN NEW;
END
$$;

-- A type that found the connection of its agent busy with another one need not wait for its minute: it is the turn of the
-- one that has waited longest. Nobody is waited for, as who has the times may wait for the end of this run.
CREATE FUNCTION keepstep.next_type_has_its_turn() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE keepstep.schedule_times t SET delta_at = now(), due_at = least(now(), t.full_at)
    FROM (
        SELECT o.schedule_id FROM keepstep.schedules s JOIN keepstep.schedule_times o ON o.schedule_id = s.id
        WHERE s.connection_id = NEW.connection_id AND s.sync_type IS NOT NULL AND s.id IS DISTINCT FROM NEW.schedule_id
          AND o.delta_at > now() AND o.delta_at <= now() + interval '1 minute'
          AND o.delta_at < keepstep.next_slot(now(), s.anchor_at, s.interval_seconds)
        ORDER BY o.delta_at LIMIT 1 FOR UPDATE OF o SKIP LOCKED
    ) n
    WHERE t.schedule_id = n.schedule_id;
    IF FOUND THEN
        PERFORM pg_notify('keepstep_schedules', '');
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER next_type_has_its_turn AFTER UPDATE ON keepstep.runs
    FOR EACH ROW WHEN (OLD.finished_at IS NULL AND NEW.finished_at IS NOT NULL AND NEW.mode = 'backfill')
    EXECUTE FUNCTION keepstep.next_type_has_its_turn();

-- As before (0004), but a full reading by schedule is no guest of the night: it keeps its type's interval.
CREATE OR REPLACE FUNCTION keepstep.enqueue(run_ids bigint[]) RETURNS bigint
LANGUAGE sql AS $$
    WITH added AS (
        INSERT INTO keepstep_queue.procrastinate_jobs (queue_name, priority, task_name, lock, queueing_lock, args)
        SELECT CASE WHEN r.trigger = 'manual' THEN 'interactive' WHEN r.mode = 'backfill' AND r.trigger <> 'schedule' THEN 'full' ELSE 'scheduled' END,
               CASE WHEN r.trigger = 'manual' THEN 100 WHEN r.mode = 'backfill' AND r.trigger <> 'schedule' THEN 10 ELSE 50 END,
               'keepstep.run', 'connection/' || r.connection_id, 'run/' || r.id, jsonb_build_object('run_id', r.id)
        FROM keepstep.runs r WHERE r.id = ANY (run_ids) AND r.state = 'queued' ORDER BY r.id
        ON CONFLICT (queueing_lock) WHERE status = 'todo' DO NOTHING
        RETURNING id, queue_name
    ), told AS (
        SELECT pg_notify('procrastinate_queue_v1#' || queue_name,
                         json_build_object('type', 'job_inserted', 'job_id', max(id))::text), count(*) AS n
        FROM added GROUP BY queue_name
    )
    SELECT coalesce(sum(n), 0)::bigint FROM told
$$;

-- As before (0011), but a type is read in full each time: a report is whole or it is refused, and only what was read in
-- full shows what is gone, or is held where too much is.
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
            SELECT CASE WHEN q.trigger = 'nightly' THEN 'full' ELSE 'scheduled' END,
                   CASE WHEN q.trigger = 'nightly' THEN 10 ELSE 50 END,
                   'keepstep.run', 'connection/' || q.connection_id, 'run/' || q.id, ('{"run_id": ' || q.id || '}')::jsonb
            FROM queued q
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
