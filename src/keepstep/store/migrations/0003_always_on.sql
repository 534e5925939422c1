-- Schedules, queued runs, shared politeness, and who may do what.

-- When. The times stand apart: they are all that a dispatch writes, and it writes them for ever.
CREATE TABLE keepstep.schedules (
    id               bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    connection_id    bigint NOT NULL REFERENCES keepstep.connections ON DELETE CASCADE,
    name             text NOT NULL DEFAULT '',
    enabled          boolean NOT NULL DEFAULT false,
    interval_seconds integer NOT NULL CHECK (interval_seconds BETWEEN 60 AND 2592000),
    full_at_hour_utc smallint CHECK (full_at_hour_utc BETWEEN 0 AND 23),
    entities         text[] NOT NULL CHECK (cardinality(entities) > 0),
    anchor_at        timestamptz NOT NULL DEFAULT now(),
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now(),
    updated_by       text NOT NULL DEFAULT 'keepstep',
    UNIQUE (connection_id, name)
);
COMMENT ON COLUMN keepstep.schedules.anchor_at IS 'its grid: runs are due at anchor_at + n * interval_seconds';

-- A row for each schedule that is enabled, and only for those.
CREATE TABLE keepstep.schedule_times (
    schedule_id bigint PRIMARY KEY REFERENCES keepstep.schedules ON DELETE CASCADE,
    due_at      timestamptz NOT NULL,
    delta_at    timestamptz NOT NULL,
    full_at     timestamptz,
    CHECK (due_at = least(delta_at, full_at))
) WITH (fillfactor = 70);
CREATE INDEX schedule_times_due ON keepstep.schedule_times (due_at);

-- Runs can be queued: then they have not started, and their entities are only named.
ALTER TABLE keepstep.runs
    ADD COLUMN entities    text[] NOT NULL DEFAULT '{}',
    ADD COLUMN schedule_id bigint REFERENCES keepstep.schedules ON DELETE SET NULL,
    ADD COLUMN created_at  timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN queued_at   timestamptz NOT NULL DEFAULT now(),
    ADD COLUMN planned_at  timestamptz,
    ADD COLUMN caught_up   boolean NOT NULL DEFAULT false,
    ADD COLUMN in_queue    boolean NOT NULL DEFAULT false,
    ADD COLUMN crashes     smallint NOT NULL DEFAULT 0,
    ADD COLUMN waits       smallint NOT NULL DEFAULT 0,
    ADD COLUMN counted     boolean NOT NULL DEFAULT false,
    ALTER COLUMN started_at DROP NOT NULL,
    ALTER COLUMN started_at DROP DEFAULT,
    DROP CONSTRAINT runs_state_check,
    DROP CONSTRAINT runs_check,
    ADD CONSTRAINT runs_state_check CHECK
        (state IN ('queued', 'running', 'waiting', 'succeeded', 'failed', 'held', 'stopped', 'crashed')),
    ADD CONSTRAINT runs_live_check CHECK ((state IN ('queued', 'running', 'waiting')) = (finished_at IS NULL)),
    ADD CONSTRAINT runs_started_check CHECK (state NOT IN ('running', 'waiting') OR started_at IS NOT NULL);
COMMENT ON COLUMN keepstep.runs.queued_at IS 'since when it waits for a worker, or last did';
COMMENT ON COLUMN keepstep.runs.planned_at IS 'when its schedule wanted it';
COMMENT ON COLUMN keepstep.runs.waits IS 'waits for the breaker in a row, without a page between them';
COMMENT ON COLUMN keepstep.runs.counted IS 'whether its end is part of keepstep.totals already';
COMMENT ON COLUMN keepstep.runs.in_queue IS 'whether workers drive it: such a run is given to another one when its worker dies';
UPDATE keepstep.runs r SET entities =
    (SELECT coalesce(array_agg(e.entity ORDER BY e.position), '{}') FROM keepstep.run_entities e WHERE e.run_id = r.id);
DROP INDEX keepstep.runs_one_live;
-- One live run per connection, whatever the code believes.
CREATE UNIQUE INDEX runs_one_live ON keepstep.runs (connection_id) WHERE state IN ('queued', 'running', 'waiting');
CREATE INDEX runs_live ON keepstep.runs (state, id) WHERE state IN ('queued', 'running', 'waiting');
CREATE INDEX runs_of_schedule ON keepstep.runs (schedule_id) WHERE schedule_id IS NOT NULL;
CREATE INDEX runs_uncounted ON keepstep.runs (id) WHERE finished_at IS NOT NULL AND NOT counted;

