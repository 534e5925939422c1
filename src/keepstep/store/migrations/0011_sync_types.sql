-- Sync types: kinds of data with an interval of their own, whatever number of connections has a schedule of them.

-- ``default_minutes``: the seed, or what the environment says. ``saved``: a person chose the interval, so that no default
-- changes it any more. People may write here by hand: the schedules follow.
CREATE TABLE keepstep.sync_settings (
    sync_type        text PRIMARY KEY CHECK (sync_type <> ''),
    interval_minutes integer NOT NULL CHECK (interval_minutes BETWEEN 5 AND 1440),
    enabled          boolean NOT NULL DEFAULT true,
    updated_at       timestamptz NOT NULL DEFAULT now(),
    updated_by       text NOT NULL DEFAULT 'keepstep',
    default_minutes  integer NOT NULL CHECK (default_minutes BETWEEN 5 AND 1440),
    saved            boolean NOT NULL DEFAULT false
);
INSERT INTO keepstep.sync_settings (sync_type, interval_minutes, default_minutes)
SELECT sync_type, minutes, minutes
FROM (VALUES ('orders', 10), ('customers', 15), ('products', 30), ('prices', 60), ('ddt', 20), ('invoices', 20))
    AS seeds (sync_type, minutes);

ALTER TABLE keepstep.schedules ADD COLUMN sync_type text REFERENCES keepstep.sync_settings;
CREATE INDEX schedules_of_type ON keepstep.schedules (sync_type) WHERE sync_type IS NOT NULL;
COMMENT ON COLUMN keepstep.schedules.sync_type IS 'keepstep.sync_settings says its interval and whether it is enabled';

-- Before schedule_is_edited, which makes the grid of the interval: triggers fire by name.
CREATE FUNCTION keepstep.schedule_follows_type() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    -- Locked: a change of the type at the same time comes after this schedule is there, and finds it.
    SELECT t.interval_minutes * 60, t.enabled INTO NEW.interval_seconds, NEW.enabled
    FROM keepstep.sync_settings t WHERE t.sync_type = NEW.sync_type FOR SHARE;
    RETURN NEW;
END
$$;
CREATE TRIGGER schedule_follows_type BEFORE INSERT ON keepstep.schedules
    FOR EACH ROW WHEN (NEW.sync_type IS NOT NULL) EXECUTE FUNCTION keepstep.schedule_follows_type();

CREATE FUNCTION keepstep.sync_type_is_edited() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    NEW.saved := NEW.saved
        OR (NEW.interval_minutes <> OLD.interval_minutes AND NEW.default_minutes = OLD.default_minutes);
    IF NEW.interval_minutes <> OLD.interval_minutes OR NEW.enabled <> OLD.enabled OR NEW.saved <> OLD.saved THEN
        NEW.updated_at := now();
    END IF;
    RETURN NEW;
END
$$;
CREATE FUNCTION keepstep.sync_type_was_edited() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    UPDATE keepstep.schedules
    SET interval_seconds = NEW.interval_minutes * 60, enabled = NEW.enabled, updated_by = NEW.updated_by
    WHERE sync_type = NEW.sync_type
      AND (interval_seconds, enabled) IS DISTINCT FROM (NEW.interval_minutes * 60, NEW.enabled);
    RETURN NULL;
END
$$;
CREATE TRIGGER sync_type_is_edited BEFORE UPDATE ON keepstep.sync_settings
    FOR EACH ROW EXECUTE FUNCTION keepstep.sync_type_is_edited();
CREATE TRIGGER sync_type_was_edited AFTER UPDATE ON keepstep.sync_settings
    FOR EACH ROW WHEN ((OLD.interval_minutes, OLD.enabled) IS DISTINCT FROM (NEW.interval_minutes, NEW.enabled))
    EXECUTE FUNCTION keepstep.sync_type_was_edited();

-- A shape that people query by hand: who has auto-sync of mail turned on, and how often.
CREATE VIEW keepstep.auto_sync_jobs AS
SELECT c.owner_id AS user_id, ceil(s.interval_seconds / 60.0)::integer AS interval_minutes, s.created_at, s.updated_at
FROM keepstep.schedules s JOIN keepstep.connections c ON c.id = s.connection_id
WHERE c.integration = 'mail' AND c.owner_id IS NOT NULL AND s.name = '' AND s.enabled;

-- As before (0006), but the schedule of a type that finds its connection busy tries again in a minute: it is the
-- others that keep it busy, and its next slot may be an hour away.
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
                   s.sync_type IS NOT NULL AND t.delta_at <= moment AS is_patient,
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
            SELECT d.connection_id, CASE WHEN d.is_full THEN 'backfill' ELSE 'delta' END, false,
                   CASE WHEN d.is_full THEN 'nightly' ELSE 'schedule' END, d.entities, 'queued', true, d.id,
                   d.due_at, d.is_full AND extract(hour FROM moment AT TIME ZONE 'UTC') <> d.full_at_hour_utc, moment, moment
            FROM due d ORDER BY d.connection_id, d.is_full DESC, d.due_at
            ON CONFLICT (connection_id) WHERE state IN ('queued', 'running', 'waiting') DO NOTHING
            RETURNING id, schedule_id, connection_id, mode
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
            SELECT CASE WHEN q.mode = 'backfill' THEN 'full' ELSE 'scheduled' END,
                   CASE WHEN q.mode = 'backfill' THEN 10 ELSE 50 END,
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
