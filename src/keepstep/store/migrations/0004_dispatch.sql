-- Dispatch: due schedules become queued runs with their queue rows in one transaction, whoever calls: a process of
-- Keepstep, psql, pg_cron. dispatch/schedule.py does the same arithmetic, and a test holds the two together.
-- Time is counted in microseconds and never in days: a day of an interval follows the session's time zone.

CREATE INDEX runs_waiting ON keepstep.runs (due_at) WHERE state = 'waiting';
-- A run names the schedule that it came from, also when that is gone. To check it would lock a row of the wide table for
-- each run, and only full runs are ever looked for by it.
ALTER TABLE keepstep.runs DROP CONSTRAINT runs_schedule_id_fkey;
DROP INDEX keepstep.runs_of_schedule;
CREATE INDEX runs_nightly ON keepstep.runs (schedule_id, created_at) WHERE trigger = 'nightly';

-- Dead entries pile up at the left end of schedule_times_due, where every dispatch looks first.
ALTER TABLE keepstep.schedule_times SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);

-- A command beside a running Keepstep need not have its environment.
ALTER TABLE keepstep.schedules ADD COLUMN env_locked text[] NOT NULL DEFAULT '{}';
COMMENT ON COLUMN keepstep.schedules.env_locked IS 'what the environment of the processes that start runs sets';

-- Spreads schedules over up to a minute: a golden-ratio step for each id, so that neighbours lie far apart.
CREATE FUNCTION keepstep.jitter(schedule_id bigint, interval_seconds integer) RETURNS interval
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT least(interval_seconds * 50000::bigint, 60000000) * ((schedule_id % 1000000) * 618033 % 1000000) / 1000000
           * interval '1 microsecond'
$$;

-- The first slot of the grid anchor + n * interval after a moment.
CREATE FUNCTION keepstep.next_slot(moment timestamptz, anchor timestamptz, interval_seconds integer) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT moment + (
        interval_seconds * 1000000::bigint
        - mod(mod(((extract(epoch FROM moment) - extract(epoch FROM anchor)) * 1000000)::bigint, interval_seconds * 1000000::bigint)
              + interval_seconds * 1000000::bigint, interval_seconds * 1000000::bigint)
    ) * interval '1 microsecond'
$$;

-- The first full slot after a moment: once every UTC day, a little after the hour.
CREATE FUNCTION keepstep.next_full(moment timestamptz, hour_utc integer, jitter interval, done_today boolean) RETURNS timestamptz
LANGUAGE sql STABLE PARALLEL SAFE AS $$
    SELECT date_trunc('day', moment, 'UTC') + hour_utc * interval '1 hour' + jitter + CASE
        WHEN done_today OR date_trunc('day', moment, 'UTC') + hour_utc * interval '1 hour' + jitter <= moment
        THEN interval '24 hours' ELSE interval '0' END
$$;

-- A full run by schedule is dispatched once every UTC day, whatever becomes of its hour meanwhile.
CREATE FUNCTION keepstep.full_done_today(schedule bigint, moment timestamptz) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT EXISTS (
        SELECT FROM keepstep.runs r WHERE r.schedule_id = schedule AND r.trigger = 'nightly'
        AND r.created_at >= date_trunc('day', moment, 'UTC')
        AND r.created_at < date_trunc('day', moment, 'UTC') + interval '24 hours')
$$;

