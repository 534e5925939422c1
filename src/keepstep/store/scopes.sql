-- name: visible
-- Each its index: ``of_user`` is null where it is shared, and where it is an agent's.
SELECT id FROM keepstep.connections WHERE of_user IS NULL AND %(shared)s
UNION ALL
SELECT id FROM keepstep.connections WHERE of_user = %(owner)s
