-- The control tables: what is synced, when it ran, where it goes on, what could not be applied.

CREATE TABLE keepstep.connections (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    integration text NOT NULL,
    owner_id    text,
    created_at  timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX connections_integration_owner ON keepstep.connections (integration, coalesce(owner_id, ''));

CREATE TABLE keepstep.runs (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    connection_id bigint NOT NULL REFERENCES keepstep.connections,
    mode          text NOT NULL CHECK (mode IN ('delta', 'backfill')),
    dry_run       boolean NOT NULL,
    since         timestamptz,
    trigger       text NOT NULL CHECK (trigger IN ('manual', 'schedule', 'nightly')),
    actor         text,
    state         text NOT NULL CHECK (state IN ('running', 'waiting', 'succeeded', 'failed', 'held', 'stopped', 'crashed')),
    started_at    timestamptz NOT NULL DEFAULT now(),
    finished_at   timestamptz,
    due_at        timestamptz,
    error         jsonb,
    CHECK ((state IN ('running', 'waiting')) = (finished_at IS NULL)),
    CHECK ((state = 'waiting') = (due_at IS NOT NULL)),
    CHECK (state NOT IN ('failed', 'waiting') OR error IS NOT NULL)
);
-- One live run per connection, whatever the code believes.
CREATE UNIQUE INDEX runs_one_live ON keepstep.runs (connection_id) WHERE state IN ('running', 'waiting');
CREATE INDEX runs_newest ON keepstep.runs (connection_id, id DESC);

CREATE TABLE keepstep.run_entities (
    run_id        bigint NOT NULL REFERENCES keepstep.runs ON DELETE CASCADE,
    entity        text NOT NULL,
    position      smallint NOT NULL,
    state         text NOT NULL DEFAULT 'pending'
                  CHECK (state IN ('pending', 'running', 'succeeded', 'failed', 'held', 'stopped', 'crashed')),
    pages         bigint NOT NULL DEFAULT 0,
    rows          bigint NOT NULL DEFAULT 0,
    inserted      bigint NOT NULL DEFAULT 0,
    updated       bigint NOT NULL DEFAULT 0,
    unchanged     bigint NOT NULL DEFAULT 0,
    deleted       bigint NOT NULL DEFAULT 0,
    dead_lettered bigint NOT NULL DEFAULT 0,
    requests      bigint NOT NULL DEFAULT 0,
    total         bigint,
    started_at    timestamptz,
    finished_at   timestamptz,
    resumed       boolean NOT NULL DEFAULT false,
    completeness  text,
    error         jsonb,
    report        jsonb,
    PRIMARY KEY (run_id, entity),
    CHECK (least(pages, rows, inserted, updated, unchanged, deleted, dead_lettered, requests) >= 0)
);

CREATE TABLE keepstep.locks (
    connection_id     bigint PRIMARY KEY REFERENCES keepstep.connections,
    run_id            bigint NOT NULL REFERENCES keepstep.runs,
    token             uuid NOT NULL,
    started_at        timestamptz NOT NULL DEFAULT now(),
    renewed_at        timestamptz NOT NULL DEFAULT now(),
    expires_at        timestamptz NOT NULL,
    backend_pid       integer NOT NULL,
    backend_start     timestamptz NOT NULL,
    stop_requested_at timestamptz
) WITH (fillfactor = 50);

-- Where an unfinished reading goes on. A row is there while there is something to go on with.
CREATE TABLE keepstep.checkpoints (
    connection_id bigint NOT NULL REFERENCES keepstep.connections,
    entity        text NOT NULL,
    mode          text NOT NULL CHECK (mode IN ('delta', 'backfill')),
    cursor        jsonb,
    progress      jsonb NOT NULL,
    run_id        bigint NOT NULL REFERENCES keepstep.runs,
    started_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (connection_id, entity, mode)
) WITH (fillfactor = 50);

-- What is known of an entity between runs: how far it is in step, and what was learned of upstream.
CREATE TABLE keepstep.entity_states (
    connection_id     bigint NOT NULL REFERENCES keepstep.connections,
    entity            text NOT NULL,
    watermark         timestamptz,
    facts             jsonb NOT NULL DEFAULT '{}',
    last_full_at      timestamptz,
    last_delta_at     timestamptz,
    PRIMARY KEY (connection_id, entity)
);

CREATE TABLE keepstep.dead_letters (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    connection_id bigint NOT NULL REFERENCES keepstep.connections,
    entity        text NOT NULL,
    record_key    text,
    kind          text NOT NULL,
    reason        text NOT NULL,
    payload       bytea NOT NULL,
    payload_hash  text NOT NULL,
    run_id        bigint NOT NULL REFERENCES keepstep.runs,
    created_at    timestamptz NOT NULL DEFAULT now(),
    last_seen_at  timestamptz NOT NULL DEFAULT now(),
    attempts      integer NOT NULL DEFAULT 1 CHECK (attempts > 0),
    state         text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'resolved', 'discarded')),
    closed_at     timestamptz,
    closed_by     text,
    note          text,
    CHECK ((state = 'open') = (closed_at IS NULL))
);
-- The same bad record has one open dead letter: by its key, or by its bytes where it has none.
CREATE UNIQUE INDEX dead_letters_one_open ON keepstep.dead_letters
    (connection_id, entity, (coalesce(record_key, '')), (CASE WHEN record_key IS NULL THEN payload_hash ELSE '' END), (kind = 'duplicate'))
    WHERE state = 'open';
