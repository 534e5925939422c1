-- What the admin API asks for often.

-- The last failure of each entity, however many runs went well since.
CREATE INDEX runs_failed ON keepstep.runs (connection_id, id DESC) WHERE state IN ('failed', 'crashed');
-- Errors, to be grouped.
CREATE INDEX events_errors ON keepstep.events (id DESC) WHERE type IN ('entity-failed', 'run-failed', 'run-waiting');

-- How many requests were sent and failed, by the minute: the totals only grow and cannot tell of the last hour.
CREATE TABLE keepstep.request_minutes (
    connection_id bigint NOT NULL REFERENCES keepstep.connections ON DELETE CASCADE,
    minute        timestamptz NOT NULL,
    sent          bigint NOT NULL DEFAULT 0,
    failed        bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (connection_id, minute)
) WITH (fillfactor = 50);
CREATE INDEX request_minutes_old ON keepstep.request_minutes (minute);
