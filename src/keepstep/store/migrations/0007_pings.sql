-- How upstream answered when it was pinged: by the clock, or by a person.
CREATE TABLE keepstep.pings (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    connection_id bigint NOT NULL REFERENCES keepstep.connections ON DELETE CASCADE,
    at            timestamptz NOT NULL DEFAULT now(),
    state         text NOT NULL CHECK (state IN ('ok', 'degraded', 'failing')),
    code          text NOT NULL DEFAULT '',
    reason        text NOT NULL,
    elapsed_ms    integer NOT NULL
);
CREATE INDEX pings_newest ON keepstep.pings (connection_id, id DESC);
CREATE INDEX pings_old ON keepstep.pings (at);
