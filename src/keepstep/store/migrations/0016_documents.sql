-- Documents that upstream gave: reports, proven and refused. Their bytes are encrypted before they come here.

-- A document's bytes, once however often it came. ``sealed`` is encrypted under a key of its own, ``key`` is that key,
-- encrypted with KEEPSTEP_SECRET_KEY: a new secret key re-encrypts keys, not documents.
CREATE TABLE keepstep.document_contents (
    hash   text PRIMARY KEY CHECK (hash ~ '^[0-9a-f]{64}$'),
    size   bigint NOT NULL CHECK (size >= 0),
    sealed bytea NOT NULL,
    key    bytea NOT NULL
);
ALTER TABLE keepstep.document_contents ALTER COLUMN sealed SET STORAGE EXTERNAL;  -- what is encrypted does not compress

-- That a document came as a report. Whether it is refused may depend on what it came as.
CREATE TABLE keepstep.documents (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    integration text NOT NULL,
    report      text NOT NULL,
    agent       text NOT NULL DEFAULT '',
    hash        text NOT NULL REFERENCES keepstep.document_contents,
    state       text NOT NULL CHECK (state IN ('proven', 'refused')),
    error       jsonb,
    page        integer CHECK (page > 0),
    row         integer CHECK (row > 0),
    box         jsonb,
    first_seen  timestamptz NOT NULL DEFAULT now(),
    last_seen   timestamptz NOT NULL DEFAULT now(),
    times       bigint NOT NULL DEFAULT 1 CHECK (times > 0),
    UNIQUE (integration, report, agent, hash, state),
    CHECK ((state = 'refused') = (error IS NOT NULL))
);
COMMENT ON COLUMN keepstep.documents.agent IS 'whose report it is; empty for one that all share';
COMMENT ON COLUMN keepstep.documents.box IS 'x0, top, x1, bottom of what failed, in points from the upper left corner';
CREATE INDEX documents_newest ON keepstep.documents (integration, report, agent, state, last_seen DESC);
CREATE INDEX documents_oldest ON keepstep.documents (last_seen);
CREATE INDEX documents_by_hash ON keepstep.documents (hash);
