-- Among a hundred thousand owners whoever is searched for is found by any part of a name, an id or a workspace: through its
-- groups of three letters, as pg_trgm does it, which is not everywhere.
CREATE FUNCTION keepstep.grams(words text) RETURNS text[]
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ARRAY(SELECT DISTINCT substr(lower(words), n, 3) FROM generate_series(1, length(lower(words)) - 2) n);

CREATE INDEX connections_sought ON keepstep.connections
    USING gin (keepstep.grams(owner_id || coalesce(' ' || workspace, ''))) WHERE owner_id IS NOT NULL;
CREATE INDEX users_sought ON keepstep.users USING gin (keepstep.grams(name));
