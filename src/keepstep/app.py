"""The composition root: reads the settings, builds every part once, by hand, and takes them down in reverse."""

import asyncio
import contextlib
import os
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import structlog
from pydantic import SecretStr

from keepstep.alerts.alerter import Arrangement
from keepstep.config import Settings, catalogue, oddities, unknown_entities
from keepstep.config.rules import minutes_of
from keepstep.config.upstreams import demonstration, erp_given, host_rules, locked_credentials, values_of, with_stored
from keepstep.integrations.http import is_loopback
from keepstep.integrations.registry import Values, integrations
from keepstep.model.errors import StoreError
from keepstep.model.integration import Integration
from keepstep.model.run import Policy
from keepstep.model.schema import SchemaPolicies
from keepstep.reliability import tracing
from keepstep.reliability.masking import is_secret, secrets_within
from keepstep.reliability.politeness import Rules
from keepstep.service.accounts import Accounts
from keepstep.service.agents import Agents
from keepstep.service.alerts import Alerts
from keepstep.service.audit import Audit
from keepstep.service.auto_sync import AutoSync
from keepstep.service.commands import Commands
from keepstep.service.connectors import Connectors, InEffect
from keepstep.service.consent import Consents
from keepstep.service.core import Service
from keepstep.service.documents import Documents
from keepstep.service.errors_view import Errors
from keepstep.service.feed import Feed
from keepstep.service.health_history import HealthHistory
from keepstep.service.home import made_once
from keepstep.service.inspection import Inspection
from keepstep.service.limits import Limits
from keepstep.service.mailboxes import KEY as MAIL
from keepstep.service.mailboxes import Mailboxes
from keepstep.service.owners import OwnerConnections
from keepstep.service.pinger import Pinger
from keepstep.service.schedules import VARIABLES, Given, Schedules
from keepstep.service.schema import Schemas
from keepstep.service.settings import Chosen, Effective, Preferences
from keepstep.service.setup import Advice, SettingLine, Setup
from keepstep.service.standing import Troubles
from keepstep.service.status import Overview
from keepstep.service.sync_types import SyncTypes
from keepstep.service.vault import Credentials, Vault
from keepstep.service.views import Views
from keepstep.store.db import Database
from keepstep.store.embedded import EmbeddedPostgres
from keepstep.store.migrate import migrate

if TYPE_CHECKING:
    from keepstep.web.server import Place

_CREDENTIALS = {"doorloop": ("apiKey",), "erp": ("username", "password")}
"""What each integration's stored credentials are called."""


