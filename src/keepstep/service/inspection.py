"""Looking at an integration: is it there, what does it answer, how is it set up, does its data fit the tables?"""

from collections.abc import Mapping
from typing import Annotated

from keepstep.integrations.registry import Registered
from keepstep.model.errors import BadRequest, NotFound
from keepstep.model.integration import Check, Entity, Ping
from keepstep.service.connectors import Connectors
from keepstep.service.settings import Preferences
from keepstep.service.setup import Setup
from keepstep.service.shapes import Shape, one_of
from keepstep.service.status import HealthView, Overview
from keepstep.service.upstream import CheckAnswer, PingAnswer, check_answer, ping_answer
from keepstep.store import tables
from keepstep.store.db import Database

_OF_EVERY_SCHEDULE = ("AUTO_SYNC_", "SYNC_ENTITIES")


class IntegrationView(Shape):
    """One integration. ``rateLimit`` says in words what its vendor allows."""

    key: str
    title: str
    icon: str
    colour: str
    configured: bool
    entities: list[str]
    rate_limit: str
    health: HealthView


class SchemaColumn(Shape):
    """One name of the payload, the documentation or the table.

    ``verdict``: ``column`` it has one; ``extra`` kept in ``_extra``; ``absent`` from what was looked at; ``missing``
    from the table until the next run adds it; ``unknown``: a column that is not of Keepstep's making.
    """

    field: str | None
    column: str | None
    type: str | None
    in_payload: bool
    in_table: bool
    verdict: Annotated[str, one_of("column", "extra", "absent", "missing", "unknown")]


class SchemaDiff(Shape):
    """The names that upstream gives against the columns of the table. ``table`` is null while there is none."""

    integration: str
    entity: str
    table: str | None
    upstream: CheckAnswer
    columns: list[SchemaColumn]
    payload_keys: list[str]


class Inspection:
    """Answers about integrations."""

    def __init__(
        self, database: Database, registered: Mapping[str, Registered], connectors: Connectors,
        preferences: Preferences, overview: Overview,
    ) -> None:  # fmt: skip
        self._database = database
        self.registered = registered
        self._connectors = connectors
        self._preferences = preferences
        self._overview = overview

    def known(self, key: str) -> Registered:
        """An integration. Raises ``NotFound``."""
        if key not in self.registered:
            raise NotFound(f"There is no integration {key}.", fix=f"Known are: {', '.join(self.registered)}.")
        return self.registered[key]

    async def all(self) -> list[IntegrationView]:
        """Every integration."""
        return [
            IntegrationView(
                key=key,
                title=one.title,
                icon=one.icon,
                colour=one.colour,
                configured=await self._connectors.is_configured(key),
                entities=[entity.name for entity in one.entities],
                rate_limit=one.limits,
                health=await self._overview.health(key),
            )
            for key, one in self.registered.items()
        ]

    async def is_configured(self, key: str) -> bool:
        """Whether an integration has credentials."""
        return await self._connectors.is_configured(key)

    async def ping(self, key: str) -> PingAnswer:
        """Whether upstream answers and takes the credentials. Raises ``NotFound``."""
        one = self.known(key)
        try:
            async with self._connectors.lent(key) as (connector, _):
                return ping_answer(await connector.ping())
        except BadRequest as refusal:
            words, fix = refusal.message, refusal.fix
            return ping_answer(Ping(False, "failing", words, one.default_base_url, False, 0, 0, fix=fix))

    async def check(self, key: str, endpoint: str, *, page_size: int) -> CheckAnswer:
        """What one endpoint answers. Raises ``NotFound``."""
        return check_answer(await self._check(self.known(key), endpoint, page_size))

    async def config(self, key: str) -> Setup:
        """What concerns an integration among the settings, masked, and what is wrong with it. Raises ``NotFound``."""
        self.known(key)
        setup = await self._preferences.setup()
        prefixes = (f"{key.upper()}_", *_OF_EVERY_SCHEDULE)
        return Setup(
            settings=[line for line in setup.settings if line.variable.startswith(prefixes)],
            warnings=[advice for advice in setup.warnings if advice.about == key or advice.about.startswith(prefixes)],
        )

    async def schema_diff(self, key: str, name: str) -> SchemaDiff:
        """What upstream gives against what the table holds. Raises ``NotFound``, ``BadRequest``."""
        one = self.known(key)
        entity = one.entity(name)
        check = await self._check(one, name, 1)
        async with self._database.connection() as connection:
            columns = await tables.columns(connection, key, entity)
            beside = [] if columns is None else await tables.extra_keys(connection, key, entity)
        payload = list(dict.fromkeys((*check.first_item_keys, *beside)))
        return SchemaDiff(
            integration=key,
            entity=name,
            table=None if columns is None else f"{key}.{name}",
            upstream=check_answer(check),
            columns=compared(entity, payload, columns),
            payload_keys=payload,
        )

    async def _check(self, one: Registered, endpoint: str, page_size: int) -> Check:
        try:
            async with self._connectors.lent(one.key) as (connector, _):
                return await connector.check(endpoint, page_size=page_size)
        except BadRequest as refusal:
            return Check(None, endpoint, (), None, refusal.message, False, refusal.fix)


def compared(entity: Entity, payload: list[str], columns: Mapping[str, str] | None) -> list[SchemaColumn]:
    """Every name once: the documented ones in their order, then what else upstream gives, then what else is there."""
    table = columns or {}
    found = []
    for field in entity.fields:
        present = field.column in table
        in_payload = field.name in payload
        verdict = "missing" if not present else "column" if in_payload else "absent"
        found.append(_column(field.name, field.column, field.kind.value, in_payload, present, verdict))
    documented = {entity.key, *(field.name for field in entity.fields)}
    found += [_column(name, None, None, True, False, "extra") for name in payload if name not in documented]
    ours = {entity.key, *(field.column for field in entity.fields)}
    found += [
        _column(None, name, type_, False, True, "unknown")
        for name, type_ in table.items()
        if name not in ours and not name.startswith("_")
    ]
    return found


def _column(
    field: str | None, column: str | None, type_: str | None, in_payload: bool, in_table: bool, verdict: str
) -> SchemaColumn:
    return SchemaColumn(
        field=field, column=column, type=type_, in_payload=in_payload, in_table=in_table, verdict=verdict
    )
