-- Whose a connection is: an owner may be a user or an agent of the ERP, and both may have the same id. What is an agent's
-- belongs to the company: staff sees it, and no user, whatever they are called.

ALTER TABLE keepstep.connections
    ADD COLUMN of_user text GENERATED ALWAYS AS (CASE WHEN integration <> 'erp' THEN owner_id END) STORED;
COMMENT ON COLUMN keepstep.connections.of_user IS 'the user whom it belongs to; null: shared, or an agent''s';
CREATE INDEX connections_of_user ON keepstep.connections (of_user);

-- Roles of applications that are held to row level security see what is shared, and what is a user's; nothing of agents.
CREATE OR REPLACE FUNCTION keepstep.is_visible(connection bigint) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
    SELECT EXISTS (
        SELECT FROM keepstep.connections c
        WHERE c.id = connection AND (c.owner_id IS NULL OR c.of_user = pg_catalog.current_setting('keepstep.owner', true)))
$$;
ALTER POLICY keepstep_owner ON keepstep.connections
    USING (owner_id IS NULL OR of_user = current_setting('keepstep.owner', true));

-- Turned off and on again within one interval: what it would read at once was read just now, or is being read.
CREATE FUNCTION keepstep.go_on(schedule bigint) RETURNS void
LANGUAGE sql AS $$
    UPDATE keepstep.schedule_times t SET delta_at = n.at, due_at = least(n.at, t.full_at)
    FROM (SELECT keepstep.next_slot(now(), s.anchor_at, s.interval_seconds) AS at
          FROM keepstep.schedules s LEFT JOIN keepstep.owner_standing o ON o.connection_id = s.connection_id
          WHERE s.id = schedule AND (
              o.last_success_at > now() - s.interval_seconds * interval '1 second'
              OR EXISTS (SELECT FROM keepstep.runs r
                         WHERE r.connection_id = s.connection_id AND r.state IN ('queued', 'running', 'waiting')))) n
    WHERE t.schedule_id = schedule
$$;

-- As before (0015), but what is turned on again within its interval goes on, as by the API.
CREATE OR REPLACE FUNCTION keepstep.schedule_auto_sync(user_id text, minutes integer, integration text DEFAULT 'mail') RETURNS bigint
LANGUAGE plpgsql AS $$
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
