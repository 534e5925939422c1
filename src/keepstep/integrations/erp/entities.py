"""The ERP's six entities, made from the layouts of its reports."""

from keepstep.integrations.erp.layout import LAYOUTS, LINEAGE, Column, Layout, Type
from keepstep.model.integration import Entity, Field, Kind

_KINDS = {Type.TEXT: Kind.TEXT, Type.NUMBER: Kind.NUMERIC, Type.WHOLE: Kind.INTEGER, Type.DATE: Kind.DATE}
_LINEAGE = tuple(
    Field(name, kind) for name, kind in zip(LINEAGE, (Kind.TEXT, Kind.INTEGER, Kind.INTEGER, Kind.TEXT), strict=True)
)


def _field(column: Column) -> Field:
    return Field(column.field, _KINDS[column.type])


def _entity(layout: Layout) -> Entity:
    """A report cannot shift, and where a row stands on it says nothing about the row. Agents own theirs."""
    fields = (*(_field(column) for column in layout.columns), *_LINEAGE)
    return Entity(layout.report, fields, volatile=frozenset(LINEAGE), can_shift=False, owned=layout.per_agent)


ENTITIES = tuple(_entity(layout) for layout in LAYOUTS.values())
"""In the order of reading: what others refer to comes first."""
