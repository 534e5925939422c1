-- What all migrations together make. Written by tools/schema_snapshot.py (make schema); do not edit.

CREATE SCHEMA keepstep;

CREATE FUNCTION keepstep.agent_is_edited() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    NEW.updated_at := now();
    RETURN NEW;
END
$$;

CREATE FUNCTION keepstep.agent_was_edited() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
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
    LANGUAGE plpgsql
    AS $$
BEGIN
    PERFORM keepstep.rest_erp(c.owner_id) FROM keepstep.connections c WHERE c.integration = 'erp' AND c.owner_id IS NOT NULL;
    PERFORM pg_notify('keepstep_agents', '');
    RETURN NULL;
END
$$;

CREATE FUNCTION keepstep.auto_sync_bounds(integration text, OUT least_minutes integer, OUT most_minutes integer, OUT entities text[]) RETURNS record
    LANGUAGE plpgsql IMMUTABLE
    AS $$
BEGIN
    CASE integration
        WHEN 'mail' THEN least_minutes := 5; most_minutes := 1440; entities := '{messages}';
        WHEN 'google_contacts' THEN least_minutes := 60; most_minutes := 43200; entities := '{connections,contacts}';
        ELSE RAISE invalid_parameter_value USING
            MESSAGE = format('Users have no auto-sync of %s.', integration), HINT = 'Give mail or google_contacts.';
    END CASE;
END
$$;

CREATE FUNCTION keepstep.connection_has_no_runs() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION keepstep.connection_was_changed() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF NEW.state = 'connected' THEN
        PERFORM keepstep.make_due(s.id) FROM keepstep.schedules s
        WHERE s.connection_id = NEW.id AND s.enabled
          AND NOT EXISTS (SELECT FROM keepstep.schedule_times t WHERE t.schedule_id = s.id);
    ELSIF NEW.state = 'needs-reconnect' THEN
        DELETE FROM keepstep.schedule_times WHERE schedule_id IN (
            SELECT t.schedule_id FROM keepstep.schedule_times t JOIN keepstep.schedules s ON s.id = t.schedule_id
            WHERE s.connection_id = NEW.id FOR UPDATE OF t SKIP LOCKED);
    ELSE
        DELETE FROM keepstep.schedule_times t USING keepstep.schedules s
        WHERE s.connection_id = NEW.id AND t.schedule_id = s.id;
    END IF;
    RETURN NULL;
END
$$;

CREATE PROCEDURE keepstep.dispatch(IN batch integer DEFAULT 500)
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION keepstep.dispatch_due(batch integer DEFAULT 1000, moment timestamp with time zone DEFAULT now(), OUT started bigint[], OUT skipped bigint[], OUT more boolean, OUT next_due timestamp with time zone) RETURNS record
    LANGUAGE plpgsql
    SET enable_seqscan TO 'off'
    AS $$
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

CREATE FUNCTION keepstep.enqueue(run_ids bigint[]) RETURNS bigint
    LANGUAGE sql
    AS $$
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

CREATE FUNCTION keepstep.erp_was_configured() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF TG_TABLE_NAME = 'connections' THEN
        PERFORM keepstep.plan_erp(NULL);
    END IF;
    PERFORM keepstep.settle_erp();
    RETURN NULL;
END
$$;

CREATE FUNCTION keepstep.full_done_today(schedule bigint, moment timestamp with time zone) RETURNS boolean
    LANGUAGE sql STABLE
    AS $$
    SELECT EXISTS (
        SELECT FROM keepstep.runs r WHERE r.schedule_id = schedule AND r.trigger = 'nightly'
        AND r.created_at >= date_trunc('day', moment, 'UTC')
        AND r.created_at < date_trunc('day', moment, 'UTC') + interval '24 hours')
$$;

CREATE FUNCTION keepstep.go_on(schedule bigint) RETURNS void
    LANGUAGE sql
    AS $$
    UPDATE keepstep.schedule_times t SET delta_at = n.at, due_at = least(n.at, t.full_at)
    FROM (SELECT keepstep.next_slot(now(), s.anchor_at, s.interval_seconds) AS at
          FROM keepstep.schedules s LEFT JOIN keepstep.owner_standing o ON o.connection_id = s.connection_id
          WHERE s.id = schedule AND (
              o.last_success_at > now() - s.interval_seconds * interval '1 second'
              OR EXISTS (SELECT FROM keepstep.runs r
                         WHERE r.connection_id = s.connection_id AND r.state IN ('queued', 'running', 'waiting')))) n
    WHERE t.schedule_id = schedule
$$;

