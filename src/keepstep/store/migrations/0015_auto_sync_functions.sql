-- Auto-sync of users, said in SQL: what an application beside Keepstep may call. The schedules are the ones that the API
-- shows, and whoever dispatches (a process of Keepstep, pg_cron) starts their runs.

-- What a user may turn on, and within which bounds; service/auto_sync.py says it too, and a test compares them.
CREATE FUNCTION keepstep.auto_sync_bounds(integration text, OUT least_minutes integer, OUT most_minutes integer, OUT entities text[])
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

-- Turns a user's auto-sync on, with this interval: the first run is due at once, if the user has connected the account.
-- Said again with the same interval it changes nothing.
CREATE FUNCTION keepstep.schedule_auto_sync(user_id text, minutes integer, integration text DEFAULT 'mail') RETURNS bigint
LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
    bounds record;
    connection bigint;
    schedule bigint;
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
    INSERT INTO keepstep.schedules AS s (connection_id, enabled, interval_seconds, entities, updated_by)
    VALUES (connection, true, minutes * 60, bounds.entities, session_user)
    ON CONFLICT (connection_id, name) DO UPDATE
    SET enabled = true, interval_seconds = excluded.interval_seconds, updated_by = excluded.updated_by
    WHERE NOT s.enabled OR s.interval_seconds <> excluded.interval_seconds
    RETURNING s.id INTO schedule;
    IF schedule IS NOT NULL THEN
        INSERT INTO keepstep.admin_logs ("user", action, payload, result) VALUES (
            session_user, 'auto-sync.set',
            jsonb_build_object('integration', integration, 'owner', user_id, 'enabled', true, 'interval_minutes', minutes),
            format('every %s minutes, by SQL', minutes));
    END IF;
    RETURN coalesce(schedule, (SELECT s.id FROM keepstep.schedules s WHERE s.connection_id = connection AND s.name = ''));
END
$$;

-- Turns it off, and keeps the interval; false where it was not on.
CREATE FUNCTION keepstep.unschedule_auto_sync(user_id text, integration text DEFAULT 'mail') RETURNS boolean
LANGUAGE plpgsql AS $$
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

-- Another interval for what is on; false where it is off.
CREATE FUNCTION keepstep.update_auto_sync_schedule(user_id text, minutes integer, integration text DEFAULT 'mail') RETURNS boolean
LANGUAGE plpgsql AS $$
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

-- A run now, ahead of scheduled ones; gives its number, or that of the run which is live already.
CREATE FUNCTION keepstep.trigger_auto_sync(user_id text, integration text DEFAULT 'mail') RETURNS bigint
LANGUAGE plpgsql AS $$
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

-- What became of it: the runs of users, with their counts.
CREATE VIEW keepstep.auto_sync_history AS
SELECT c.owner_id AS user_id, c.integration, r.id AS run_id, r.trigger, r.state, r.planned_at, r.started_at, r.finished_at,
       e.rows, e.inserted, e.updated, e.unchanged, e.deleted, e.dead_lettered, r.error ->> 'message' AS error
FROM keepstep.runs r
JOIN keepstep.connections c ON c.id = r.connection_id AND c.owner_id IS NOT NULL
CROSS JOIN LATERAL (
    SELECT coalesce(sum(n.rows), 0)::bigint AS rows, coalesce(sum(n.inserted), 0)::bigint AS inserted,
           coalesce(sum(n.updated), 0)::bigint AS updated, coalesce(sum(n.unchanged), 0)::bigint AS unchanged,
           coalesce(sum(n.deleted), 0)::bigint AS deleted, coalesce(sum(n.dead_lettered), 0)::bigint AS dead_lettered
    FROM keepstep.run_entities n WHERE n.run_id = r.id
) e;
