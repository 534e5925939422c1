-- What somebody must look at, and the messages that say so: the outbox.

-- An alert is open from when its rule is broken until it is kept again. ``announced_at``: since when a message of it is
-- in the outbox; one that ends before that is never told.
CREATE TABLE keepstep.alerts (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    connection_id bigint REFERENCES keepstep.connections ON DELETE CASCADE,
    rule          text NOT NULL,
    severity      text NOT NULL CHECK (severity IN ('critical', 'warning')),
    title         text NOT NULL,
    detail        text NOT NULL,
    impact        text NOT NULL,
    fix           text NOT NULL,
    since         timestamptz NOT NULL,
    started_at    timestamptz NOT NULL DEFAULT now(),
    announced_at  timestamptz,
    reminded_at   timestamptz,
    ended_at      timestamptz,
    end_announced boolean NOT NULL DEFAULT false,
    CHECK (NOT end_announced OR ended_at IS NOT NULL)
);
-- One alert of a rule at a time, whoever finds it.
CREATE UNIQUE INDEX alerts_one_open ON keepstep.alerts (coalesce(connection_id, 0), rule) WHERE ended_at IS NULL;
CREATE INDEX alerts_untold ON keepstep.alerts (rule)
    WHERE (announced_at IS NULL AND ended_at IS NULL) OR (ended_at IS NOT NULL AND announced_at IS NOT NULL AND NOT end_announced);
CREATE INDEX alerts_ended ON keepstep.alerts (ended_at) WHERE ended_at IS NOT NULL;
COMMENT ON COLUMN keepstep.alerts.connection_id IS 'null: it concerns the whole service';
COMMENT ON COLUMN keepstep.alerts.since IS 'since when it is so, as far as is known; started_at is when it was noticed';

CREATE TABLE keepstep.alert_messages (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    channel    text NOT NULL,
    kind       text NOT NULL CHECK (kind IN ('start', 'reminder', 'end', 'test')),
    rule       text,
    alert_ids  bigint[] NOT NULL DEFAULT '{}',
    content    jsonb NOT NULL,
    state      text NOT NULL DEFAULT 'waiting' CHECK (state IN ('waiting', 'sent', 'failed')),
    attempts   integer NOT NULL DEFAULT 0,
    next_at    timestamptz NOT NULL DEFAULT now(),
    created_at timestamptz NOT NULL DEFAULT now(),
    sent_at    timestamptz,
    status     integer,
    answer     text,
    CHECK ((state = 'sent') = (sent_at IS NOT NULL))
);
CREATE INDEX alert_messages_waiting ON keepstep.alert_messages (channel, id) WHERE state = 'waiting';
CREATE INDEX alert_messages_newest ON keepstep.alert_messages (rule, kind, created_at DESC);
CREATE INDEX alert_messages_old ON keepstep.alert_messages (created_at) WHERE state <> 'waiting';

-- How well each connection was, once an hour.
CREATE TABLE keepstep.health_history (
    connection_id bigint NOT NULL REFERENCES keepstep.connections ON DELETE CASCADE,
    hour          timestamptz NOT NULL,
    score         smallint NOT NULL CHECK (score BETWEEN 0 AND 100),
    deductions    jsonb NOT NULL,
    PRIMARY KEY (connection_id, hour)
);
CREATE INDEX health_history_old ON keepstep.health_history (hour);
