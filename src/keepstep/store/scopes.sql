-- name: visible
SELECT id FROM keepstep.connections WHERE owner_id IS NULL AND %(shared)s
UNION ALL
SELECT id FROM keepstep.connections WHERE owner_id = %(owner)s
