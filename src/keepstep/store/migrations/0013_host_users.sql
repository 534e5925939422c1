-- Users whom another application signs in: they bring a JWT of it and have no password here.

-- ``subject``: what the JWT calls them. ``owner_id``: what connections and schedules call them; it is the subject unless
-- that could be taken for somebody else.
ALTER TABLE keepstep.users
    ALTER COLUMN password_hash DROP NOT NULL,
    ADD COLUMN subject text UNIQUE CHECK (subject <> ''),
    ADD COLUMN owner_id text NOT NULL GENERATED ALWAYS AS (CASE
        WHEN subject IS NULL THEN id::text
        WHEN subject ~ '^([0-9]+$|jwt:|token:)' THEN 'jwt:' || subject
        ELSE subject END) STORED,
    ADD CONSTRAINT users_way_in CHECK (password_hash IS NOT NULL OR subject IS NOT NULL),
    DROP CONSTRAINT users_role_check,
    ADD CONSTRAINT users_role_check CHECK (role IN ('user', 'viewer', 'operator', 'admin'));
CREATE UNIQUE INDEX users_owner ON keepstep.users (owner_id);
ALTER TABLE keepstep.api_tokens
    DROP CONSTRAINT api_tokens_role_check,
    ADD CONSTRAINT api_tokens_role_check CHECK (role IN ('user', 'viewer', 'operator', 'admin'));
