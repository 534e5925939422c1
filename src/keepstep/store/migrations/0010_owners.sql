-- Connections of owners: each user's own account with an integration, and the schedule that waits for it.

-- ``own_credentials``: it works only with credentials that its owner gave. ``workspace``: what the front end calls the
-- place in which the owner set it up. ``refused``: upstream does not take the credentials any more, and only the owner
-- can mend that.
ALTER TABLE keepstep.connections
    ADD COLUMN own_credentials boolean NOT NULL DEFAULT false,
    ADD COLUMN workspace      text,
    ADD COLUMN refused_at     timestamptz,
    ADD COLUMN refused_reason text,
    ADD COLUMN paused_at      timestamptz,
    ADD COLUMN paused_by      text,
    ADD COLUMN paused_reason  text,
    ADD COLUMN state          text NOT NULL GENERATED ALWAYS AS (CASE
        WHEN paused_at IS NOT NULL THEN 'paused'
        WHEN refused_at IS NOT NULL THEN 'needs-reconnect'
        WHEN own_credentials AND credentials IS NULL THEN 'needs-connecting'
        ELSE 'connected' END) STORED,
    ADD CONSTRAINT connections_refused_check CHECK ((refused_at IS NULL) = (refused_reason IS NULL)),
    ADD CONSTRAINT connections_paused_check CHECK
        ((paused_at IS NULL) = (paused_by IS NULL) AND (paused_at IS NULL) = (paused_reason IS NULL)),
    ADD CONSTRAINT connections_owner_check CHECK (owner_id <> '');
CREATE INDEX connections_of_owner ON keepstep.connections (owner_id) WHERE owner_id IS NOT NULL;
CREATE INDEX connections_of_workspace ON keepstep.connections (integration, workspace) WHERE workspace IS NOT NULL;

-- As before (0004), but a schedule has times only while its connection can be used: nothing that can only fail is ever due.
CREATE OR REPLACE FUNCTION keepstep.make_due(schedule bigint, moment timestamptz DEFAULT now()) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO keepstep.schedule_times (schedule_id, due_at, delta_at, full_at)
    SELECT s.id, moment, moment, keepstep.next_full(
        moment, s.full_at_hour_utc, keepstep.jitter(s.id, 86400), keepstep.full_done_today(s.id, moment))
    FROM keepstep.schedules s JOIN keepstep.connections c ON c.id = s.connection_id
    WHERE s.id = schedule AND s.enabled AND c.state = 'connected'
    ON CONFLICT (schedule_id) DO UPDATE
    SET due_at = excluded.due_at, delta_at = excluded.delta_at, full_at = excluded.full_at;
    SELECT pg_notify('keepstep_schedules', '')
$$;

-- An owner's connection that works begins at once; one that does not, or is paused, makes nothing due.
CREATE FUNCTION keepstep.connection_was_changed() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.state = 'connected' THEN
        PERFORM keepstep.make_due(s.id) FROM keepstep.schedules s
        WHERE s.connection_id = NEW.id AND s.enabled
          AND NOT EXISTS (SELECT FROM keepstep.schedule_times t WHERE t.schedule_id = s.id);
    ELSE
        DELETE FROM keepstep.schedule_times t USING keepstep.schedules s
        WHERE s.connection_id = NEW.id AND t.schedule_id = s.id;
    END IF;
    RETURN NULL;
END
$$;
CREATE TRIGGER connection_was_changed AFTER UPDATE ON keepstep.connections
    FOR EACH ROW WHEN (NEW.owner_id IS NOT NULL AND OLD.state IS DISTINCT FROM NEW.state)
    EXECUTE FUNCTION keepstep.connection_was_changed();
