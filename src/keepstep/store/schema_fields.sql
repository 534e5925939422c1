-- name: of_entity
-- Fields of an entity that are not documented, those with a column in a fixed order: the mapping's tag depends on it.
SELECT field, column_name, kind, first_seen, note FROM keepstep.schema_fields
WHERE connection_id = %(connection)s AND entity = %(entity)s ORDER BY field

-- name: of_shared
SELECT f.field, f.column_name, f.kind, f.first_seen, f.note
FROM keepstep.schema_fields f JOIN keepstep.connections c ON c.id = f.connection_id
WHERE c.integration = %(integration)s AND c.owner_id IS NULL AND f.entity = %(entity)s ORDER BY f.field

-- name: met
-- Fields that were met for the first time; gives those that nobody knew.
INSERT INTO keepstep.schema_fields (connection_id, entity, field, run_id)
SELECT %(connection)s, %(entity)s, field, %(run)s FROM unnest(%(fields)s::text[]) AS f (field)
ON CONFLICT (connection_id, entity, field) DO NOTHING
RETURNING field

-- name: evolved
INSERT INTO keepstep.schema_fields (connection_id, entity, field, column_name, kind, run_id)
VALUES (%(connection)s, %(entity)s, %(field)s, %(column)s, %(kind)s, %(run)s)
ON CONFLICT (connection_id, entity, field) DO UPDATE SET column_name = excluded.column_name, kind = excluded.kind, note = NULL

-- name: noted
INSERT INTO keepstep.schema_fields (connection_id, entity, field, note, run_id)
VALUES (%(connection)s, %(entity)s, %(field)s, %(note)s, %(run)s)
ON CONFLICT (connection_id, entity, field) DO UPDATE SET note = excluded.note
