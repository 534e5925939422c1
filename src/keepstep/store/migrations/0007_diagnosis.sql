-- What tells the truth about a connection: pings, errors by their kind, the fields that upstream gives beyond the documented ones.

-- How upstream answered when it was asked whether it is there. ``code``: the diagnosis, where not all is well.
CREATE TABLE keepstep.pings (
    id            bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    connection_id bigint NOT NULL REFERENCES keepstep.connections ON DELETE CASCADE,
    at            timestamptz NOT NULL DEFAULT now(),
    state         text NOT NULL CHECK (state IN ('ok', 'degraded', 'failing')),
    code          text,
    reason        text NOT NULL,
    fix           text NOT NULL DEFAULT '',
    elapsed_ms    integer NOT NULL CHECK (elapsed_ms >= 0),
    CHECK ((state = 'ok') = (code IS NULL))
);
CREATE INDEX pings_newest ON keepstep.pings (connection_id, id DESC);

-- The last full reading of a connection, among all its deltas.
CREATE INDEX runs_full ON keepstep.runs (connection_id, id DESC) WHERE mode = 'backfill' AND NOT dry_run;

-- Errors, each kind once. It is resolved when it was not seen for a day; when it comes again a new episode begins.
CREATE TABLE keepstep.error_groups (
    connection_id bigint NOT NULL REFERENCES keepstep.connections ON DELETE CASCADE,
    fingerprint   text NOT NULL,
    code          text NOT NULL,
    status        integer,
    path          text,
    message       text NOT NULL,
    fix           text NOT NULL,
    sample        jsonb,
    count         bigint NOT NULL DEFAULT 1 CHECK (count > 0),
    first_seen    timestamptz NOT NULL DEFAULT now(),
    last_seen     timestamptz NOT NULL DEFAULT now(),
    episodes      integer NOT NULL DEFAULT 1 CHECK (episodes > 0),
    opened_at     timestamptz NOT NULL DEFAULT now(),
    entities      text[] NOT NULL DEFAULT '{}',
    run_ids       bigint[] NOT NULL DEFAULT '{}' CHECK (cardinality(run_ids) <= 20),
    entity_run    bigint,
    PRIMARY KEY (connection_id, fingerprint)
) WITH (fillfactor = 70);
COMMENT ON COLUMN keepstep.error_groups.run_ids IS 'the newest runs, newest first';
COMMENT ON COLUMN keepstep.error_groups.opened_at IS 'when its latest episode began';
COMMENT ON COLUMN keepstep.error_groups.entity_run IS 'the last run that one of its entities told of: the run telling of it too adds nothing';
CREATE INDEX error_groups_newest ON keepstep.error_groups (last_seen DESC);

-- Fields that upstream gives and that are not documented. One with a column was given it by the policy ``evolve``.
CREATE TABLE keepstep.schema_fields (
    connection_id bigint NOT NULL REFERENCES keepstep.connections ON DELETE CASCADE,
    entity        text NOT NULL,
    field         text NOT NULL,
    column_name   text,
    kind          text,
    first_seen    timestamptz NOT NULL DEFAULT now(),
    run_id        bigint,
    note          text,
    PRIMARY KEY (connection_id, entity, field),
    UNIQUE (connection_id, entity, column_name),
    CHECK ((column_name IS NULL) = (kind IS NULL))
);
COMMENT ON COLUMN keepstep.schema_fields.run_id IS 'the run that met it first';
COMMENT ON COLUMN keepstep.schema_fields.note IS 'why it cannot have a column';