-- Queue rows for queued runs, one attempt each; a run that has one already gets none. The engine's notification for
-- each row is switched off: one for each queue wakes its workers, and they go on until it is empty.
CREATE FUNCTION keepstep.enqueue(run_ids bigint[]) RETURNS bigint
LANGUAGE sql AS $$
    WITH added AS (
        INSERT INTO keepstep_queue.procrastinate_jobs (queue_name, priority, task_name, lock, queueing_lock, args)
        SELECT CASE WHEN r.trigger = 'manual' THEN 'interactive' WHEN r.mode = 'backfill' THEN 'full' ELSE 'scheduled' END,
               CASE WHEN r.trigger = 'manual' THEN 100 WHEN r.mode = 'backfill' THEN 10 ELSE 50 END,
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

-- Makes a schedule due now, with its full run where the hour says.
CREATE FUNCTION keepstep.make_due(schedule bigint, moment timestamptz DEFAULT now()) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO keepstep.schedule_times (schedule_id, due_at, delta_at, full_at)
    SELECT s.id, moment, moment, keepstep.next_full(
        moment, s.full_at_hour_utc, keepstep.jitter(s.id, 86400), keepstep.full_done_today(s.id, moment))
    FROM keepstep.schedules s WHERE s.id = schedule AND s.enabled
    ON CONFLICT (schedule_id) DO UPDATE
    SET due_at = excluded.due_at, delta_at = excluded.delta_at, full_at = excluded.full_at;
    SELECT pg_notify('keepstep_schedules', '')
$$;

-- An edit takes effect at once, whoever makes it, and moves this schedule only. A new interval begins a grid whose next
-- slot lies less than one interval ahead.
CREATE FUNCTION keepstep.schedule_is_edited() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' OR NEW.interval_seconds <> OLD.interval_seconds OR (NEW.enabled AND NOT OLD.enabled) THEN
        NEW.anchor_at := now() - keepstep.jitter(NEW.id, NEW.interval_seconds);
    END IF;
    NEW.updated_at := now();
    RETURN NEW;
END
$$;
CREATE FUNCTION keepstep.schedule_was_edited() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF NOT NEW.enabled THEN
        DELETE FROM keepstep.schedule_times WHERE schedule_id = NEW.id;
    ELSIF TG_OP = 'INSERT' OR NOT OLD.enabled THEN
        PERFORM keepstep.make_due(NEW.id);
    ELSE
        -- A dispatch that is under way goes first, by the old interval; what follows sees what it did.
        PERFORM FROM keepstep.schedule_times WHERE schedule_id = NEW.id FOR UPDATE;
        IF NEW.interval_seconds <> OLD.interval_seconds THEN  -- what is overdue stays so
            UPDATE keepstep.schedule_times t SET delta_at = n.delta_at, due_at = least(n.delta_at, t.full_at)
            FROM (SELECT keepstep.next_slot(now(), NEW.anchor_at, NEW.interval_seconds) AS delta_at) n
            WHERE t.schedule_id = NEW.id AND t.delta_at > now();
        END IF;
        IF NEW.full_at_hour_utc IS DISTINCT FROM OLD.full_at_hour_utc THEN
            UPDATE keepstep.schedule_times t SET full_at = n.full_at, due_at = least(t.delta_at, n.full_at)
            FROM (SELECT keepstep.next_full(now(), NEW.full_at_hour_utc, keepstep.jitter(NEW.id, 86400),
                                            keepstep.full_done_today(NEW.id, now())) AS full_at) n
            WHERE t.schedule_id = NEW.id;
        END IF;
        PERFORM pg_notify('keepstep_schedules', '');
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER schedule_is_edited BEFORE INSERT OR UPDATE OF enabled, interval_seconds, full_at_hour_utc, entities
    ON keepstep.schedules FOR EACH ROW EXECUTE FUNCTION keepstep.schedule_is_edited();
CREATE TRIGGER schedule_was_edited AFTER INSERT OR UPDATE OF enabled, interval_seconds, full_at_hour_utc, entities
    ON keepstep.schedules FOR EACH ROW EXECUTE FUNCTION keepstep.schedule_was_edited();

-- The clock has gone back by so many seconds: times that no schedule could have now return to their grid, waits keep their length.
CREATE FUNCTION keepstep.set_back(seconds numeric, moment timestamptz) RETURNS void
LANGUAGE sql AS $$
    UPDATE keepstep.schedule_times t
    SET delta_at = n.delta_at, full_at = n.full_at, due_at = least(n.delta_at, n.full_at)
    FROM (
        SELECT o.schedule_id,
               least(o.delta_at, keepstep.next_slot(moment, s.anchor_at, s.interval_seconds)) AS delta_at,
               least(o.full_at, keepstep.next_full(moment, s.full_at_hour_utc, keepstep.jitter(s.id, 86400),
                                                   keepstep.full_done_today(s.id, moment))) AS full_at
        FROM keepstep.schedule_times o JOIN keepstep.schedules s ON s.id = o.schedule_id
        WHERE o.delta_at > moment + s.interval_seconds * interval '1 second'
           OR o.full_at > keepstep.next_full(moment, s.full_at_hour_utc, keepstep.jitter(s.id, 86400), true)
        FOR UPDATE OF o SKIP LOCKED
    ) n
    WHERE t.schedule_id = n.schedule_id;
    UPDATE keepstep.runs SET due_at = due_at - seconds * interval '1 second' WHERE state = 'waiting' AND due_at > moment
$$;

-- The dead-man's switch, and the watch over the clock. Nobody waits for anybody here: who finds the row locked goes on.
CREATE FUNCTION keepstep.tick(moment timestamptz) RETURNS void
LANGUAGE plpgsql AS $$
DECLARE
    last timestamptz := (SELECT at FROM keepstep.ticks WHERE name = 'dispatcher');
BEGIN
    IF last IS NULL THEN
        INSERT INTO keepstep.ticks (name, at) VALUES ('dispatcher', moment) ON CONFLICT DO NOTHING;
    ELSIF last < moment - interval '1 second' OR last > moment + interval '5 seconds' THEN
        PERFORM FROM keepstep.ticks WHERE name = 'dispatcher' AND at = last FOR UPDATE SKIP LOCKED;
        IF FOUND THEN
            UPDATE keepstep.ticks SET at = moment WHERE name = 'dispatcher';
            IF last > moment THEN
                PERFORM keepstep.set_back(extract(epoch FROM last) - extract(epoch FROM moment), moment);
            END IF;
        END IF;
    END IF;
END
$$;

-- Claims up to ``batch`` due schedules, moves their times, starts their runs (state queued) and gives these to the queue.
-- Any number of callers share the work: SKIP LOCKED. A connection with a live run is skipped: its delta moves on to the
-- next slot, its full run is tried again in five minutes. ``more``: maybe others are due; ``next_due``: the first later one.
-- ``moment`` is for tests. Two statements, so that the second sees every edit that was committed before the claim.
CREATE FUNCTION keepstep.dispatch_due(
    batch integer DEFAULT 500, moment timestamptz DEFAULT now(),
    OUT started bigint[], OUT skipped bigint[], OUT more boolean, OUT next_due timestamptz)
LANGUAGE plpgsql SET enable_seqscan = off AS $$
DECLARE
    claimed bigint[];
BEGIN
    -- A crash of the server may undo the last moments of it as a whole: then they are due still.
    PERFORM set_config('synchronous_commit', 'off', true);
    PERFORM keepstep.tick(moment);
    SELECT coalesce(array_agg(c.schedule_id), '{}') INTO claimed FROM (
        SELECT t.schedule_id FROM keepstep.schedule_times t WHERE t.due_at <= moment
        ORDER BY t.due_at LIMIT batch FOR UPDATE SKIP LOCKED
    ) c;
    started := '{}';
    skipped := '{}';
    IF claimed <> '{}' THEN
        WITH due AS MATERIALIZED (
            SELECT s.id, s.connection_id, s.entities, s.full_at_hour_utc, t.due_at,
                   CASE WHEN s.full_at_hour_utc IS NOT NULL THEN t.full_at END AS full_at,
                   CASE WHEN t.delta_at > moment THEN t.delta_at
                        ELSE keepstep.next_slot(moment, s.anchor_at, s.interval_seconds) END AS delta_at,
                   t.full_at IS NOT NULL AND t.full_at <= moment AND s.full_at_hour_utc IS NOT NULL AS is_full
            FROM keepstep.schedule_times t JOIN keepstep.schedules s ON s.id = t.schedule_id
            WHERE t.schedule_id = ANY (claimed)
        ), queued AS (
            -- In the order of connections: two callers that meet at the same ones cannot lock each other out.
            INSERT INTO keepstep.runs (connection_id, mode, dry_run, trigger, entities, state, in_queue, schedule_id,
                                       planned_at, caught_up, created_at, queued_at)
            SELECT d.connection_id, CASE WHEN d.is_full THEN 'backfill' ELSE 'delta' END, false,
                   CASE WHEN d.is_full THEN 'nightly' ELSE 'schedule' END, d.entities, 'queued', true, d.id,
                   d.due_at, d.is_full AND extract(hour FROM moment AT TIME ZONE 'UTC') <> d.full_at_hour_utc, moment, moment
            FROM due d ORDER BY d.connection_id, d.is_full DESC, d.due_at
            ON CONFLICT (connection_id) WHERE state IN ('queued', 'running', 'waiting') DO NOTHING
            RETURNING id, schedule_id
        ), moved AS (
            UPDATE keepstep.schedule_times t
            SET delta_at = n.delta_at, full_at = n.full_at, due_at = least(n.delta_at, n.full_at)
            FROM (
                SELECT d.id, d.delta_at, CASE
                    WHEN NOT d.is_full THEN d.full_at
                    WHEN d.id IN (SELECT q.schedule_id FROM queued q)
                    THEN keepstep.next_full(moment, d.full_at_hour_utc, keepstep.jitter(d.id, 86400), true)
                    ELSE moment + interval '5 minutes' END AS full_at
                FROM due d
            ) n
            WHERE t.schedule_id = n.id
        )
        SELECT coalesce((SELECT array_agg(q.id) FROM queued q), '{}'),
               coalesce(array_agg(d.id) FILTER (WHERE d.id NOT IN (SELECT q.schedule_id FROM queued q)), '{}')
        INTO started, skipped FROM due d;
        PERFORM keepstep.enqueue(started);
    END IF;
    more := cardinality(claimed) >= batch;
    next_due := (SELECT min(t.due_at) FROM keepstep.schedule_times t WHERE t.due_at > moment);
END
$$;

-- Runs whose wait is over are queued again. One that its own process drives (in_queue = false) is left to it.
CREATE FUNCTION keepstep.wake_waiting(
    batch integer DEFAULT 500, moment timestamptz DEFAULT now(),
    OUT woken bigint[], OUT more boolean, OUT next_due timestamptz)
LANGUAGE plpgsql SET enable_seqscan = off AS $$
BEGIN
    PERFORM set_config('synchronous_commit', 'off', true);  -- as above
    WITH due AS (
        SELECT r.id FROM keepstep.runs r WHERE r.state = 'waiting' AND r.in_queue AND r.due_at <= moment
        ORDER BY r.due_at LIMIT batch FOR UPDATE SKIP LOCKED
    ), queued AS (
        UPDATE keepstep.runs r SET state = 'queued', queued_at = moment, due_at = NULL, error = NULL FROM due WHERE r.id = due.id RETURNING r.id
    )
    SELECT coalesce(array_agg(id), '{}') INTO woken FROM queued;
    IF woken <> '{}' THEN
        PERFORM keepstep.enqueue(woken);
    END IF;
    more := cardinality(woken) >= batch;
    next_due := (SELECT min(r.due_at) FROM keepstep.runs r WHERE r.state = 'waiting' AND r.in_queue AND r.due_at > moment);
END
$$;

-- All that is due, a transaction for each batch: what pg_cron calls.
CREATE PROCEDURE keepstep.dispatch(batch integer DEFAULT 500)
LANGUAGE plpgsql AS $$
DECLARE
    more boolean;
BEGIN
    LOOP
        SELECT d.more INTO more FROM keepstep.dispatch_due(batch) d;
        COMMIT;
        EXIT WHEN NOT more;
    END LOOP;
    LOOP
        SELECT w.more INTO more FROM keepstep.wake_waiting(batch) w;
        COMMIT;
        EXIT WHEN NOT more;
    END LOOP;
END
$$;
