-- A hundred thousand owners: what looks at them finds what it looks for, and one of them does not hold up the others.

-- Of wide rows, whose credentials are renewed every hour: with room in their page the indexes stay as they are.
ALTER TABLE keepstep.connections SET (fillfactor = 80);

-- The few that all share, and the few that work with shared credentials, among all the others.
CREATE INDEX connections_shared ON keepstep.connections (integration) WHERE owner_id IS NULL;
CREATE INDEX connections_watched ON keepstep.connections (id) WHERE NOT own_credentials;
-- For the list: how many are in each state, and those with which something is the matter, in its order.
CREATE INDEX connections_states ON keepstep.connections (integration, state) WHERE owner_id IS NOT NULL;
CREATE INDEX connections_unwell ON keepstep.connections (integration, owner_id, id) WHERE owner_id IS NOT NULL AND state <> 'connected';
DROP INDEX keepstep.owner_standing_failing;
CREATE INDEX owner_standing_failing ON keepstep.owner_standing (connection_id) WHERE failures > 0;
