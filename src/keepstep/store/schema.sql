-- What all migrations together make. Written by tools/schema_snapshot.py (make schema); do not edit.

CREATE SCHEMA keepstep;

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
    CONSTRAINT api_tokens_role_check CHECK ((role = ANY (ARRAY['viewer'::text, 'operator'::text, 'admin'::text])))
);

ALTER TABLE keepstep.api_tokens ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME keepstep.api_tokens_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE keepstep.connections (
    id bigint NOT NULL,
    integration text NOT NULL,
    owner_id text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    credentials bytea,
    credentials_set_at timestamp with time zone,
    CONSTRAINT connections_credentials_check CHECK (((credentials IS NULL) = (credentials_set_at IS NULL)))
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
    planned_at timestamp with time zone,
    caught_up boolean DEFAULT false NOT NULL,
    in_queue boolean DEFAULT false NOT NULL,
    crashes smallint DEFAULT 0 NOT NULL,
    waits smallint DEFAULT 0 NOT NULL,
    CONSTRAINT runs_check1 CHECK (((state = 'waiting'::text) = (due_at IS NOT NULL))),
    CONSTRAINT runs_check2 CHECK (((state <> ALL (ARRAY['failed'::text, 'waiting'::text])) OR (error IS NOT NULL))),
    CONSTRAINT runs_live_check CHECK (((state = ANY (ARRAY['queued'::text, 'running'::text, 'waiting'::text])) = (finished_at IS NULL))),
    CONSTRAINT runs_mode_check CHECK ((mode = ANY (ARRAY['delta'::text, 'backfill'::text]))),
    CONSTRAINT runs_started_check CHECK (((state <> ALL (ARRAY['running'::text, 'waiting'::text])) OR (started_at IS NOT NULL))),
    CONSTRAINT runs_state_check CHECK ((state = ANY (ARRAY['queued'::text, 'running'::text, 'waiting'::text, 'succeeded'::text, 'failed'::text, 'held'::text, 'stopped'::text, 'crashed'::text]))),
    CONSTRAINT runs_trigger_check CHECK ((trigger = ANY (ARRAY['manual'::text, 'schedule'::text, 'nightly'::text])))
);

COMMENT ON COLUMN keepstep.runs.planned_at IS 'when its schedule wanted it';

COMMENT ON COLUMN keepstep.runs.in_queue IS 'whether workers drive it: such a run is given to another one when its worker dies';

COMMENT ON COLUMN keepstep.runs.waits IS 'waits for the breaker in a row, without a page between them';

CREATE VIEW keepstep.audit_events AS
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
  WHERE (e.type = ANY (ARRAY['run-started'::text, 'run-finished'::text, 'run-failed'::text]));

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

CREATE TABLE keepstep.entity_states (
    connection_id bigint NOT NULL,
    entity text NOT NULL,
    watermark timestamp with time zone,
    facts jsonb DEFAULT '{}'::jsonb NOT NULL,
    last_full_at timestamp with time zone,
    last_delta_at timestamp with time zone
);

ALTER TABLE keepstep.events ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME keepstep.events_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
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
    backend_start timestamp with time zone NOT NULL,
    stop_requested_at timestamp with time zone
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
    CONSTRAINT run_entities_check CHECK ((LEAST(pages, rows, inserted, updated, unchanged, deleted, dead_lettered, requests) >= 0)),
    CONSTRAINT run_entities_state_check CHECK ((state = ANY (ARRAY['pending'::text, 'running'::text, 'succeeded'::text, 'failed'::text, 'held'::text, 'stopped'::text, 'crashed'::text])))
);

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
WITH (fillfactor='70');

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
    CONSTRAINT schedules_entities_check CHECK ((cardinality(entities) > 0)),
    CONSTRAINT schedules_full_at_hour_utc_check CHECK (((full_at_hour_utc >= 0) AND (full_at_hour_utc <= 23))),
    CONSTRAINT schedules_interval_seconds_check CHECK (((interval_seconds >= 60) AND (interval_seconds <= 2592000)))
);

COMMENT ON COLUMN keepstep.schedules.anchor_at IS 'its grid: runs are due at anchor_at + n * interval_seconds';

ALTER TABLE keepstep.schedules ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME keepstep.schedules_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

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
    password_hash text NOT NULL,
    role text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    last_login_at timestamp with time zone,
    CONSTRAINT users_name_check CHECK ((name <> ''::text)),
    CONSTRAINT users_role_check CHECK ((role = ANY (ARRAY['viewer'::text, 'operator'::text, 'admin'::text])))
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

ALTER TABLE ONLY keepstep.entity_states
    ADD CONSTRAINT entity_states_pkey PRIMARY KEY (connection_id, entity);

ALTER TABLE ONLY keepstep.events
    ADD CONSTRAINT events_pkey PRIMARY KEY (id);

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

ALTER TABLE ONLY keepstep.rate_samples
    ADD CONSTRAINT rate_samples_pkey PRIMARY KEY (id);

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

ALTER TABLE ONLY keepstep.sessions
    ADD CONSTRAINT sessions_pkey PRIMARY KEY (token_hash);

ALTER TABLE ONLY keepstep.settings
    ADD CONSTRAINT settings_pkey PRIMARY KEY (name);

ALTER TABLE ONLY keepstep.ticks
    ADD CONSTRAINT ticks_pkey PRIMARY KEY (name);

