-- How each owner's connection does: what its runs ended with, and when it is tried again.

-- Written at the end of each run, beside the connection's row: that one is locked by whoever waits for the lock of the
-- run that ends.
CREATE TABLE keepstep.owner_standing (
    connection_id   bigint PRIMARY KEY REFERENCES keepstep.connections ON DELETE CASCADE,
    last_success_at timestamptz,
    last_failure_at timestamptz,
    last_run_id     bigint,
    error           jsonb,
    failures        integer NOT NULL DEFAULT 0 CHECK (failures >= 0),
    retries         smallint NOT NULL DEFAULT 0,
    retries_until   timestamptz
) WITH (fillfactor = 70);
COMMENT ON COLUMN keepstep.owner_standing.failures IS 'runs in a row that failed';
COMMENT ON COLUMN keepstep.owner_standing.retries IS 'tries beyond the schedule before retries_until, its next slot';
CREATE INDEX owner_standing_failing ON keepstep.owner_standing (connection_id) WHERE failures >= 3;
CREATE INDEX connections_refused ON keepstep.connections (id) WHERE refused_at IS NOT NULL;
-- The list of owners is read in this order, page by page.
CREATE INDEX connections_owned ON keepstep.connections (integration, owner_id, id) WHERE owner_id IS NOT NULL;

-- As before (0010). A refusal comes from the transaction that ends a run, for whose end a dispatch may wait that has the
-- times locked: it must not wait for them. Times that are left so fail once more and are gone then.
CREATE OR REPLACE FUNCTION keepstep.connection_was_changed() RETURNS trigger
LANGUAGE plpgsql AS $$
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

-- What the end of a run means for its owner. Credentials that upstream refuses are never tried again by themselves.
-- After another failure the run is tried again up to three times before its next slot.
CREATE FUNCTION keepstep.owners_run_ended() RETURNS trigger
LANGUAGE plpgsql AS $$
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
CREATE TRIGGER owners_run_ended AFTER UPDATE ON keepstep.runs
    FOR EACH ROW WHEN (OLD.finished_at IS NULL AND NEW.finished_at IS NOT NULL AND NEW.state <> 'stopped' AND NOT NEW.dry_run)
    EXECUTE FUNCTION keepstep.owners_run_ended();