CREATE FUNCTION keepstep.grams(words text) RETURNS text[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN ARRAY(SELECT DISTINCT substr(lower(grams.words), n.n, 3) AS substr FROM generate_series(1, (length(lower(grams.words)) - 2)) n(n));

CREATE FUNCTION keepstep.is_erp_ready(own boolean) RETURNS boolean
    LANGUAGE sql STABLE
    AS $$
    SELECT EXISTS (
        SELECT FROM keepstep.connections c
        WHERE c.integration = 'erp' AND c.owner_id IS NULL
          AND (own OR c.credentials IS NOT NULL OR 'credentials' = ANY (c.env_given))
          AND ('base_url' = ANY (c.env_given) OR EXISTS (SELECT FROM keepstep.settings s WHERE s.name = 'ERP_BASE_URL')))
$$;

CREATE FUNCTION keepstep.is_visible(connection bigint) RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO ''
    AS $$
    SELECT EXISTS (
        SELECT FROM keepstep.connections c
        WHERE c.id = connection AND (c.owner_id IS NULL OR c.of_user = pg_catalog.current_setting('keepstep.owner', true)))
$$;

CREATE FUNCTION keepstep.jitter(schedule_id bigint, interval_seconds integer) RETURNS interval
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$
    SELECT least(interval_seconds * 50000::bigint, 60000000) * ((schedule_id % 1000000) * 618033 % 1000000) / 1000000
           * interval '1 microsecond'
$$;

CREATE FUNCTION keepstep.make_due(schedule bigint, moment timestamp with time zone DEFAULT now()) RETURNS void
    LANGUAGE sql
    AS $$
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

CREATE FUNCTION keepstep.next_full(moment timestamp with time zone, hour_utc integer, jitter interval, done_today boolean) RETURNS timestamp with time zone
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$
    SELECT date_trunc('day', moment, 'UTC') + hour_utc * interval '1 hour' + jitter + CASE
        WHEN done_today OR date_trunc('day', moment, 'UTC') + hour_utc * interval '1 hour' + jitter <= moment
        THEN interval '24 hours' ELSE interval '0' END
$$;

CREATE FUNCTION keepstep.next_slot(moment timestamp with time zone, anchor timestamp with time zone, interval_seconds integer) RETURNS timestamp with time zone
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$
    SELECT moment + (
        interval_seconds * 1000000::bigint
        - mod(mod(((extract(epoch FROM moment) - extract(epoch FROM anchor)) * 1000000)::bigint, interval_seconds * 1000000::bigint)
              + interval_seconds * 1000000::bigint, interval_seconds * 1000000::bigint)
    ) * interval '1 microsecond'
$$;

CREATE FUNCTION keepstep.next_type_has_its_turn() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION keepstep.owners_run_ended() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
DECLARE
    kind text := coalesce(NEW.error ->> 'kind', '');
    refused boolean := 'needs-reconnect' IN (kind, NEW.error ->> 'code') OR kind = 'auth-failed';
    slot record;
    tries smallint;
BEGIN
    IF NOT EXISTS (SELECT FROM keepstep.connections WHERE id = NEW.connection_id AND owner_id IS NOT NULL) THEN
        RETURN NULL;
    END IF;
    IF NEW.state IN ('succeeded', 'held') THEN
        INSERT INTO keepstep.owner_standing AS o (connection_id, last_success_at, last_run_id)
        VALUES (NEW.connection_id, NEW.finished_at, NEW.id)
        ON CONFLICT (connection_id) DO UPDATE
        SET last_success_at = excluded.last_success_at, last_run_id = excluded.last_run_id, error = NULL, failures = 0,
            retries = 0, retries_until = NULL;
        RETURN NULL;
    END IF;
    INSERT INTO keepstep.owner_standing AS o (connection_id, last_failure_at, last_run_id, error, failures)
    VALUES (NEW.connection_id, NEW.finished_at, NEW.id, NEW.error, 1)
    ON CONFLICT (connection_id) DO UPDATE
    SET last_failure_at = excluded.last_failure_at, last_run_id = excluded.last_run_id, error = excluded.error,
        failures = o.failures + 1;
    IF refused THEN
        -- Not waited for, as whoever has it may wait for us; their run is refused too, and says so.
        PERFORM FROM keepstep.connections WHERE id = NEW.connection_id AND own_credentials AND refused_at IS NULL
        FOR NO KEY UPDATE SKIP LOCKED;
        IF FOUND THEN
            UPDATE keepstep.connections
            SET refused_at = NEW.finished_at, refused_reason = coalesce(NEW.error ->> 'message', 'Upstream refused.')
            WHERE id = NEW.connection_id;
        END IF;
    ELSIF NEW.schedule_id IS NOT NULL AND kind NOT IN ('permanent', 'bad-request', 'not-found', 'not-allowed') THEN
        SELECT t.schedule_id, s.interval_seconds, keepstep.next_slot(NEW.finished_at, s.anchor_at, s.interval_seconds) AS at
        INTO slot FROM keepstep.schedule_times t JOIN keepstep.schedules s ON s.id = t.schedule_id
        WHERE t.schedule_id = NEW.schedule_id FOR UPDATE OF t SKIP LOCKED;
        IF FOUND THEN
            UPDATE keepstep.owner_standing o
            SET retries = CASE WHEN o.retries_until > NEW.finished_at THEN o.retries + 1 ELSE 1 END,
                retries_until = CASE WHEN o.retries_until > NEW.finished_at THEN o.retries_until ELSE slot.at END
            WHERE o.connection_id = NEW.connection_id RETURNING o.retries INTO tries;
            IF tries <= 3 THEN  -- 5, 15 and 45 minutes, or a sixth of the interval, at least one minute
                UPDATE keepstep.schedule_times t SET delta_at = n.at, due_at = least(n.at, t.full_at)
                FROM (SELECT least(t2.delta_at, NEW.finished_at + greatest(
                          least(300 * power(3, tries - 1), slot.interval_seconds / 6.0), 60) * interval '1 second') AS at
                      FROM keepstep.schedule_times t2 WHERE t2.schedule_id = slot.schedule_id) n
                WHERE t.schedule_id = slot.schedule_id;
            END IF;
        END IF;
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION keepstep.plan_erp(agent text) RETURNS void
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION keepstep.rest_erp(agent text) RETURNS void
    LANGUAGE sql
    AS $$
    DELETE FROM keepstep.schedules s USING keepstep.connections c
    WHERE c.id = s.connection_id AND c.integration = 'erp' AND c.owner_id = agent AND s.sync_type IS NOT NULL
$$;

CREATE FUNCTION keepstep.run_has_connection() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    PERFORM FROM keepstep.connections WHERE id = NEW.connection_id FOR KEY SHARE;
    IF NOT FOUND THEN
        RAISE foreign_key_violation USING MESSAGE = format('There is no connection %s for a run.', NEW.connection_id),
            SCHEMA = 'keepstep', TABLE = 'runs', COLUMN = 'connection_id';
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION keepstep.run_tells_of_struggle() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF NEW.state IN ('succeeded', 'held') THEN
        DELETE FROM keepstep.struggling WHERE connection_id = NEW.connection_id;
    ELSE
        PERFORM keepstep.set_aside(NEW.connection_id, true);
    END IF;
    RETURN NULL;
END
$$;

CREATE FUNCTION keepstep.schedule_auto_sync(user_id text, minutes integer, integration text DEFAULT 'mail'::text) RETURNS bigint
    LANGUAGE plpgsql
    AS $$
#variable_conflict use_column
DECLARE
    bounds record;
    connection bigint;
    schedule bigint;
    was_off boolean;
BEGIN
    SELECT * INTO bounds FROM keepstep.auto_sync_bounds(integration);
    IF minutes IS NULL OR minutes NOT BETWEEN bounds.least_minutes AND bounds.most_minutes THEN
        RAISE invalid_parameter_value USING MESSAGE = format('The interval cannot be %s minutes.', coalesce(minutes::text, 'null')),
            HINT = format('Give %s to %s minutes.', bounds.least_minutes, bounds.most_minutes);
    END IF;
    IF coalesce(user_id, '') = '' THEN
        RAISE invalid_parameter_value USING MESSAGE = 'No user is named.', HINT = 'Give the id that the API knows the user by.';
    END IF;
    -- Holds the connection: two callers take turns, and one schedule comes of it.
    INSERT INTO keepstep.connections AS c (integration, owner_id, own_credentials)
    VALUES (schedule_auto_sync.integration, schedule_auto_sync.user_id, true)
    ON CONFLICT (integration, coalesce(owner_id, '')) DO UPDATE SET own_credentials = true RETURNING c.id INTO connection;
    SELECT NOT s.enabled INTO was_off FROM keepstep.schedules s WHERE s.connection_id = connection AND s.name = '';
    INSERT INTO keepstep.schedules AS s (connection_id, enabled, interval_seconds, entities, updated_by)
    VALUES (connection, true, minutes * 60, bounds.entities, session_user)
    ON CONFLICT (connection_id, name) DO UPDATE
    SET enabled = true, interval_seconds = excluded.interval_seconds, updated_by = excluded.updated_by
    WHERE NOT s.enabled OR s.interval_seconds <> excluded.interval_seconds
    RETURNING s.id INTO schedule;
    IF schedule IS NOT NULL THEN
        IF was_off THEN
            PERFORM keepstep.go_on(schedule);
        END IF;
        INSERT INTO keepstep.admin_logs ("user", action, payload, result) VALUES (
            session_user, 'auto-sync.set',
            jsonb_build_object('integration', integration, 'owner', user_id, 'enabled', true, 'interval_minutes', minutes),
            format('every %s minutes, by SQL', minutes));
    END IF;
    RETURN coalesce(schedule, (SELECT s.id FROM keepstep.schedules s WHERE s.connection_id = connection AND s.name = ''));
END
$$;

CREATE FUNCTION keepstep.schedule_follows_type() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    -- Locked: a change of the type at the same time comes after this schedule is there, and finds it.
    SELECT t.interval_minutes * 60, t.enabled INTO NEW.interval_seconds, NEW.enabled
    FROM keepstep.sync_settings t WHERE t.sync_type = NEW.sync_type FOR SHARE;
    RETURN NEW;
END
$$;

CREATE FUNCTION keepstep.schedule_is_edited() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION keepstep.schedule_was_edited() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION keepstep.set_aside(connection bigint, failed boolean DEFAULT false) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
#variable_conflict use_variable
BEGIN
    INSERT INTO keepstep.struggling AS g (connection_id, failed)
    SELECT c.id, failed FROM keepstep.connections c WHERE c.id = connection AND c.owner_id IS NOT NULL
    ON CONFLICT (connection_id) DO UPDATE SET failed = true WHERE excluded.failed AND NOT g.failed;
    RETURN EXISTS (SELECT FROM keepstep.struggling g WHERE g.connection_id = connection);
END
$$;

CREATE FUNCTION keepstep.set_back(seconds numeric, moment timestamp with time zone) RETURNS void
    LANGUAGE sql
    AS $$
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

CREATE FUNCTION keepstep.settle_erp() RETURNS void
    LANGUAGE plpgsql
    AS $$
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

CREATE TABLE keepstep.connections (
    id bigint NOT NULL,
    integration text NOT NULL,
    owner_id text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    credentials bytea,
    credentials_set_at timestamp with time zone,
    own_credentials boolean DEFAULT false NOT NULL,
    workspace text,
    refused_at timestamp with time zone,
    refused_reason text,
    paused_at timestamp with time zone,
    paused_by text,
    paused_reason text,
    state text GENERATED ALWAYS AS (
CASE
    WHEN (paused_at IS NOT NULL) THEN 'paused'::text
    WHEN (refused_at IS NOT NULL) THEN 'needs-reconnect'::text
    WHEN (own_credentials AND (credentials IS NULL)) THEN 'needs-connecting'::text
    ELSE 'connected'::text
END) STORED NOT NULL,
    env_given text[] DEFAULT '{}'::text[] NOT NULL,
    of_user text GENERATED ALWAYS AS (
CASE
    WHEN (integration <> 'erp'::text) THEN owner_id
    ELSE NULL::text
END) STORED,
    CONSTRAINT connections_credentials_check CHECK (((credentials IS NULL) = (credentials_set_at IS NULL))),
    CONSTRAINT connections_owner_check CHECK ((owner_id <> ''::text)),
    CONSTRAINT connections_paused_check CHECK ((((paused_at IS NULL) = (paused_by IS NULL)) AND ((paused_at IS NULL) = (paused_reason IS NULL)))),
    CONSTRAINT connections_refused_check CHECK (((refused_at IS NULL) = (refused_reason IS NULL)))
)
WITH (fillfactor='80');

COMMENT ON COLUMN keepstep.connections.env_given IS 'what the environment gives: credentials, base_url';

COMMENT ON COLUMN keepstep.connections.of_user IS 'the user whom it belongs to; null: shared, or an agent''s';

CREATE FUNCTION keepstep.shows(owner text) RETURNS boolean
    LANGUAGE sql STABLE
    RETURN ((owner IS NULL) OR (NOT row_security_active(('keepstep.connections'::regclass)::oid)) OR (owner = COALESCE(NULLIF(current_setting('keepstep.owner'::text, true), ''::text), ((NULLIF(current_setting('request.jwt.claims'::text, true), ''::text))::jsonb ->> 'sub'::text))));

CREATE FUNCTION keepstep.spread(schedule_id bigint, interval_seconds integer) RETURNS interval
    LANGUAGE sql STABLE PARALLEL SAFE
    AS $$
    SELECT interval_seconds * 1000000::bigint * ((schedule_id % 1000000) * 618033 % 1000000) / 1000000 * interval '1 microsecond'
$$;

CREATE FUNCTION keepstep.sync_type_is_edited() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
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
    LANGUAGE plpgsql
    AS $$
BEGIN
    UPDATE keepstep.schedules
    SET interval_seconds = NEW.interval_minutes * 60, enabled = NEW.enabled, updated_by = NEW.updated_by
    WHERE sync_type = NEW.sync_type
      AND (interval_seconds, enabled) IS DISTINCT FROM (NEW.interval_minutes * 60, NEW.enabled);
    RETURN NULL;
END
$$;

CREATE FUNCTION keepstep.tick(moment timestamp with time zone) RETURNS void
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION keepstep.trigger_auto_sync(user_id text, integration text DEFAULT 'mail'::text) RETURNS bigint
    LANGUAGE plpgsql
    AS $$
DECLARE
    known keepstep.connections;
    run bigint;
BEGIN
    SELECT * INTO known FROM keepstep.connections c
    WHERE c.integration = trigger_auto_sync.integration AND c.owner_id = trigger_auto_sync.user_id;
    IF known.id IS NULL OR known.state <> 'connected' THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = format('%s of %s cannot be synced: %s.', integration, user_id, coalesce(known.state, 'needs-connecting')),
            HINT = coalesce(known.paused_reason, 'The user connects the account first.');
    END IF;
    INSERT INTO keepstep.runs (connection_id, mode, dry_run, trigger, actor, entities, state, in_queue)
    SELECT known.id, 'delta', false, 'manual', session_user, coalesce(
        (SELECT s.entities FROM keepstep.schedules s WHERE s.connection_id = known.id AND s.name = ''),
        (SELECT b.entities FROM keepstep.auto_sync_bounds(integration) b)), 'queued', true
    ON CONFLICT (connection_id) WHERE state IN ('queued', 'running', 'waiting') DO NOTHING
    RETURNING id INTO run;
    IF run IS NOT NULL THEN
        PERFORM keepstep.enqueue(ARRAY[run]);
        RETURN run;
    END IF;
    RETURN (SELECT r.id FROM keepstep.runs r WHERE r.connection_id = known.id AND r.state IN ('queued', 'running', 'waiting'));
END
$$;

CREATE FUNCTION keepstep.unschedule_auto_sync(user_id text, integration text DEFAULT 'mail'::text) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
BEGIN
    UPDATE keepstep.schedules s SET enabled = false, updated_by = session_user
    FROM keepstep.connections c
    WHERE c.id = s.connection_id AND c.integration = unschedule_auto_sync.integration
      AND c.owner_id = unschedule_auto_sync.user_id AND s.name = '' AND s.enabled;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    INSERT INTO keepstep.admin_logs ("user", action, payload, result) VALUES (
        session_user, 'auto-sync.set', jsonb_build_object('integration', integration, 'owner', user_id, 'enabled', false), 'off, by SQL');
    RETURN true;
END
$$;

CREATE FUNCTION keepstep.update_auto_sync_schedule(user_id text, minutes integer, integration text DEFAULT 'mail'::text) RETURNS boolean
    LANGUAGE plpgsql
    AS $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM keepstep.schedules s JOIN keepstep.connections c ON c.id = s.connection_id
        WHERE c.integration = update_auto_sync_schedule.integration AND c.owner_id = update_auto_sync_schedule.user_id
          AND s.name = '' AND s.enabled
    ) THEN
        RETURN false;
    END IF;
    PERFORM keepstep.schedule_auto_sync(user_id, minutes, integration);
    RETURN true;
