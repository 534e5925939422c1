"""What upstream gives against what the tables hold, and what becomes of fields that are not documented."""

from collections.abc import Mapping, Sequence
from typing import Annotated

from keepstep.model.errors import BadRequest
from keepstep.model.integration import KEY_COLUMN, Check, Entity, Field, Kind
from keepstep.model.schema import SchemaPolicies, SchemaPolicy
from keepstep.service.inspection import Inspection
from keepstep.service.settings import Preferences
from keepstep.service.shapes import Absent, Shape, one_of
from keepstep.service.upstream import CheckAnswer, check_answer
from keepstep.store import schema_fields, tables
from keepstep.store.db import Database
from keepstep.store.schema_fields import MetField

SAMPLE = 50
"""Records that upstream is asked for."""
VARIABLE = "KEEPSTEP_SCHEMA_POLICY"
_FITTING: Mapping[Kind, frozenset[str]] = {
    Kind.TEXT: frozenset(("text",)),
    Kind.BOOLEAN: frozenset(("boolean",)),
    Kind.INTEGER: frozenset(("number",)),
    Kind.NUMERIC: frozenset(("number",)),
    Kind.TIMESTAMP: frozenset(("text",)),
    Kind.DATE: frozenset(("text",)),
    Kind.JSON: frozenset(("text", "number", "boolean", "object", "list")),
}


class SchemaColumn(Shape):
    """One name of the payload, the documentation or the table.

    ``verdict``: ``column`` it has one; ``extra`` kept in ``_extra``; ``absent`` from what was looked at; ``missing``
    from the table until the next run adds it; ``unknown``: a column that is not of Keepstep's making. ``change``: how
    that differs from the documentation. ``types``: how many of the sampled values are of which JSON type. ``rows``: how
    many rows of the table have it, and not null; null where there is no table. ``evolved``: not documented, and given
    its column by the policy. ``note``: why it cannot have one.
    """

    field: str | None
    column: str | None
    type: str | None
    in_payload: bool
    in_table: bool
    verdict: Annotated[str, one_of("column", "extra", "absent", "missing", "unknown")]
    change: Annotated[str, one_of("new", "missing", "type-changed")] | None = None
    types: dict[str, int]
    rows: int | None
    evolved: bool = False
    note: Annotated[str | None, Absent] = None


class SchemaDiff(Shape):
    """The names and types that upstream gives against the columns of the table. ``table`` is null while there is none.

    ``new``: without a column; ``missing``: documented, and in none of the ``sampled`` records; ``typeChanged``: with a
    type that its column does not hold. ``exact``: whether the counts of ``rows`` are, or estimated from a part of a
    large table. ``policy``: what becomes of new ones.
    """

    integration: str
    entity: str
    table: str | None
    upstream: CheckAnswer
    policy: SchemaPolicy
    sampled: int
    exact: bool
    new: list[str]
    missing: list[str]
    type_changed: list[str]
    columns: list[SchemaColumn]
    payload_keys: list[str]


class PolicyView(Shape):
    """The policy of one entity. ``locked``: the environment gives it."""

    integration: str
    entity: str
    policy: SchemaPolicy
    locked: bool


