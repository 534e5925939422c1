-- A dispatch costs less: docs/adr/0022 says what each part was worth.

-- To check the connection of every run took a third of a dispatch: a look at its row, a lock written into that row, and
-- WAL for both. A run by schedule needs none of it. Its schedule refers to the connection, and the claim holds the
-- schedule's times until the run is there. The triggers below keep the promise for all others.
ALTER TABLE keepstep.runs DROP CONSTRAINT runs_connection_id_fkey;

CREATE FUNCTION keepstep.run_has_connection() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM keepstep.connections WHERE id = NEW.connection_id FOR KEY SHARE;
    IF NOT FOUND THEN
        RAISE foreign_key_violation USING MESSAGE = format('There is no connection %s for a run.', NEW.connection_id),
            SCHEMA = 'keepstep', TABLE = 'runs', COLUMN = 'connection_id';
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER run_has_connection AFTER INSERT ON keepstep.runs
    FOR EACH ROW WHEN (NEW.schedule_id IS NULL) EXECUTE FUNCTION keepstep.run_has_connection();
CREATE TRIGGER run_keeps_connection AFTER UPDATE OF connection_id ON keepstep.runs
    FOR EACH ROW WHEN (NEW.connection_id <> OLD.connection_id) EXECUTE FUNCTION keepstep.run_has_connection();

-- The order of locks matters: with its connection locked no schedule can be added, with their times locked none is
-- dispatched, and what was dispatched before can be seen.
CREATE FUNCTION keepstep.connection_has_no_runs() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    PERFORM FROM keepstep.connections WHERE id = OLD.id FOR UPDATE;
    PERFORM FROM keepstep.schedules s JOIN keepstep.schedule_times t ON t.schedule_id = s.id
    WHERE s.connection_id = OLD.id FOR UPDATE;
    IF EXISTS (SELECT FROM keepstep.runs WHERE connection_id = OLD.id) THEN
        RAISE foreign_key_violation USING MESSAGE = format('Connection %s has runs.', OLD.id),
            SCHEMA = 'keepstep', TABLE = 'runs', COLUMN = 'connection_id';
    END IF;
    RETURN OLD;
END
$$;
CREATE TRIGGER connection_has_no_runs BEFORE DELETE ON keepstep.connections
    FOR EACH ROW EXECUTE FUNCTION keepstep.connection_has_no_runs();

-- Whoever looks for queued runs reads all of them, and runs_one_live has them too.
DROP INDEX keepstep.runs_live;
CREATE INDEX runs_taken_up ON keepstep.runs (state, id) WHERE state IN ('running', 'waiting');

-- As before (0004), but each row is found once: what the claim has read and locked is kept with its place in the table,
-- and queue rows are made of the runs at hand. A run that is made here has no queue row yet, so none can collide.
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
                SELECT d.place, d.delta_at, CASE
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