END
$$;

CREATE FUNCTION keepstep.wake_waiting(batch integer DEFAULT 500, moment timestamp with time zone DEFAULT now(), OUT woken bigint[], OUT more boolean, OUT next_due timestamp with time zone) RETURNS record
    LANGUAGE plpgsql
    SET enable_seqscan TO 'off'
    AS $$
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

CREATE TABLE keepstep.admin_logs (
    id bigint NOT NULL,
    "user" text NOT NULL,
    action text NOT NULL,
    payload jsonb DEFAULT '{}'::jsonb NOT NULL,
    result text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

ALTER TABLE keepstep.admin_logs ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME keepstep.admin_logs_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE keepstep.agents (
    code text NOT NULL,
    name text DEFAULT ''::text NOT NULL,
    enabled boolean DEFAULT true NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_by text DEFAULT SESSION_USER NOT NULL,
    CONSTRAINT agents_code_check CHECK (((code ~ '^\S(.*\S)?$'::text) AND (length(code) <= 64))),
    CONSTRAINT agents_name_check CHECK ((length(name) <= 200))
);

COMMENT ON TABLE keepstep.agents IS 'the whitelist: of nobody else are reports of the ERP read';

COMMENT ON COLUMN keepstep.agents.code IS 'as the ERP calls the agent; the owner of their connection and of their rows';

CREATE TABLE keepstep.alert_messages (
    id bigint NOT NULL,
    channel text NOT NULL,
    kind text NOT NULL,
    rule text,
    alert_ids bigint[] DEFAULT '{}'::bigint[] NOT NULL,
    content jsonb NOT NULL,
    state text DEFAULT 'waiting'::text NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    next_at timestamp with time zone DEFAULT now() NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    sent_at timestamp with time zone,
    status integer,
    answer text,
    CONSTRAINT alert_messages_check CHECK (((state = 'sent'::text) = (sent_at IS NOT NULL))),
    CONSTRAINT alert_messages_kind_check CHECK ((kind = ANY (ARRAY['start'::text, 'reminder'::text, 'end'::text, 'test'::text]))),
    CONSTRAINT alert_messages_state_check CHECK ((state = ANY (ARRAY['waiting'::text, 'sent'::text, 'failed'::text])))
);

ALTER TABLE keepstep.alert_messages ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME keepstep.alert_messages_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE keepstep.alerts (
    id bigint NOT NULL,
    connection_id bigint,
    rule text NOT NULL,
    severity text NOT NULL,
    title text NOT NULL,
    detail text NOT NULL,
    impact text NOT NULL,
    fix text NOT NULL,
    since timestamp with time zone NOT NULL,
    started_at timestamp with time zone DEFAULT now() NOT NULL,
    announced_at timestamp with time zone,
    reminded_at timestamp with time zone,
    ended_at timestamp with time zone,
    end_announced boolean DEFAULT false NOT NULL,
    CONSTRAINT alerts_check CHECK (((NOT end_announced) OR (ended_at IS NOT NULL))),
    CONSTRAINT alerts_severity_check CHECK ((severity = ANY (ARRAY['critical'::text, 'warning'::text])))
);

COMMENT ON COLUMN keepstep.alerts.connection_id IS 'null: it concerns the whole service';

COMMENT ON COLUMN keepstep.alerts.since IS 'since when it is so, as far as is known; started_at is when it was noticed';

ALTER TABLE keepstep.alerts ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME keepstep.alerts_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE keepstep.api_tokens (
    id bigint NOT NULL,
    name text NOT NULL,
    token_hash bytea NOT NULL,
    role text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    created_by text NOT NULL,
    last_used_at timestamp with time zone,
    revoked_at timestamp with time zone,
    CONSTRAINT api_tokens_name_check CHECK ((name <> ''::text)),
    CONSTRAINT api_tokens_role_check CHECK ((role = ANY (ARRAY['user'::text, 'viewer'::text, 'operator'::text, 'admin'::text])))
);

ALTER TABLE keepstep.api_tokens ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME keepstep.api_tokens_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE keepstep.events (
    id bigint NOT NULL,
    ts timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    connection_id bigint NOT NULL,
    run_id bigint NOT NULL,
    type text NOT NULL,
    level text NOT NULL,
    entity text,
    page bigint,
    rows bigint,
    msg text NOT NULL,
    data jsonb DEFAULT '{}'::jsonb NOT NULL,
    CONSTRAINT events_level_check CHECK ((level = ANY (ARRAY['debug'::text, 'info'::text, 'warning'::text, 'error'::text])))
);

CREATE TABLE keepstep.runs (
    id bigint NOT NULL,
    connection_id bigint NOT NULL,
    mode text NOT NULL,
    dry_run boolean NOT NULL,
    since timestamp with time zone,
    trigger text NOT NULL,
    actor text,
    state text NOT NULL,
    started_at timestamp with time zone,
    finished_at timestamp with time zone,
    due_at timestamp with time zone,
    error jsonb,
    entities text[] DEFAULT '{}'::text[] NOT NULL,
    schedule_id bigint,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    queued_at timestamp with time zone DEFAULT now() NOT NULL,
    planned_at timestamp with time zone,
    caught_up boolean DEFAULT false NOT NULL,
    in_queue boolean DEFAULT false NOT NULL,
    crashes smallint DEFAULT 0 NOT NULL,
    waits smallint DEFAULT 0 NOT NULL,
    counted boolean DEFAULT false NOT NULL,
    CONSTRAINT runs_check1 CHECK (((state = 'waiting'::text) = (due_at IS NOT NULL))),
    CONSTRAINT runs_check2 CHECK (((state <> ALL (ARRAY['failed'::text, 'waiting'::text])) OR (error IS NOT NULL))),
    CONSTRAINT runs_live_check CHECK (((state = ANY (ARRAY['queued'::text, 'running'::text, 'waiting'::text])) = (finished_at IS NULL))),
    CONSTRAINT runs_mode_check CHECK ((mode = ANY (ARRAY['delta'::text, 'backfill'::text]))),
    CONSTRAINT runs_started_check CHECK (((state <> ALL (ARRAY['running'::text, 'waiting'::text])) OR (started_at IS NOT NULL))),
    CONSTRAINT runs_state_check CHECK ((state = ANY (ARRAY['queued'::text, 'running'::text, 'waiting'::text, 'succeeded'::text, 'failed'::text, 'held'::text, 'stopped'::text, 'crashed'::text]))),
    CONSTRAINT runs_trigger_check CHECK ((trigger = ANY (ARRAY['manual'::text, 'schedule'::text, 'nightly'::text])))
);

COMMENT ON COLUMN keepstep.runs.queued_at IS 'since when it waits for a worker, or last did';

COMMENT ON COLUMN keepstep.runs.planned_at IS 'when its schedule wanted it';

COMMENT ON COLUMN keepstep.runs.in_queue IS 'whether workers drive it: such a run is given to another one when its worker dies';

COMMENT ON COLUMN keepstep.runs.waits IS 'waits for the breaker in a row, without a page between them';

COMMENT ON COLUMN keepstep.runs.counted IS 'whether its end is part of keepstep.totals already';

CREATE VIEW keepstep.audit_events WITH (security_barrier='true') AS
 SELECT
        CASE e.type
            WHEN 'run-started'::text THEN 'SYNC_STARTED'::text
            WHEN 'run-finished'::text THEN 'SYNC_FINISHED'::text
            ELSE 'SYNC_ERROR'::text
        END AS event_type,
    c.integration AS ref_table,
    (e.data || jsonb_build_object('runId', e.run_id, 'message', e.msg)) AS payload,
    e.ts AS created_at,
    r.actor AS actor_id,
        CASE
            WHEN (r.trigger = 'manual'::text) THEN 'MANUAL'::text
            ELSE 'AUTO_SYNC'::text
        END AS label
   FROM ((keepstep.events e
     JOIN keepstep.runs r ON ((r.id = e.run_id)))
     JOIN keepstep.connections c ON ((c.id = e.connection_id)))
  WHERE ((e.type = ANY (ARRAY['run-started'::text, 'run-finished'::text, 'run-failed'::text])) AND keepstep.shows(c.owner_id));

CREATE TABLE keepstep.run_entities (
    run_id bigint NOT NULL,
    entity text NOT NULL,
    "position" smallint NOT NULL,
    state text DEFAULT 'pending'::text NOT NULL,
    pages bigint DEFAULT 0 NOT NULL,
    rows bigint DEFAULT 0 NOT NULL,
    inserted bigint DEFAULT 0 NOT NULL,
    updated bigint DEFAULT 0 NOT NULL,
    unchanged bigint DEFAULT 0 NOT NULL,
    deleted bigint DEFAULT 0 NOT NULL,
    dead_lettered bigint DEFAULT 0 NOT NULL,
    requests bigint DEFAULT 0 NOT NULL,
    total bigint,
    started_at timestamp with time zone,
    finished_at timestamp with time zone,
    resumed boolean DEFAULT false NOT NULL,
    completeness text,
    error jsonb,
    report jsonb,
    skipped jsonb DEFAULT '{}'::jsonb NOT NULL,
    CONSTRAINT run_entities_check CHECK ((LEAST(pages, rows, inserted, updated, unchanged, deleted, dead_lettered, requests) >= 0)),
    CONSTRAINT run_entities_state_check CHECK ((state = ANY (ARRAY['pending'::text, 'running'::text, 'succeeded'::text, 'failed'::text, 'held'::text, 'stopped'::text, 'crashed'::text])))
);

CREATE VIEW keepstep.auto_sync_history WITH (security_barrier='true') AS
 SELECT c.owner_id AS user_id,
    c.integration,
    r.id AS run_id,
    r.trigger,
    r.state,
    r.planned_at,
    r.started_at,
    r.finished_at,
    e.rows,
    e.inserted,
    e.updated,
    e.unchanged,
    e.deleted,
    e.dead_lettered,
    (r.error ->> 'message'::text) AS error
   FROM ((keepstep.runs r
     JOIN keepstep.connections c ON (((c.id = r.connection_id) AND (c.owner_id IS NOT NULL))))
     CROSS JOIN LATERAL ( SELECT (COALESCE(sum(n.rows), (0)::numeric))::bigint AS rows,
            (COALESCE(sum(n.inserted), (0)::numeric))::bigint AS inserted,
            (COALESCE(sum(n.updated), (0)::numeric))::bigint AS updated,
            (COALESCE(sum(n.unchanged), (0)::numeric))::bigint AS unchanged,
            (COALESCE(sum(n.deleted), (0)::numeric))::bigint AS deleted,
            (COALESCE(sum(n.dead_lettered), (0)::numeric))::bigint AS dead_lettered
           FROM keepstep.run_entities n
          WHERE (n.run_id = r.id)) e)
  WHERE keepstep.shows(c.owner_id);

CREATE TABLE keepstep.schedules (
    id bigint NOT NULL,
    connection_id bigint NOT NULL,
    name text DEFAULT ''::text NOT NULL,
    enabled boolean DEFAULT false NOT NULL,
    interval_seconds integer NOT NULL,
    full_at_hour_utc smallint,
    entities text[] NOT NULL,
    anchor_at timestamp with time zone DEFAULT now() NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_by text DEFAULT 'keepstep'::text NOT NULL,
    env_locked text[] DEFAULT '{}'::text[] NOT NULL,
    sync_type text,
    CONSTRAINT schedules_entities_check CHECK ((cardinality(entities) > 0)),
    CONSTRAINT schedules_full_at_hour_utc_check CHECK (((full_at_hour_utc >= 0) AND (full_at_hour_utc <= 23))),
    CONSTRAINT schedules_interval_seconds_check CHECK (((interval_seconds >= 60) AND (interval_seconds <= 2592000)))
);

COMMENT ON COLUMN keepstep.schedules.anchor_at IS 'its grid: runs are due at anchor_at + n * interval_seconds';

COMMENT ON COLUMN keepstep.schedules.env_locked IS 'what the environment of the processes that start runs sets';

COMMENT ON COLUMN keepstep.schedules.sync_type IS 'keepstep.sync_settings says its interval and whether it is enabled';

CREATE VIEW keepstep.auto_sync_jobs WITH (security_barrier='true') AS
 SELECT c.owner_id AS user_id,
    (ceil(((s.interval_seconds)::numeric / 60.0)))::integer AS interval_minutes,
    s.created_at,
    s.updated_at
   FROM (keepstep.schedules s
     JOIN keepstep.connections c ON ((c.id = s.connection_id)))
  WHERE ((c.integration = 'mail'::text) AND (c.owner_id IS NOT NULL) AND (s.name = ''::text) AND s.enabled AND keepstep.shows(c.owner_id));

CREATE TABLE keepstep.checkpoints (
    connection_id bigint NOT NULL,
    entity text NOT NULL,
    mode text NOT NULL,
    cursor jsonb,
    progress jsonb NOT NULL,
    run_id bigint NOT NULL,
    started_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT checkpoints_mode_check CHECK ((mode = ANY (ARRAY['delta'::text, 'backfill'::text])))
)
WITH (fillfactor='50');

ALTER TABLE keepstep.connections ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME keepstep.connections_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE keepstep.dead_letters (
    id bigint NOT NULL,
    connection_id bigint NOT NULL,
    entity text NOT NULL,
    record_key text,
    kind text NOT NULL,
    reason text NOT NULL,
    payload bytea NOT NULL,
    payload_hash text NOT NULL,
    run_id bigint NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    last_seen_at timestamp with time zone DEFAULT now() NOT NULL,
    attempts integer DEFAULT 1 NOT NULL,
    state text DEFAULT 'open'::text NOT NULL,
    closed_at timestamp with time zone,
    closed_by text,
    note text,
    CONSTRAINT dead_letters_attempts_check CHECK ((attempts > 0)),
    CONSTRAINT dead_letters_check CHECK (((state = 'open'::text) = (closed_at IS NULL))),
    CONSTRAINT dead_letters_state_check CHECK ((state = ANY (ARRAY['open'::text, 'resolved'::text, 'discarded'::text])))
);

ALTER TABLE keepstep.dead_letters ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME keepstep.dead_letters_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE keepstep.document_contents (
    hash text NOT NULL,
    size bigint NOT NULL,
    sealed bytea NOT NULL,
    key bytea NOT NULL,
    CONSTRAINT document_contents_hash_check CHECK ((hash ~ '^[0-9a-f]{64}$'::text)),
    CONSTRAINT document_contents_size_check CHECK ((size >= 0))
);
ALTER TABLE ONLY keepstep.document_contents ALTER COLUMN sealed SET STORAGE EXTERNAL;

CREATE TABLE keepstep.documents (
    id bigint NOT NULL,
    integration text NOT NULL,
    report text NOT NULL,
    agent text DEFAULT ''::text NOT NULL,
    hash text NOT NULL,
    state text NOT NULL,
    error jsonb,
    page integer,
    "row" integer,
    box jsonb,
    first_seen timestamp with time zone DEFAULT now() NOT NULL,
    last_seen timestamp with time zone DEFAULT now() NOT NULL,
    times bigint DEFAULT 1 NOT NULL,
    CONSTRAINT documents_check CHECK (((state = 'refused'::text) = (error IS NOT NULL))),
    CONSTRAINT documents_page_check CHECK ((page > 0)),
    CONSTRAINT documents_row_check CHECK (("row" > 0)),
    CONSTRAINT documents_state_check CHECK ((state = ANY (ARRAY['proven'::text, 'refused'::text]))),
    CONSTRAINT documents_times_check CHECK ((times > 0))
);

COMMENT ON COLUMN keepstep.documents.agent IS 'whose report it is; empty for one that all share';

COMMENT ON COLUMN keepstep.documents.box IS 'x0, top, x1, bottom of what failed, in points from the upper left corner';

ALTER TABLE keepstep.documents ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME keepstep.documents_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE keepstep.entity_states (
    connection_id bigint NOT NULL,
    entity text NOT NULL,
    watermark timestamp with time zone,
    facts jsonb DEFAULT '{}'::jsonb NOT NULL,
    last_full_at timestamp with time zone,
    last_delta_at timestamp with time zone
);

CREATE TABLE keepstep.error_groups (
    connection_id bigint NOT NULL,
    fingerprint text NOT NULL,
    code text NOT NULL,
    status integer,
    path text,
    message text NOT NULL,
    fix text NOT NULL,
    sample jsonb,
    count bigint DEFAULT 1 NOT NULL,
    first_seen timestamp with time zone DEFAULT now() NOT NULL,
    last_seen timestamp with time zone DEFAULT now() NOT NULL,
    episodes integer DEFAULT 1 NOT NULL,
    opened_at timestamp with time zone DEFAULT now() NOT NULL,
    entities text[] DEFAULT '{}'::text[] NOT NULL,
    run_ids bigint[] DEFAULT '{}'::bigint[] NOT NULL,
    entity_run bigint,
    CONSTRAINT error_groups_count_check CHECK ((count > 0)),
    CONSTRAINT error_groups_episodes_check CHECK ((episodes > 0)),
    CONSTRAINT error_groups_run_ids_check CHECK ((cardinality(run_ids) <= 20))
)
WITH (fillfactor='70');

COMMENT ON COLUMN keepstep.error_groups.opened_at IS 'when its latest episode began';

COMMENT ON COLUMN keepstep.error_groups.run_ids IS 'the newest runs, newest first';

COMMENT ON COLUMN keepstep.error_groups.entity_run IS 'the last run that one of its entities told of: the run telling of it too adds nothing';

ALTER TABLE keepstep.events ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME keepstep.events_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE keepstep.health_history (
    connection_id bigint NOT NULL,
    hour timestamp with time zone NOT NULL,
    score smallint NOT NULL,
    deductions jsonb NOT NULL,
    CONSTRAINT health_history_score_check CHECK (((score >= 0) AND (score <= 100)))
);

CREATE TABLE keepstep.held_deletions (
    run_id bigint NOT NULL,
    entity text NOT NULL,
    connection_id bigint NOT NULL,
    live_rows bigint NOT NULL,
    delete_rows bigint NOT NULL,
    table_state text NOT NULL,
    state text DEFAULT 'open'::text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    decided_at timestamp with time zone,
    decided_by text,
    reason text,
    CONSTRAINT held_deletions_check CHECK (((delete_rows > 0) AND (delete_rows <= live_rows))),
    CONSTRAINT held_deletions_check1 CHECK (((state = 'open'::text) = (decided_at IS NULL))),
    CONSTRAINT held_deletions_state_check CHECK ((state = ANY (ARRAY['open'::text, 'approved'::text, 'discarded'::text, 'void'::text])))
);

CREATE TABLE keepstep.held_keys (
    run_id bigint NOT NULL,
    entity text NOT NULL,
    key text NOT NULL
);

CREATE TABLE keepstep.locks (
    connection_id bigint NOT NULL,
    run_id bigint NOT NULL,
    token uuid NOT NULL,
    started_at timestamp with time zone DEFAULT now() NOT NULL,
    renewed_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    backend_pid integer NOT NULL,
    backend_start timestamp with time zone NOT NULL
)
WITH (fillfactor='50');

CREATE VIEW keepstep.integration_state AS
 SELECT (c.integration || '_sync_lock'::text) AS key,
    jsonb_build_object('in_progress', (l.run_id IS NOT NULL), 'started_at', l.started_at, 'ttl', l.expires_at) AS value
   FROM (keepstep.connections c
     LEFT JOIN keepstep.locks l ON (((l.connection_id = c.id) AND (l.expires_at > now()))))
  WHERE (c.owner_id IS NULL)
UNION ALL
 SELECT (c.integration || '_last_full'::text) AS key,
    jsonb_build_object('when', max(s.last_full_at)) AS value
   FROM (keepstep.connections c
     JOIN keepstep.entity_states s ON ((s.connection_id = c.id)))
  WHERE (c.owner_id IS NULL)
  GROUP BY c.integration
 HAVING (max(s.last_full_at) IS NOT NULL)
UNION ALL
 SELECT (c.integration || '_last_incr'::text) AS key,
    jsonb_build_object('when', max(s.last_delta_at)) AS value
   FROM (keepstep.connections c
     JOIN keepstep.entity_states s ON ((s.connection_id = c.id)))
  WHERE (c.owner_id IS NULL)
  GROUP BY c.integration
 HAVING (max(s.last_delta_at) IS NOT NULL);

CREATE TABLE keepstep.limits (
    connection_id bigint NOT NULL,
    state jsonb DEFAULT '{}'::jsonb NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL
)
WITH (fillfactor='50');

CREATE TABLE keepstep.login_failures (
    id bigint NOT NULL,
    what text NOT NULL,
    at timestamp with time zone DEFAULT now() NOT NULL
);

ALTER TABLE keepstep.login_failures ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME keepstep.login_failures_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE keepstep.migrations (
    version integer NOT NULL,
    name text NOT NULL,
    checksum text NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE keepstep.owner_standing (
    connection_id bigint NOT NULL,
    last_success_at timestamp with time zone,
    last_failure_at timestamp with time zone,
    last_run_id bigint,
    error jsonb,
    failures integer DEFAULT 0 NOT NULL,
    retries smallint DEFAULT 0 NOT NULL,
    retries_until timestamp with time zone,
    CONSTRAINT owner_standing_failures_check CHECK ((failures >= 0))
)
WITH (fillfactor='70');

COMMENT ON COLUMN keepstep.owner_standing.failures IS 'runs in a row that failed';

COMMENT ON COLUMN keepstep.owner_standing.retries IS 'tries beyond the schedule before retries_until, its next slot';

CREATE TABLE keepstep.pings (
    id bigint NOT NULL,
    connection_id bigint NOT NULL,
    at timestamp with time zone DEFAULT now() NOT NULL,
    state text NOT NULL,
    code text,
    reason text NOT NULL,
    fix text DEFAULT ''::text NOT NULL,
    elapsed_ms integer NOT NULL,
    CONSTRAINT pings_check CHECK (((state = 'ok'::text) = (code IS NULL))),
    CONSTRAINT pings_elapsed_ms_check CHECK ((elapsed_ms >= 0)),
    CONSTRAINT pings_state_check CHECK ((state = ANY (ARRAY['ok'::text, 'degraded'::text, 'failing'::text])))
);

ALTER TABLE keepstep.pings ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME keepstep.pings_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE keepstep.rate_samples (
    id bigint NOT NULL,
    ts timestamp with time zone DEFAULT now() NOT NULL,
    connection_id bigint NOT NULL,
    "limit" bigint,
    remaining bigint,
    reset timestamp with time zone,
    waited_ms bigint DEFAULT 0 NOT NULL,
    cause text NOT NULL
);

ALTER TABLE keepstep.rate_samples ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME keepstep.rate_samples_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE keepstep.request_minutes (
    connection_id bigint NOT NULL,
    minute timestamp with time zone NOT NULL,
    sent bigint DEFAULT 0 NOT NULL,
    failed bigint DEFAULT 0 NOT NULL
)
WITH (fillfactor='50');

ALTER TABLE keepstep.runs ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME keepstep.runs_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE keepstep.schedule_times (
    schedule_id bigint NOT NULL,
    due_at timestamp with time zone NOT NULL,
    delta_at timestamp with time zone NOT NULL,
    full_at timestamp with time zone,
    CONSTRAINT schedule_times_check CHECK ((due_at = LEAST(delta_at, full_at)))
)
WITH (fillfactor='70', autovacuum_vacuum_scale_factor='0.02', autovacuum_vacuum_cost_delay='0');

ALTER TABLE keepstep.schedules ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME keepstep.schedules_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE keepstep.schema_fields (
    connection_id bigint NOT NULL,
    entity text NOT NULL,
    field text NOT NULL,
    column_name text,
    kind text,
    first_seen timestamp with time zone DEFAULT now() NOT NULL,
    run_id bigint,
    note text,
    CONSTRAINT schema_fields_check CHECK (((column_name IS NULL) = (kind IS NULL)))
);

COMMENT ON COLUMN keepstep.schema_fields.run_id IS 'the run that met it first';

COMMENT ON COLUMN keepstep.schema_fields.note IS 'why it cannot have a column';

CREATE TABLE keepstep.sessions (
    token_hash bytea NOT NULL,
    user_id bigint NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    seen_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone NOT NULL
);

CREATE TABLE keepstep.settings (
    name text NOT NULL,
    value jsonb NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_by text NOT NULL
);

CREATE TABLE keepstep.struggling (
    connection_id bigint NOT NULL,
    since timestamp with time zone DEFAULT now() NOT NULL,
    failed boolean DEFAULT false NOT NULL
);

COMMENT ON COLUMN keepstep.struggling.failed IS 'else it only stood still while others waited, and comes before those that failed';

CREATE TABLE keepstep.sync_settings (
    sync_type text NOT NULL,
    interval_minutes integer NOT NULL,
    enabled boolean DEFAULT true NOT NULL,
    updated_at timestamp with time zone DEFAULT now() NOT NULL,
    updated_by text DEFAULT 'keepstep'::text NOT NULL,
    default_minutes integer NOT NULL,
    saved boolean DEFAULT false NOT NULL,
    per_agent boolean DEFAULT false NOT NULL,
    CONSTRAINT sync_settings_default_minutes_check CHECK (((default_minutes >= 5) AND (default_minutes <= 1440))),
    CONSTRAINT sync_settings_interval_minutes_check CHECK (((interval_minutes >= 5) AND (interval_minutes <= 1440))),
    CONSTRAINT sync_settings_sync_type_check CHECK ((sync_type <> ''::text))
);

CREATE TABLE keepstep.ticks (
    name text NOT NULL,
    at timestamp with time zone DEFAULT now() NOT NULL
)
WITH (fillfactor='50');

CREATE TABLE keepstep.totals (
    name text NOT NULL,
    labels jsonb DEFAULT '{}'::jsonb NOT NULL,
    value double precision NOT NULL
)
WITH (fillfactor='50');

CREATE TABLE keepstep.users (
    id bigint NOT NULL,
    name text NOT NULL,
    password_hash text,
    role text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    last_login_at timestamp with time zone,
    subject text,
    owner_id text GENERATED ALWAYS AS (
CASE
    WHEN (subject IS NULL) THEN (id)::text
    WHEN (subject ~ '^([0-9]+$|jwt:|token:)'::text) THEN ('jwt:'::text || subject)
    ELSE subject
END) STORED NOT NULL,
    CONSTRAINT users_name_check CHECK ((name <> ''::text)),
    CONSTRAINT users_role_check CHECK ((role = ANY (ARRAY['user'::text, 'viewer'::text, 'operator'::text, 'admin'::text]))),
    CONSTRAINT users_subject_check CHECK ((subject <> ''::text)),
    CONSTRAINT users_way_in CHECK (((password_hash IS NOT NULL) OR (subject IS NOT NULL)))
);

ALTER TABLE keepstep.users ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME keepstep.users_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

ALTER TABLE ONLY keepstep.admin_logs
    ADD CONSTRAINT admin_logs_pkey PRIMARY KEY (id);

ALTER TABLE keepstep.agents
    ADD CONSTRAINT agents_code_has_an_address CHECK (((code <> ALL (ARRAY['.'::text, '..'::text])) AND (code !~~ '%/credentials'::text) AND (code !~ '[[:cntrl:]]'::text))) NOT VALID;

ALTER TABLE ONLY keepstep.agents
    ADD CONSTRAINT agents_pkey PRIMARY KEY (code);

ALTER TABLE ONLY keepstep.alert_messages
    ADD CONSTRAINT alert_messages_pkey PRIMARY KEY (id);

ALTER TABLE ONLY keepstep.alerts
    ADD CONSTRAINT alerts_pkey PRIMARY KEY (id);

ALTER TABLE ONLY keepstep.api_tokens
    ADD CONSTRAINT api_tokens_pkey PRIMARY KEY (id);

ALTER TABLE ONLY keepstep.api_tokens
    ADD CONSTRAINT api_tokens_token_hash_key UNIQUE (token_hash);

ALTER TABLE ONLY keepstep.checkpoints
    ADD CONSTRAINT checkpoints_pkey PRIMARY KEY (connection_id, entity, mode);

ALTER TABLE ONLY keepstep.connections
    ADD CONSTRAINT connections_pkey PRIMARY KEY (id);

ALTER TABLE ONLY keepstep.dead_letters
    ADD CONSTRAINT dead_letters_pkey PRIMARY KEY (id);

ALTER TABLE ONLY keepstep.document_contents
    ADD CONSTRAINT document_contents_pkey PRIMARY KEY (hash);

ALTER TABLE ONLY keepstep.documents
    ADD CONSTRAINT documents_integration_report_agent_hash_state_key UNIQUE (integration, report, agent, hash, state);

ALTER TABLE ONLY keepstep.documents
    ADD CONSTRAINT documents_pkey PRIMARY KEY (id);

ALTER TABLE ONLY keepstep.entity_states
    ADD CONSTRAINT entity_states_pkey PRIMARY KEY (connection_id, entity);

ALTER TABLE ONLY keepstep.error_groups
    ADD CONSTRAINT error_groups_pkey PRIMARY KEY (connection_id, fingerprint);

ALTER TABLE ONLY keepstep.events
    ADD CONSTRAINT events_pkey PRIMARY KEY (id);

ALTER TABLE ONLY keepstep.health_history
    ADD CONSTRAINT health_history_pkey PRIMARY KEY (connection_id, hour);

ALTER TABLE ONLY keepstep.held_deletions
    ADD CONSTRAINT held_deletions_pkey PRIMARY KEY (run_id, entity);

ALTER TABLE ONLY keepstep.held_keys
    ADD CONSTRAINT held_keys_pkey PRIMARY KEY (run_id, entity, key);

ALTER TABLE ONLY keepstep.limits
    ADD CONSTRAINT limits_pkey PRIMARY KEY (connection_id);

ALTER TABLE ONLY keepstep.locks
    ADD CONSTRAINT locks_pkey PRIMARY KEY (connection_id);

ALTER TABLE ONLY keepstep.login_failures
    ADD CONSTRAINT login_failures_pkey PRIMARY KEY (id);

ALTER TABLE ONLY keepstep.migrations
    ADD CONSTRAINT migrations_pkey PRIMARY KEY (version);

ALTER TABLE ONLY keepstep.owner_standing
    ADD CONSTRAINT owner_standing_pkey PRIMARY KEY (connection_id);

ALTER TABLE ONLY keepstep.pings
    ADD CONSTRAINT pings_pkey PRIMARY KEY (id);

ALTER TABLE ONLY keepstep.rate_samples
    ADD CONSTRAINT rate_samples_pkey PRIMARY KEY (id);

ALTER TABLE ONLY keepstep.request_minutes
    ADD CONSTRAINT request_minutes_pkey PRIMARY KEY (connection_id, minute);

ALTER TABLE ONLY keepstep.run_entities
    ADD CONSTRAINT run_entities_pkey PRIMARY KEY (run_id, entity);

ALTER TABLE ONLY keepstep.runs
    ADD CONSTRAINT runs_pkey PRIMARY KEY (id);

ALTER TABLE ONLY keepstep.schedule_times
    ADD CONSTRAINT schedule_times_pkey PRIMARY KEY (schedule_id);

ALTER TABLE ONLY keepstep.schedules
    ADD CONSTRAINT schedules_connection_id_name_key UNIQUE (connection_id, name);

ALTER TABLE ONLY keepstep.schedules
    ADD CONSTRAINT schedules_pkey PRIMARY KEY (id);

ALTER TABLE ONLY keepstep.schema_fields
    ADD CONSTRAINT schema_fields_connection_id_entity_column_name_key UNIQUE (connection_id, entity, column_name);

ALTER TABLE ONLY keepstep.schema_fields
    ADD CONSTRAINT schema_fields_pkey PRIMARY KEY (connection_id, entity, field);

ALTER TABLE ONLY keepstep.sessions
    ADD CONSTRAINT sessions_pkey PRIMARY KEY (token_hash);

ALTER TABLE ONLY keepstep.settings
    ADD CONSTRAINT settings_pkey PRIMARY KEY (name);

ALTER TABLE ONLY keepstep.struggling
    ADD CONSTRAINT struggling_pkey PRIMARY KEY (connection_id);

ALTER TABLE ONLY keepstep.sync_settings
    ADD CONSTRAINT sync_settings_pkey PRIMARY KEY (sync_type);

ALTER TABLE ONLY keepstep.ticks
    ADD CONSTRAINT ticks_pkey PRIMARY KEY (name);

ALTER TABLE ONLY keepstep.totals
    ADD CONSTRAINT totals_pkey PRIMARY KEY (name, labels);

ALTER TABLE ONLY keepstep.users
    ADD CONSTRAINT users_pkey PRIMARY KEY (id);

ALTER TABLE ONLY keepstep.users
    ADD CONSTRAINT users_subject_key UNIQUE (subject);

CREATE INDEX admin_logs_newest ON keepstep.admin_logs USING btree (created_at DESC);

CREATE INDEX alert_messages_newest ON keepstep.alert_messages USING btree (rule, kind, created_at DESC);

CREATE INDEX alert_messages_old ON keepstep.alert_messages USING btree (created_at) WHERE (state <> 'waiting'::text);

CREATE INDEX alert_messages_waiting ON keepstep.alert_messages USING btree (channel, id) WHERE (state = 'waiting'::text);

CREATE INDEX alerts_ended ON keepstep.alerts USING btree (ended_at) WHERE (ended_at IS NOT NULL);

CREATE UNIQUE INDEX alerts_one_open ON keepstep.alerts USING btree (COALESCE(connection_id, (0)::bigint), rule) WHERE (ended_at IS NULL);

CREATE INDEX alerts_untold ON keepstep.alerts USING btree (rule) WHERE (((announced_at IS NULL) AND (ended_at IS NULL)) OR ((ended_at IS NOT NULL) AND (announced_at IS NOT NULL) AND (NOT end_announced)));

CREATE UNIQUE INDEX api_tokens_name ON keepstep.api_tokens USING btree (lower(name)) WHERE (revoked_at IS NULL);

CREATE INDEX checkpoints_of_run ON keepstep.checkpoints USING btree (run_id);

CREATE UNIQUE INDEX connections_integration_owner ON keepstep.connections USING btree (integration, COALESCE(owner_id, ''::text));

CREATE INDEX connections_of_owner ON keepstep.connections USING btree (owner_id) WHERE (owner_id IS NOT NULL);

CREATE INDEX connections_of_user ON keepstep.connections USING btree (of_user);

CREATE INDEX connections_of_workspace ON keepstep.connections USING btree (integration, workspace) WHERE (workspace IS NOT NULL);

CREATE INDEX connections_owned ON keepstep.connections USING btree (integration, owner_id, id) WHERE (owner_id IS NOT NULL);

CREATE INDEX connections_refused ON keepstep.connections USING btree (id) WHERE (refused_at IS NOT NULL);

CREATE INDEX connections_shared ON keepstep.connections USING btree (integration) WHERE (owner_id IS NULL);

CREATE INDEX connections_sought ON keepstep.connections USING gin (keepstep.grams((owner_id || COALESCE((' '::text || workspace), ''::text)))) WHERE (owner_id IS NOT NULL);

CREATE INDEX connections_states ON keepstep.connections USING btree (integration, state) WHERE (owner_id IS NOT NULL);

CREATE INDEX connections_unwell ON keepstep.connections USING btree (integration, owner_id, id) WHERE ((owner_id IS NOT NULL) AND (state <> 'connected'::text));

CREATE INDEX connections_watched ON keepstep.connections USING btree (id) WHERE (NOT own_credentials);

CREATE INDEX dead_letters_newest ON keepstep.dead_letters USING btree (entity, state, id DESC);

CREATE INDEX dead_letters_of_run ON keepstep.dead_letters USING btree (run_id);

CREATE UNIQUE INDEX dead_letters_one_open ON keepstep.dead_letters USING btree (connection_id, entity, COALESCE(record_key, ''::text), (
CASE
    WHEN (record_key IS NULL) THEN payload_hash
    ELSE ''::text
END), ((kind = 'duplicate'::text))) WHERE (state = 'open'::text);

CREATE INDEX documents_by_hash ON keepstep.documents USING btree (hash);

CREATE INDEX documents_newest ON keepstep.documents USING btree (integration, report, agent, state, last_seen DESC);

CREATE INDEX documents_oldest ON keepstep.documents USING btree (last_seen);

CREATE INDEX error_groups_newest ON keepstep.error_groups USING btree (last_seen DESC);

CREATE INDEX events_errors ON keepstep.events USING btree (id DESC) WHERE (type = ANY (ARRAY['entity-failed'::text, 'run-failed'::text, 'run-waiting'::text]));

CREATE INDEX events_of_run ON keepstep.events USING btree (run_id, id);

CREATE INDEX events_to_prune ON keepstep.events USING btree (ts) WHERE ("left"(type, 4) <> 'run-'::text);

CREATE INDEX health_history_old ON keepstep.health_history USING btree (hour);

CREATE UNIQUE INDEX held_deletions_one_open ON keepstep.held_deletions USING btree (connection_id, entity) WHERE (state = 'open'::text);

CREATE INDEX login_failures_recent ON keepstep.login_failures USING btree (what, at);

CREATE INDEX owner_standing_failing ON keepstep.owner_standing USING btree (connection_id) WHERE (failures > 0);

CREATE INDEX pings_newest ON keepstep.pings USING btree (connection_id, id DESC);

CREATE INDEX rate_samples_newest ON keepstep.rate_samples USING btree (ts);

CREATE INDEX request_minutes_old ON keepstep.request_minutes USING btree (minute);

CREATE INDEX runs_failed ON keepstep.runs USING btree (connection_id, id DESC) WHERE (state = ANY (ARRAY['failed'::text, 'crashed'::text]));

CREATE INDEX runs_full ON keepstep.runs USING btree (connection_id, id DESC) WHERE ((mode = 'backfill'::text) AND (NOT dry_run));

CREATE INDEX runs_newest ON keepstep.runs USING btree (connection_id, id DESC);

CREATE INDEX runs_nightly ON keepstep.runs USING btree (schedule_id, created_at) WHERE (trigger = 'nightly'::text);

CREATE UNIQUE INDEX runs_one_live ON keepstep.runs USING btree (connection_id) WHERE (state = ANY (ARRAY['queued'::text, 'running'::text, 'waiting'::text]));

CREATE INDEX runs_taken_up ON keepstep.runs USING btree (state, id) WHERE (state = ANY (ARRAY['running'::text, 'waiting'::text]));

CREATE INDEX runs_uncounted ON keepstep.runs USING btree (id) WHERE ((finished_at IS NOT NULL) AND (NOT counted));

CREATE INDEX runs_waiting ON keepstep.runs USING btree (due_at) WHERE (state = 'waiting'::text);

CREATE INDEX schedule_times_due ON keepstep.schedule_times USING btree (due_at);

CREATE INDEX schedules_of_type ON keepstep.schedules USING btree (sync_type) WHERE (sync_type IS NOT NULL);

CREATE INDEX sessions_of_user ON keepstep.sessions USING btree (user_id);

CREATE UNIQUE INDEX users_name ON keepstep.users USING btree (lower(name));

CREATE UNIQUE INDEX users_owner ON keepstep.users USING btree (owner_id);

CREATE INDEX users_sought ON keepstep.users USING gin (keepstep.grams(name));

CREATE TRIGGER agent_is_edited BEFORE UPDATE ON keepstep.agents FOR EACH ROW EXECUTE FUNCTION keepstep.agent_is_edited();

CREATE TRIGGER agent_was_edited AFTER INSERT OR DELETE OR UPDATE ON keepstep.agents FOR EACH ROW EXECUTE FUNCTION keepstep.agent_was_edited();

CREATE TRIGGER agents_were_emptied AFTER TRUNCATE ON keepstep.agents FOR EACH STATEMENT EXECUTE FUNCTION keepstep.agents_were_emptied();

CREATE TRIGGER connection_has_no_runs BEFORE DELETE ON keepstep.connections FOR EACH ROW EXECUTE FUNCTION keepstep.connection_has_no_runs();

CREATE TRIGGER connection_was_changed AFTER UPDATE ON keepstep.connections FOR EACH ROW WHEN (((new.owner_id IS NOT NULL) AND (old.state IS DISTINCT FROM new.state))) EXECUTE FUNCTION keepstep.connection_was_changed();

CREATE TRIGGER erp_lost_its_address AFTER DELETE ON keepstep.settings FOR EACH ROW WHEN ((old.name = 'ERP_BASE_URL'::text)) EXECUTE FUNCTION keepstep.erp_was_configured();

CREATE TRIGGER erp_was_added AFTER INSERT ON keepstep.connections FOR EACH ROW WHEN (((new.integration = 'erp'::text) AND (new.owner_id IS NULL))) EXECUTE FUNCTION keepstep.erp_was_configured();

CREATE TRIGGER erp_was_addressed AFTER INSERT ON keepstep.settings FOR EACH ROW WHEN ((new.name = 'ERP_BASE_URL'::text)) EXECUTE FUNCTION keepstep.erp_was_configured();

CREATE TRIGGER erp_was_configured AFTER UPDATE OF credentials, env_given ON keepstep.connections FOR EACH ROW WHEN (((new.integration = 'erp'::text) AND (new.owner_id IS NULL) AND (((old.credentials IS NULL) <> (new.credentials IS NULL)) OR (old.env_given <> new.env_given)))) EXECUTE FUNCTION keepstep.erp_was_configured();

CREATE TRIGGER next_type_has_its_turn AFTER UPDATE ON keepstep.runs FOR EACH ROW WHEN (((old.finished_at IS NULL) AND (new.finished_at IS NOT NULL) AND (new.mode = 'backfill'::text))) EXECUTE FUNCTION keepstep.next_type_has_its_turn();

CREATE TRIGGER owners_run_ended AFTER UPDATE ON keepstep.runs FOR EACH ROW WHEN (((old.finished_at IS NULL) AND (new.finished_at IS NOT NULL) AND (new.state <> 'stopped'::text) AND (NOT new.dry_run))) EXECUTE FUNCTION keepstep.owners_run_ended();

CREATE TRIGGER run_has_connection AFTER INSERT ON keepstep.runs FOR EACH ROW WHEN ((new.schedule_id IS NULL)) EXECUTE FUNCTION keepstep.run_has_connection();

CREATE TRIGGER run_keeps_connection AFTER UPDATE OF connection_id ON keepstep.runs FOR EACH ROW WHEN ((new.connection_id <> old.connection_id)) EXECUTE FUNCTION keepstep.run_has_connection();

CREATE TRIGGER run_tells_of_struggle AFTER UPDATE ON keepstep.runs FOR EACH ROW WHEN (((old.state <> new.state) AND ((new.state = ANY (ARRAY['succeeded'::text, 'held'::text])) OR ((new.state = ANY (ARRAY['failed'::text, 'waiting'::text])) AND ((new.error ->> 'kind'::text) = ANY (ARRAY['transient'::text, 'breaker-open'::text])))))) EXECUTE FUNCTION keepstep.run_tells_of_struggle();

CREATE TRIGGER schedule_follows_type BEFORE INSERT ON keepstep.schedules FOR EACH ROW WHEN ((new.sync_type IS NOT NULL)) EXECUTE FUNCTION keepstep.schedule_follows_type();

CREATE TRIGGER schedule_is_edited BEFORE INSERT OR UPDATE OF enabled, interval_seconds, full_at_hour_utc, entities ON keepstep.schedules FOR EACH ROW EXECUTE FUNCTION keepstep.schedule_is_edited();

CREATE TRIGGER schedule_was_edited AFTER INSERT OR UPDATE OF enabled, interval_seconds, full_at_hour_utc, entities ON keepstep.schedules FOR EACH ROW EXECUTE FUNCTION keepstep.schedule_was_edited();

CREATE TRIGGER sync_type_is_edited BEFORE UPDATE ON keepstep.sync_settings FOR EACH ROW EXECUTE FUNCTION keepstep.sync_type_is_edited();

CREATE TRIGGER sync_type_was_edited AFTER UPDATE ON keepstep.sync_settings FOR EACH ROW WHEN (((old.interval_minutes IS DISTINCT FROM new.interval_minutes) OR (old.enabled IS DISTINCT FROM new.enabled))) EXECUTE FUNCTION keepstep.sync_type_was_edited();

ALTER TABLE ONLY keepstep.alerts
    ADD CONSTRAINT alerts_connection_id_fkey FOREIGN KEY (connection_id) REFERENCES keepstep.connections(id) ON DELETE CASCADE;

ALTER TABLE ONLY keepstep.checkpoints
    ADD CONSTRAINT checkpoints_connection_id_fkey FOREIGN KEY (connection_id) REFERENCES keepstep.connections(id);

ALTER TABLE ONLY keepstep.checkpoints
    ADD CONSTRAINT checkpoints_run_id_fkey FOREIGN KEY (run_id) REFERENCES keepstep.runs(id);

ALTER TABLE ONLY keepstep.dead_letters
    ADD CONSTRAINT dead_letters_connection_id_fkey FOREIGN KEY (connection_id) REFERENCES keepstep.connections(id);

ALTER TABLE ONLY keepstep.dead_letters
    ADD CONSTRAINT dead_letters_run_id_fkey FOREIGN KEY (run_id) REFERENCES keepstep.runs(id);

ALTER TABLE ONLY keepstep.documents
    ADD CONSTRAINT documents_hash_fkey FOREIGN KEY (hash) REFERENCES keepstep.document_contents(hash);

ALTER TABLE ONLY keepstep.entity_states
    ADD CONSTRAINT entity_states_connection_id_fkey FOREIGN KEY (connection_id) REFERENCES keepstep.connections(id);

ALTER TABLE ONLY keepstep.error_groups
    ADD CONSTRAINT error_groups_connection_id_fkey FOREIGN KEY (connection_id) REFERENCES keepstep.connections(id) ON DELETE CASCADE;

ALTER TABLE ONLY keepstep.events
    ADD CONSTRAINT events_connection_id_fkey FOREIGN KEY (connection_id) REFERENCES keepstep.connections(id);

ALTER TABLE ONLY keepstep.events
    ADD CONSTRAINT events_run_id_fkey FOREIGN KEY (run_id) REFERENCES keepstep.runs(id) ON DELETE CASCADE;

ALTER TABLE ONLY keepstep.health_history
    ADD CONSTRAINT health_history_connection_id_fkey FOREIGN KEY (connection_id) REFERENCES keepstep.connections(id) ON DELETE CASCADE;

ALTER TABLE ONLY keepstep.held_deletions
    ADD CONSTRAINT held_deletions_connection_id_fkey FOREIGN KEY (connection_id) REFERENCES keepstep.connections(id);

ALTER TABLE ONLY keepstep.held_deletions
    ADD CONSTRAINT held_deletions_run_id_fkey FOREIGN KEY (run_id) REFERENCES keepstep.runs(id);

ALTER TABLE ONLY keepstep.held_keys
    ADD CONSTRAINT held_keys_run_id_entity_fkey FOREIGN KEY (run_id, entity) REFERENCES keepstep.held_deletions(run_id, entity) ON DELETE CASCADE;

ALTER TABLE ONLY keepstep.limits
    ADD CONSTRAINT limits_connection_id_fkey FOREIGN KEY (connection_id) REFERENCES keepstep.connections(id) ON DELETE CASCADE;

ALTER TABLE ONLY keepstep.locks
    ADD CONSTRAINT locks_connection_id_fkey FOREIGN KEY (connection_id) REFERENCES keepstep.connections(id);

ALTER TABLE ONLY keepstep.locks
    ADD CONSTRAINT locks_run_id_fkey FOREIGN KEY (run_id) REFERENCES keepstep.runs(id);

ALTER TABLE ONLY keepstep.owner_standing
    ADD CONSTRAINT owner_standing_connection_id_fkey FOREIGN KEY (connection_id) REFERENCES keepstep.connections(id) ON DELETE CASCADE;

ALTER TABLE ONLY keepstep.pings
    ADD CONSTRAINT pings_connection_id_fkey FOREIGN KEY (connection_id) REFERENCES keepstep.connections(id) ON DELETE CASCADE;

ALTER TABLE ONLY keepstep.rate_samples
    ADD CONSTRAINT rate_samples_connection_id_fkey FOREIGN KEY (connection_id) REFERENCES keepstep.connections(id) ON DELETE CASCADE;

ALTER TABLE ONLY keepstep.request_minutes
    ADD CONSTRAINT request_minutes_connection_id_fkey FOREIGN KEY (connection_id) REFERENCES keepstep.connections(id) ON DELETE CASCADE;

ALTER TABLE ONLY keepstep.run_entities
    ADD CONSTRAINT run_entities_run_id_fkey FOREIGN KEY (run_id) REFERENCES keepstep.runs(id) ON DELETE CASCADE;

ALTER TABLE ONLY keepstep.schedule_times
    ADD CONSTRAINT schedule_times_schedule_id_fkey FOREIGN KEY (schedule_id) REFERENCES keepstep.schedules(id) ON DELETE CASCADE;

ALTER TABLE ONLY keepstep.schedules
    ADD CONSTRAINT schedules_connection_id_fkey FOREIGN KEY (connection_id) REFERENCES keepstep.connections(id) ON DELETE CASCADE;

ALTER TABLE ONLY keepstep.schedules
    ADD CONSTRAINT schedules_sync_type_fkey FOREIGN KEY (sync_type) REFERENCES keepstep.sync_settings(sync_type);

ALTER TABLE ONLY keepstep.schema_fields
    ADD CONSTRAINT schema_fields_connection_id_fkey FOREIGN KEY (connection_id) REFERENCES keepstep.connections(id) ON DELETE CASCADE;

ALTER TABLE ONLY keepstep.sessions
    ADD CONSTRAINT sessions_user_id_fkey FOREIGN KEY (user_id) REFERENCES keepstep.users(id) ON DELETE CASCADE;

ALTER TABLE ONLY keepstep.struggling
    ADD CONSTRAINT struggling_connection_id_fkey FOREIGN KEY (connection_id) REFERENCES keepstep.connections(id) ON DELETE CASCADE;

ALTER TABLE keepstep.alerts ENABLE ROW LEVEL SECURITY;

ALTER TABLE keepstep.checkpoints ENABLE ROW LEVEL SECURITY;

ALTER TABLE keepstep.connections ENABLE ROW LEVEL SECURITY;

ALTER TABLE keepstep.dead_letters ENABLE ROW LEVEL SECURITY;

ALTER TABLE keepstep.entity_states ENABLE ROW LEVEL SECURITY;

ALTER TABLE keepstep.error_groups ENABLE ROW LEVEL SECURITY;

ALTER TABLE keepstep.events ENABLE ROW LEVEL SECURITY;

ALTER TABLE keepstep.health_history ENABLE ROW LEVEL SECURITY;

ALTER TABLE keepstep.held_deletions ENABLE ROW LEVEL SECURITY;

ALTER TABLE keepstep.held_keys ENABLE ROW LEVEL SECURITY;

CREATE POLICY keepstep_owner ON keepstep.alerts USING (((connection_id IS NULL) OR keepstep.is_visible(connection_id)));

CREATE POLICY keepstep_owner ON keepstep.checkpoints USING (keepstep.is_visible(connection_id));

CREATE POLICY keepstep_owner ON keepstep.connections USING (((owner_id IS NULL) OR (of_user = current_setting('keepstep.owner'::text, true))));

CREATE POLICY keepstep_owner ON keepstep.dead_letters USING (keepstep.is_visible(connection_id));

CREATE POLICY keepstep_owner ON keepstep.entity_states USING (keepstep.is_visible(connection_id));

CREATE POLICY keepstep_owner ON keepstep.error_groups USING (keepstep.is_visible(connection_id));

CREATE POLICY keepstep_owner ON keepstep.events USING (keepstep.is_visible(connection_id));

CREATE POLICY keepstep_owner ON keepstep.health_history USING (keepstep.is_visible(connection_id));

CREATE POLICY keepstep_owner ON keepstep.held_deletions USING (keepstep.is_visible(connection_id));

CREATE POLICY keepstep_owner ON keepstep.held_keys USING ((EXISTS ( SELECT
   FROM keepstep.runs r
  WHERE (r.id = held_keys.run_id))));

CREATE POLICY keepstep_owner ON keepstep.limits USING (keepstep.is_visible(connection_id));

CREATE POLICY keepstep_owner ON keepstep.locks USING (keepstep.is_visible(connection_id));

CREATE POLICY keepstep_owner ON keepstep.owner_standing USING (keepstep.is_visible(connection_id));

CREATE POLICY keepstep_owner ON keepstep.pings USING (keepstep.is_visible(connection_id));

CREATE POLICY keepstep_owner ON keepstep.rate_samples USING (keepstep.is_visible(connection_id));

CREATE POLICY keepstep_owner ON keepstep.request_minutes USING (keepstep.is_visible(connection_id));

CREATE POLICY keepstep_owner ON keepstep.run_entities USING ((EXISTS ( SELECT
   FROM keepstep.runs r
  WHERE (r.id = run_entities.run_id))));

CREATE POLICY keepstep_owner ON keepstep.runs USING (keepstep.is_visible(connection_id));

CREATE POLICY keepstep_owner ON keepstep.schedule_times USING ((EXISTS ( SELECT
   FROM keepstep.schedules s
  WHERE (s.id = schedule_times.schedule_id))));

CREATE POLICY keepstep_owner ON keepstep.schedules USING (keepstep.is_visible(connection_id));

CREATE POLICY keepstep_owner ON keepstep.schema_fields USING (keepstep.is_visible(connection_id));

CREATE POLICY keepstep_owner ON keepstep.struggling USING (keepstep.is_visible(connection_id));

ALTER TABLE keepstep.limits ENABLE ROW LEVEL SECURITY;

ALTER TABLE keepstep.locks ENABLE ROW LEVEL SECURITY;

ALTER TABLE keepstep.owner_standing ENABLE ROW LEVEL SECURITY;

ALTER TABLE keepstep.pings ENABLE ROW LEVEL SECURITY;

ALTER TABLE keepstep.rate_samples ENABLE ROW LEVEL SECURITY;

ALTER TABLE keepstep.request_minutes ENABLE ROW LEVEL SECURITY;

ALTER TABLE keepstep.run_entities ENABLE ROW LEVEL SECURITY;

ALTER TABLE keepstep.runs ENABLE ROW LEVEL SECURITY;

ALTER TABLE keepstep.schedule_times ENABLE ROW LEVEL SECURITY;

ALTER TABLE keepstep.schedules ENABLE ROW LEVEL SECURITY;

ALTER TABLE keepstep.schema_fields ENABLE ROW LEVEL SECURITY;

ALTER TABLE keepstep.struggling ENABLE ROW LEVEL SECURITY;