CREATE INDEX dead_letters_newest ON keepstep.dead_letters (entity, state, id DESC);

-- Deletions of a full run that wait for a person.
CREATE TABLE keepstep.held_deletions (
    run_id        bigint NOT NULL REFERENCES keepstep.runs,
    entity        text NOT NULL,
    connection_id bigint NOT NULL REFERENCES keepstep.connections,
    live_rows     bigint NOT NULL,
    delete_rows   bigint NOT NULL CHECK (delete_rows > 0 AND delete_rows <= live_rows),
    table_state   text NOT NULL,
    state         text NOT NULL DEFAULT 'open' CHECK (state IN ('open', 'approved', 'discarded', 'void')),
    created_at    timestamptz NOT NULL DEFAULT now(),
    decided_at    timestamptz,
    decided_by    text,
    reason        text,
    PRIMARY KEY (run_id, entity),
    CHECK ((state = 'open') = (decided_at IS NULL))
);
CREATE UNIQUE INDEX held_deletions_one_open ON keepstep.held_deletions (connection_id, entity) WHERE state = 'open';
CREATE TABLE keepstep.held_keys (
    run_id bigint NOT NULL,
    entity text NOT NULL,
    key    text NOT NULL,
    PRIMARY KEY (run_id, entity, key),
    FOREIGN KEY (run_id, entity) REFERENCES keepstep.held_deletions ON DELETE CASCADE
);

CREATE TABLE keepstep.events (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    ts            timestamptz NOT NULL DEFAULT clock_timestamp(),
    connection_id bigint NOT NULL REFERENCES keepstep.connections,
    run_id        bigint NOT NULL REFERENCES keepstep.runs ON DELETE CASCADE,
    type          text NOT NULL,
    level         text NOT NULL CHECK (level IN ('debug', 'info', 'warning', 'error')),
    entity        text,
    page          bigint,
    rows          bigint,
    msg           text NOT NULL,
    data          jsonb NOT NULL DEFAULT '{}'
);
CREATE INDEX events_of_run ON keepstep.events (run_id, id);

-- What people did.
CREATE TABLE keepstep.admin_logs (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    "user"     text NOT NULL,
    action     text NOT NULL,
    payload    jsonb NOT NULL DEFAULT '{}',
    result     text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);

-- Shapes that people query by hand.
CREATE VIEW keepstep.audit_events AS
SELECT CASE e.type WHEN 'run-started' THEN 'SYNC_STARTED' WHEN 'run-finished' THEN 'SYNC_FINISHED' ELSE 'SYNC_ERROR' END AS event_type,
       c.integration AS ref_table,
       e.data || jsonb_build_object('runId', e.run_id, 'message', e.msg) AS payload,
       e.ts AS created_at,
       r.actor AS actor_id,
       CASE WHEN r.trigger = 'manual' THEN 'MANUAL' ELSE 'AUTO_SYNC' END AS label
FROM keepstep.events e
JOIN keepstep.runs r ON r.id = e.run_id
JOIN keepstep.connections c ON c.id = e.connection_id
WHERE e.type IN ('run-started', 'run-finished', 'run-failed');

CREATE VIEW keepstep.integration_state AS
SELECT c.integration || '_sync_lock' AS key,
       jsonb_build_object('in_progress', l.run_id IS NOT NULL, 'started_at', l.started_at, 'ttl', l.expires_at) AS value
FROM keepstep.connections c LEFT JOIN keepstep.locks l ON l.connection_id = c.id AND l.expires_at > now()
WHERE c.owner_id IS NULL
UNION ALL
SELECT c.integration || '_last_full', jsonb_build_object('when', max(s.last_full_at))
FROM keepstep.connections c JOIN keepstep.entity_states s ON s.connection_id = c.id
WHERE c.owner_id IS NULL GROUP BY c.integration HAVING max(s.last_full_at) IS NOT NULL
UNION ALL
SELECT c.integration || '_last_incr', jsonb_build_object('when', max(s.last_delta_at))
FROM keepstep.connections c JOIN keepstep.entity_states s ON s.connection_id = c.id
WHERE c.owner_id IS NULL GROUP BY c.integration HAVING max(s.last_delta_at) IS NOT NULL;