class App:
    """Keepstep with these settings: what ``cli`` calls its parts. Nothing is opened before ``open``.

    ``registered`` are the integrations with one connection that all share, ``known`` those of owners as well.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.known = integrations()
        self.registered = MappingProxyType({key: one for key, one in self.known.items() if not one.per_owner})
        self._stored_secrets: frozenset[str] = frozenset()

    @property
    def home(self) -> Path:
        """The directory of the embedded database, its secrets and its logs."""
        return self.settings.home

    @property
    def embedded(self) -> bool:
        """Whether the database is the embedded one."""
        return self.settings.database_url is None

    @property
    def allow_backfill(self) -> bool:
        """Whether people may start a full run by hand."""
        return self.settings.allow_manual_backfill

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every secret in the settings and every stored one met so far, to be masked in whatever is written."""
        values = (getattr(self.settings, name) for name in type(self.settings).model_fields)
        whole = [value.get_secret_value() for value in values if isinstance(value, SecretStr)]
        return (*whole, *(part for secret in whole for part in secrets_within(secret)), *self._stored_secrets)

    def values(self, key: str) -> Values:
        """What the settings say about an integration."""
        return values_of(self.settings, key)

    def configured(self, key: str) -> bool:
        """Whether an integration has credentials."""
        return self.values(key).usable

    def connector(self, key: str) -> Integration:
        """An integration with its settings, without a database; close it with ``aclose``."""
        return self.registered[key].build(self.values(key))

    def on_loopback(self, key: str) -> bool:
        """Whether an integration's upstream is on this machine, as an emulator is."""
        return is_loopback(urlsplit(self.values(key).base_url).hostname or "")

    def default_entities(self, key: str) -> tuple[str, ...]:
        """What a run without names reads: ``SYNC_ENTITIES``, without the names that no entity has.

        Of what belongs to owners everything: sync types and auto-sync say what is read there.
        """
        one = self.known[key]
        known = {entity.name: entity for entity in one.entities}
        if one.agents or one.per_owner:
            return tuple(known)
        return tuple(name for name in self.settings.sync_entities if name in known)

    def in_effect(self, key: str, chosen: Chosen, stored: Mapping[str, str], *, own: bool = False) -> InEffect:
        """What holds for an integration, with what people chose and the credentials that they stored.

        ``own``: an owner's, which the environment's do not replace.
        """
        app = self.with_chosen(chosen)
        self._stored_secrets |= frozenset(value for name, value in stored.items() if value and is_secret(name))
        values = app.values(key)
        if own or key not in locked_credentials(self.settings):
            values = with_stored(values, stored)
        policy = Policy(
            drop_percent=app.settings.drop_guard_percent,
            drop_floor=app.settings.drop_guard_floor,
            schema=SchemaPolicies.parsed(app.settings.schema_policy),
        )
        return InEffect(values, app.rules(key), policy)

    def rules(self, key: str) -> Rules:
        """How politely an integration's upstream is asked."""
        values = self.values(key)
        return Rules(
            max_concurrency=values.max_concurrency,
            per_second=values.rate_limit_rps,
            windows=self.known[key].windows,
            breaker_threshold=self.settings.breaker_threshold,
            breaker_cooldown=self.settings.breaker_cooldown_s,
        )

    def with_chosen(self, chosen: Chosen) -> "App":
        """The same with what people chose where the environment leaves it open."""
        return App(catalogue.in_effect(self.settings, chosen))

    def setup(self, chosen: Chosen = MappingProxyType({})) -> Setup:
        """Every setting, masked, and what is wrong with them, with what people chose."""
        return self.with_chosen(chosen)._setup(catalogue.lines(self.settings, chosen))

    def _setup(self, lines: list[SettingLine]) -> Setup:
        known = [entity.name for registered in self.registered.values() for entity in registered.entities]
        problems = [*self.settings.problems, *unknown_entities(self.settings, known), *oddities(self.settings)]
        advice = [
            Advice(about=key, message=message, fix=fix)
            for key, registered in self.known.items()
            for message, fix in registered.warnings(self.values(key))
        ]
        if self.embedded and self.settings.direct_database_url is not None:
            about, where = "KEEPSTEP_DIRECT_DATABASE_URL", "DATABASE_URL"
            words = f"{about} is given, but {where} is not: the embedded database is in use."
            advice.append(
                Advice(about=about, message=words, fix=f"Set {where} too; without a pooler it is enough alone.")
            )
        return Setup(
            settings=lines,
            warnings=[Advice(about=p.variable, message=p.message, fix=p.fix) for p in problems] + advice,
        )

    def site(self) -> "_Site":
        """The web server's place, taken. Raises ``BadRequest`` where another program has it."""
        from keepstep.web.server import Place  # most commands need no web server, and it takes a while to load

        return _Site(Place(self.settings.host, self.settings.port), self.settings.allowed_origins)

    def token(self) -> str:
        """The bearer token with the admin role. Raises ``StoreError`` where one must be made and cannot be kept."""
        given = self.settings.admin_token
        token = given.get_secret_value() if given else made_once(self.home / "admin-token")
        self._stored_secrets |= {token}
        return token

    def _admin_token(self) -> str | None:
        """The same, or None where it cannot be kept: there is none then, and everything else works."""
        with contextlib.suppress(StoreError):
            return self.token()
        return None

    def _secret_keys(self) -> tuple[str, ...]:
        """What encrypts stored credentials, the key to encrypt with first. Raises ``StoreError``."""
        given = tuple(key.get_secret_value() for key in self.settings.secret_keys)
        return given or (made_once(self.home / "secret-key"),)

    def _scheduled(self) -> dict[str, Given]:
        """What the settings say about each integration that has a schedule."""
        settings = self.settings
        entities = self.default_entities("doorloop") or tuple(e.name for e in self.registered["doorloop"].entities)
        values = {
            "enabled": settings.auto_sync_enabled, "interval_minutes": settings.auto_sync_interval_minutes,
            "full_at_hour_utc": settings.auto_sync_full_at_hour_utc, "entities": entities,
        }  # fmt: skip
        locked = frozenset(name for name, variable in VARIABLES.items() if variable in settings.locked)
        missing = "" if self.configured("doorloop") else "DOORLOOP_API_KEY"
        return {"doorloop": Given(values, locked, missing)}

    def demonstration(self, base_url: str, api_key: str) -> "App":
        """The same on the embedded database, whatever ``DATABASE_URL`` says, reading an emulated DoorLoop."""
        return App(demonstration(self.settings, base_url, api_key))

    @asynccontextmanager
    async def open(
        self, *, migrated: bool = True, pooled: bool = False, on_wait: Callable[[str], None] | None = None
    ) -> AsyncIterator[Service]:
        """The service on its database, brought up to date unless ``migrated`` is False.

        ``pooled``: for a process that stays, with connections kept open. ``on_wait`` is told what a slow start of the
        embedded database is doing. Raises ``StoreError``.
        """
        async with AsyncExitStack() as stack:
            database, embedded = await self._database(stack, on_wait)
            if migrated:
                async with database.connection() as connection:
                    await migrate(connection)
            if pooled:
                await stack.enter_async_context(database.pooled())
            service = self._service(database, embedded)
            stack.push_async_callback(service.connectors.aclose)
            yield service

    def working(
        self, service: Service, *, concurrency: int, patience: float | None
    ) -> "AbstractAsyncContextManager[asyncio.Task[None]]":
        """Dispatch schedules and perform runs while the block lasts; gives what ends when that cannot go on."""
        from keepstep import always_on

        return always_on.working(service, concurrency=concurrency, patience=patience)

    def looked_after(self, service: Service) -> "AbstractAsyncContextManager[None]":
        """Recover what dead processes left while the block lasts."""
        from keepstep import always_on

        return always_on.looked_after(service)

    def traced(self) -> "AbstractContextManager[None]":
        """Send traces while the block lasts, if the environment says where to."""
        if not tracing.wanted(os.environ):
            return contextlib.nullcontext()
        if not tracing.installed():
            structlog.get_logger().warning("traces are wanted but cannot be sent", fix="pip install 'keepstep[otel]'")
            return contextlib.nullcontext()
        return tracing.exported(version("keepstep"))

    async def _database(self, stack: AsyncExitStack, on_wait: Callable[[str], None] | None) -> tuple[Database, bool]:
        if self.settings.database_url is not None:
            direct = self.settings.direct_database_url
            database = Database(
                self.settings.database_url.get_secret_value(), direct=direct.get_secret_value() if direct else None
            )
            if direct is not None:
                await database.require_one_place()
            return database, False
        opening = asyncio.create_task(asyncio.to_thread(EmbeddedPostgres.open, self.home, on_wait=on_wait))
        try:
            server = await asyncio.shield(opening)
        except asyncio.CancelledError:  # a thread cannot be stopped: let it finish, and leave no server behind
            (await opening).close()
            raise
        stack.callback(server.close)
        await stack.enter_async_context(server.kept(on_wait))
        return Database(server.dsn), True

    def _service(self, database: Database, embedded: bool) -> Service:
        entities = {key: one.entities for key, one in self.known.items()}
        shared = {key: entities[key] for key in self.registered}
        audit = Audit(database, lambda: self.secrets)
        vault = Vault(self._secret_keys)
        preferences = Preferences(database, _Catalogue(self), vault, audit)
        limits = Limits(database, self.rules, audit)
        names = {key: [entity.name for entity in known] for key, known in entities.items()}
        typed = {
            key: [entity.name for entity in one.entities if not entity.owned]
            for key, one in self.registered.items() if one.agents
        }  # fmt: skip
        schedules = Schedules(database, audit, {key: names[key] for key in shared}, self._scheduled(), typed)
        credentials = Credentials(database, vault, audit, _CREDENTIALS, locked_credentials(self.settings), schedules)
        of_owners = {
            key: [entity.name for entity in one.entities if entity.owned or not one.agents]
            for key, one in self.known.items()
        }  # fmt: skip
        owners = OwnerConnections(database, vault, audit, of_owners)
        troubles = Troubles(database, credentials, preferences, self.home)
        overview = Overview(database, shared, schedules, limits, preferences, troubles)
        documents = Documents(database, vault)
        agents = Agents(database, audit, owners, erp_given(self.settings))
        connectors = Connectors(database, self.known, preferences, credentials, self.in_effect, owners, documents)
        pinger = Pinger(database, connectors, limits, preferences, self.registered)
        inspection = Inspection(self.known, connectors, preferences, overview, owners, agents, pinger)

        async def arrangement() -> Arrangement:
            titles = {key: one.title for key, one in self.known.items()}
            return replace((await preferences.effective()).arrangement, titles=titles)

        async def consent_setting(key: str) -> tuple[Values, str]:
            app = self.with_chosen(await preferences.chosen())
            return app.values(key), (app.settings.public_url or "").rstrip("/")

        return Service(
            commands=Commands(database, connectors.lent, entities, audit),
            views=Views(database),
            accounts=Accounts(database, audit, admin_token=self._admin_token, host=host_rules(self.settings)),
            audit=audit,
            schedules=schedules,
            auto_sync=AutoSync(database, audit, names),
            owners=owners,
            consents=Consents(self.known, consent_setting, owners, vault, audit),
            mailboxes=Mailboxes(database, self.known[MAIL], consent_setting, owners, audit),
            sync_types=SyncTypes(database, audit, minutes_of(self.settings.sync_intervals)),
            agents=agents,
            credentials=credentials,
            documents=documents,
            connectors=connectors,
            preferences=preferences,
            limits=limits,
            pinger=pinger,
            overview=overview,
            inspection=inspection,
            schemas=Schemas(database, inspection, preferences),
            errors=Errors(database),
            health_history=HealthHistory(database, overview, tuple(self.registered)),
            alerts=Alerts(database, audit, arrangement),
            feed=Feed(database),
            database=database,
            dsn=database.direct,
            embedded=embedded,
        )


class _Site:
    """The place of the web application, which is made once there is a service to serve."""

    def __init__(self, place: "Place", allowed: Collection[str]) -> None:
        self._place = place
        self._allowed = allowed
        self.url = place.url

    @asynccontextmanager
    async def serving(self, service: Service) -> AsyncIterator[None]:
        """Answer for a service while the block lasts."""
        from keepstep.web.app import create_app

        web = create_app(service, version=version("keepstep"), allowed=self._allowed)
        async with self._place.answering(web):
            try:
                yield
            finally:
                await service.feed.aclose()  # or the server would wait for its browsers

    def close(self) -> None:
        """Give up the place."""
        self._place.close()


@dataclass(frozen=True, slots=True)
class _Catalogue:
    """What ``Preferences`` asks about settings."""

    app: App

    def setup(self, chosen: Chosen) -> Setup:
        return self.app.setup(chosen)

    def effective(self, chosen: Chosen) -> Effective:
        return catalogue.effective(self.app.with_chosen(chosen).settings)

    def refusal(self, variable: str, text: str) -> tuple[str, str] | None:
        return catalogue.refusal(variable, text)

    def is_secret(self, variable: str) -> bool:
        return catalogue.is_secret(variable)