-- A stop ends the run and takes its lock away in one transaction: there is nothing to ask for any more.
ALTER TABLE keepstep.locks DROP COLUMN stop_requested_at;

-- What all workers together may send to one upstream: a state that reliability/politeness.py computes.
CREATE TABLE keepstep.limits (
    connection_id bigint PRIMARY KEY REFERENCES keepstep.connections ON DELETE CASCADE,
    state         jsonb NOT NULL DEFAULT '{}',
    updated_at    timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);
CREATE TABLE keepstep.rate_samples (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ts            timestamptz NOT NULL DEFAULT now(),
    connection_id bigint NOT NULL REFERENCES keepstep.connections ON DELETE CASCADE,
    "limit"       bigint,
    remaining     bigint,
    reset         timestamptz,
    waited_ms     bigint NOT NULL DEFAULT 0,
    cause         text NOT NULL
);
CREATE INDEX rate_samples_newest ON keepstep.rate_samples (ts);

-- What housekeeping looks for. The events that say how a run went are kept as long as the run.
CREATE INDEX events_to_prune ON keepstep.events (ts) WHERE left(type, 4) <> 'run-';
CREATE INDEX dead_letters_of_run ON keepstep.dead_letters (run_id);
CREATE INDEX checkpoints_of_run ON keepstep.checkpoints (run_id);

-- Counters that only grow, for /metrics: they outlive the runs that they count.
CREATE TABLE keepstep.totals (
    name   text NOT NULL,
    labels jsonb NOT NULL DEFAULT '{}',
    value  double precision NOT NULL,
    PRIMARY KEY (name, labels)
) WITH (fillfactor = 50);

-- Signs of life of the loops: the dispatcher's is the dead-man's switch.
CREATE TABLE keepstep.ticks (
    name text PRIMARY KEY,
    at   timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);

-- Settings changed by people; the environment wins over them.
CREATE TABLE keepstep.settings (
    name       text PRIMARY KEY,
    value      jsonb NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    updated_by text NOT NULL
);

-- Credentials, encrypted with KEEPSTEP_SECRET_KEY.
ALTER TABLE keepstep.connections
    ADD COLUMN credentials        bytea,
    ADD COLUMN credentials_set_at timestamptz,
    ADD CONSTRAINT connections_credentials_check CHECK ((credentials IS NULL) = (credentials_set_at IS NULL));

-- Who may.
CREATE TABLE keepstep.users (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name          text NOT NULL CHECK (name <> ''),
    password_hash text NOT NULL,
    role          text NOT NULL CHECK (role IN ('viewer', 'operator', 'admin')),
    created_at    timestamptz NOT NULL DEFAULT now(),
    last_login_at timestamptz
);
CREATE UNIQUE INDEX users_name ON keepstep.users (lower(name));
CREATE TABLE keepstep.sessions (
    token_hash bytea PRIMARY KEY,
    user_id    bigint NOT NULL REFERENCES keepstep.users ON DELETE CASCADE,
    created_at timestamptz NOT NULL DEFAULT now(),
    seen_at    timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL
);
CREATE INDEX sessions_of_user ON keepstep.sessions (user_id);
CREATE TABLE keepstep.api_tokens (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name         text NOT NULL CHECK (name <> ''),
    token_hash   bytea NOT NULL UNIQUE,
    role         text NOT NULL CHECK (role IN ('viewer', 'operator', 'admin')),
    created_at   timestamptz NOT NULL DEFAULT now(),
    created_by   text NOT NULL,
    last_used_at timestamptz,
    revoked_at   timestamptz
);
CREATE UNIQUE INDEX api_tokens_name ON keepstep.api_tokens (lower(name)) WHERE revoked_at IS NULL;
CREATE TABLE keepstep.login_failures (
    id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    what text NOT NULL,
    at   timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX login_failures_recent ON keepstep.login_failures (what, at);

CREATE INDEX admin_logs_newest ON keepstep.admin_logs (created_at DESC);
