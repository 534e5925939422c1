-- What the control tables hold of an owner is not for the eyes of others. The role that owns them, which is Keepstep's,
-- is not held to this; a role of an application that may read them sees what is shared, and what is the owner's who is
-- set in its transaction.

CREATE FUNCTION keepstep.is_visible(connection bigint) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = '' AS $$
    SELECT EXISTS (
        SELECT FROM keepstep.connections c
        WHERE c.id = connection AND (c.owner_id IS NULL OR c.owner_id = pg_catalog.current_setting('keepstep.owner', true)))
$$;

ALTER TABLE keepstep.connections ENABLE ROW LEVEL SECURITY;
CREATE POLICY keepstep_owner ON keepstep.connections
    USING (owner_id IS NULL OR owner_id = current_setting('keepstep.owner', true));

DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['schedules', 'runs', 'locks', 'checkpoints', 'entity_states', 'dead_letters', 'held_deletions',
                                'events', 'error_groups', 'owner_standing'] LOOP
        EXECUTE format('ALTER TABLE keepstep.%I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY keepstep_owner ON keepstep.%I USING (keepstep.is_visible(connection_id))', name);
    END LOOP;
    FOREACH name IN ARRAY ARRAY['run_entities', 'held_keys'] LOOP
        EXECUTE format('ALTER TABLE keepstep.%I ENABLE ROW LEVEL SECURITY', name);
        EXECUTE format('CREATE POLICY keepstep_owner ON keepstep.%I USING (EXISTS (SELECT FROM keepstep.runs r WHERE r.id = run_id))', name);
    END LOOP;
END
$$;