ALTER TABLE ONLY keepstep.totals
    ADD CONSTRAINT totals_pkey PRIMARY KEY (name, labels);

ALTER TABLE ONLY keepstep.users
    ADD CONSTRAINT users_pkey PRIMARY KEY (id);

CREATE INDEX admin_logs_newest ON keepstep.admin_logs USING btree (created_at DESC);

CREATE UNIQUE INDEX api_tokens_name ON keepstep.api_tokens USING btree (lower(name)) WHERE (revoked_at IS NULL);

CREATE UNIQUE INDEX connections_integration_owner ON keepstep.connections USING btree (integration, COALESCE(owner_id, ''::text));

CREATE INDEX dead_letters_newest ON keepstep.dead_letters USING btree (entity, state, id DESC);

CREATE UNIQUE INDEX dead_letters_one_open ON keepstep.dead_letters USING btree (connection_id, entity, COALESCE(record_key, ''::text), (
CASE
    WHEN (record_key IS NULL) THEN payload_hash
    ELSE ''::text
END), ((kind = 'duplicate'::text))) WHERE (state = 'open'::text);

CREATE INDEX events_of_run ON keepstep.events USING btree (run_id, id);

CREATE UNIQUE INDEX held_deletions_one_open ON keepstep.held_deletions USING btree (connection_id, entity) WHERE (state = 'open'::text);

CREATE INDEX login_failures_recent ON keepstep.login_failures USING btree (what, at);

CREATE INDEX rate_samples_newest ON keepstep.rate_samples USING btree (ts);

CREATE INDEX runs_live ON keepstep.runs USING btree (state, id) WHERE (state = ANY (ARRAY['queued'::text, 'running'::text, 'waiting'::text]));

CREATE INDEX runs_newest ON keepstep.runs USING btree (connection_id, id DESC);

CREATE INDEX runs_of_schedule ON keepstep.runs USING btree (schedule_id) WHERE (schedule_id IS NOT NULL);

CREATE UNIQUE INDEX runs_one_live ON keepstep.runs USING btree (connection_id) WHERE (state = ANY (ARRAY['queued'::text, 'running'::text, 'waiting'::text]));

CREATE INDEX schedule_times_due ON keepstep.schedule_times USING btree (due_at);

CREATE INDEX sessions_of_user ON keepstep.sessions USING btree (user_id);

CREATE UNIQUE INDEX users_name ON keepstep.users USING btree (lower(name));

ALTER TABLE ONLY keepstep.checkpoints
    ADD CONSTRAINT checkpoints_connection_id_fkey FOREIGN KEY (connection_id) REFERENCES keepstep.connections(id);

ALTER TABLE ONLY keepstep.checkpoints
    ADD CONSTRAINT checkpoints_run_id_fkey FOREIGN KEY (run_id) REFERENCES keepstep.runs(id);

ALTER TABLE ONLY keepstep.dead_letters
    ADD CONSTRAINT dead_letters_connection_id_fkey FOREIGN KEY (connection_id) REFERENCES keepstep.connections(id);

ALTER TABLE ONLY keepstep.dead_letters
    ADD CONSTRAINT dead_letters_run_id_fkey FOREIGN KEY (run_id) REFERENCES keepstep.runs(id);

ALTER TABLE ONLY keepstep.entity_states
    ADD CONSTRAINT entity_states_connection_id_fkey FOREIGN KEY (connection_id) REFERENCES keepstep.connections(id);

ALTER TABLE ONLY keepstep.events
    ADD CONSTRAINT events_connection_id_fkey FOREIGN KEY (connection_id) REFERENCES keepstep.connections(id);

ALTER TABLE ONLY keepstep.events
    ADD CONSTRAINT events_run_id_fkey FOREIGN KEY (run_id) REFERENCES keepstep.runs(id) ON DELETE CASCADE;

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

ALTER TABLE ONLY keepstep.rate_samples
    ADD CONSTRAINT rate_samples_connection_id_fkey FOREIGN KEY (connection_id) REFERENCES keepstep.connections(id) ON DELETE CASCADE;

ALTER TABLE ONLY keepstep.run_entities
    ADD CONSTRAINT run_entities_run_id_fkey FOREIGN KEY (run_id) REFERENCES keepstep.runs(id) ON DELETE CASCADE;

ALTER TABLE ONLY keepstep.runs
    ADD CONSTRAINT runs_connection_id_fkey FOREIGN KEY (connection_id) REFERENCES keepstep.connections(id);

ALTER TABLE ONLY keepstep.runs
    ADD CONSTRAINT runs_schedule_id_fkey FOREIGN KEY (schedule_id) REFERENCES keepstep.schedules(id) ON DELETE SET NULL;

ALTER TABLE ONLY keepstep.schedule_times
    ADD CONSTRAINT schedule_times_schedule_id_fkey FOREIGN KEY (schedule_id) REFERENCES keepstep.schedules(id) ON DELETE CASCADE;

ALTER TABLE ONLY keepstep.schedules
    ADD CONSTRAINT schedules_connection_id_fkey FOREIGN KEY (connection_id) REFERENCES keepstep.connections(id) ON DELETE CASCADE;

ALTER TABLE ONLY keepstep.sessions
    ADD CONSTRAINT sessions_user_id_fkey FOREIGN KEY (user_id) REFERENCES keepstep.users(id) ON DELETE CASCADE;