class Schemas:
    """Answers and decides about schemas."""

    def __init__(self, database: Database, inspection: Inspection, preferences: Preferences) -> None:
        self._database = database
        self._inspection = inspection
        self._preferences = preferences

    async def diff(self, key: str, name: str) -> SchemaDiff:
        """What upstream gives against what the table holds. Raises ``NotFound``, ``BadRequest``."""
        entity = self._inspection.known(key).entity(name)
        check = await self._inspection.sample(key, name, SAMPLE)
        async with self._database.connection() as connection:
            met = await schema_fields.of_shared(connection, key, name)
            columns = await tables.columns(connection, key, entity)
            counts = None if columns is None else await tables.counts(connection, key, entity, columns)
        beside = () if counts is None else sorted(counts.beside)
        payload = list(dict.fromkeys((*check.first_item_keys, *check.types, *beside)))
        found = compared(entity, check, payload, columns, counts, met)
        return SchemaDiff(
            integration=key,
            entity=name,
            table=None if columns is None else f"{key}.{name}",
            upstream=check_answer(check),
            policy=(await self._policies()).of(name),
            sampled=check.sampled,
            exact=counts is None or counts.exact,
            new=_changed(found, "new"),
            missing=_changed(found, "missing"),
            type_changed=_changed(found, "type-changed"),
            columns=found,
            payload_keys=payload,
        )

    async def policies(self, key: str) -> list[PolicyView]:
        """The policy of every entity. Raises ``NotFound``."""
        policies, locked = await self._policies(), await self._is_locked()
        return [
            PolicyView(integration=key, entity=entity.name, policy=policies.of(entity.name), locked=locked)
            for entity in self._inspection.known(key).entities
        ]

    async def choose(self, key: str, name: str, policy: str | None, *, by: str) -> PolicyView:
        """Give an entity another policy, from its next run on; None: the default.

        Raises ``NotFound``, ``BadRequest``, and ``Conflict`` where the environment gives the policies.
        """
        entity = self._inspection.known(key).entity(name).name
        text = str((await self._policies()).with_own(entity, _policy(policy)))
        await self._preferences.choose(VARIABLE, text, by=by)
        return PolicyView(integration=key, entity=entity, policy=(await self._policies()).of(entity), locked=False)

    async def _policies(self) -> SchemaPolicies:
        return SchemaPolicies.parsed(await self._line("value"))

    async def _is_locked(self) -> bool:
        return await self._line("locked") == "True"

    async def _line(self, member: str) -> str:
        setup = await self._preferences.setup()
        return next(str(getattr(line, member)) for line in setup.settings if line.variable == VARIABLE)


def _policy(text: str | None) -> SchemaPolicy | None:
    try:
        return None if text is None else SchemaPolicy(text.strip().lower())
    except ValueError:
        known = ", ".join(SchemaPolicy)
        raise BadRequest(f"There is no policy {text!r}.", fix=f"Known are: {known}.") from None


def compared(
    entity: Entity, check: Check, payload: Sequence[str], columns: Mapping[str, str] | None,
    counts: tables.Counts | None, met: Sequence[MetField] = (),
) -> list[SchemaColumn]:  # fmt: skip
    """Every name once: the documented ones in their order, the evolved, then what else upstream gives or is there."""
    table, notes = columns or {}, {one.field: one.note for one in met}
    whole = schema_fields.extended(entity, met)
    found = [_field(field, check, payload, table, counts) for field in whole.fields]
    known = {entity.key, *(field.name for field in whole.fields)}
    found += [
        SchemaColumn(
            field=name, column=None, type=None, in_payload=True, in_table=False, verdict="extra", change="new",
            types=dict(check.types.get(name, {})), rows=None if counts is None else counts.beside.get(name, 0),
            note=notes.get(name),
        )
        for name in payload if name not in known
    ]  # fmt: skip
    ours = {KEY_COLUMN, *(field.column for field in whole.fields)}
    found += [
        SchemaColumn(
            field=None, column=name, type=type_, in_payload=False, in_table=True, verdict="unknown", types={},
            rows=None if counts is None else counts.columns.get(name, 0),
        )
        for name, type_ in table.items() if name not in ours and not name.startswith("_")
    ]  # fmt: skip
    return found


def _field(
    field: Field, check: Check, payload: Sequence[str], table: Mapping[str, str], counts: tables.Counts | None
) -> SchemaColumn:
    present, in_payload = field.column in table, field.name in payload
    types = dict(check.types.get(field.name, {}))
    change = None
    if set(types) - _FITTING[field.kind] - {"null"}:
        change = "type-changed"
    elif check.sampled and not types and not field.evolved:
        change = "missing"
    rows = None if counts is None else counts.columns.get(field.column, 0) + counts.beside.get(field.name, 0)
    return SchemaColumn(
        field=field.name, column=field.column, type=field.kind.value, in_payload=in_payload, in_table=present,
        verdict="missing" if not present else "column" if in_payload else "absent", change=change, types=types,
        rows=rows, evolved=field.evolved,
    )  # fmt: skip


def _changed(found: Sequence[SchemaColumn], change: str) -> list[str]:
    return [column.field for column in found if column.change == change and column.field is not None]
