-- name: put
-- One row an hour: whoever comes first in it.
INSERT INTO keepstep.health_history (connection_id, hour, score, deductions)
SELECT c.id, date_trunc('hour', now()), %(score)s, %(deductions)s
FROM keepstep.connections c WHERE c.integration = %(integration)s AND c.owner_id IS NULL
ON CONFLICT DO NOTHING

-- name: since
SELECT h.hour, h.score, h.deductions
FROM keepstep.health_history h JOIN keepstep.connections c ON c.id = h.connection_id
WHERE c.integration = %(integration)s AND c.owner_id IS NULL AND h.hour > now() - make_interval(hours => %(hours)s)
ORDER BY h.hour
