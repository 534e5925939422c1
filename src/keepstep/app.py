"""The composition root: reads the settings, builds every part once, by hand, and takes them down in reverse."""

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from pydantic import SecretStr

from keepstep.config import Settings, describe, unknown_entities
from keepstep.integrations.http import is_loopback
from keepstep.integrations.registry import Values, integrations
from keepstep.model.integration import Integration
from keepstep.model.run import Policy
from keepstep.service.commands import Commands
from keepstep.service.core import Service
from keepstep.service.home import made_once
from keepstep.service.setup import Advice, SettingLine, Setup
from keepstep.service.views import Views
from keepstep.store.db import Database
from keepstep.store.embedded import EmbeddedPostgres
from keepstep.store.migrate import migrate

if TYPE_CHECKING:
    from keepstep.web.server import Site


class App:
    """Keepstep with these settings: what ``cli`` calls its parts. Nothing is opened before ``open``."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.registered = integrations()

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
        """Every secret in the settings, to be masked in what is written about a crash."""
        values = (getattr(self.settings, name) for name in type(self.settings).model_fields)
        whole = [value.get_secret_value() for value in values if isinstance(value, SecretStr)]
        return (*whole, *(part for secret in whole for part in _passwords(secret)))

    def values(self, key: str) -> Values:
        """What the settings say about an integration."""
        settings = self.settings
        assert key == "doorloop", key  # noqa: S101 - one integration so far
        return Values(
            base_url=settings.doorloop_base_url,
            api_key=settings.doorloop_api_key.get_secret_value() if settings.doorloop_api_key else "",
            page_size=settings.doorloop_page_size,
            max_concurrency=settings.doorloop_max_concurrency,
            rate_limit_rps=settings.doorloop_rate_limit_rps,
        )

    def configured(self, key: str) -> bool:
        """Whether an integration has credentials."""
        return bool(self.values(key).api_key.strip())

    def connector(self, key: str) -> Integration:
        """An integration with its settings, without a database; close it with ``aclose``."""
        return self.registered[key].build(self.values(key))

    def on_loopback(self, key: str) -> bool:
        """Whether an integration's upstream is on this machine, as an emulator is."""
        return is_loopback(urlsplit(self.values(key).base_url).hostname or "")

    def default_entities(self, key: str) -> tuple[str, ...]:
        """What a run without names reads: ``SYNC_ENTITIES``, without the names that no entity has."""
        known = {entity.name for entity in self.registered[key].entities}
        return tuple(name for name in self.settings.sync_entities if name in known)

    def policy(self) -> Policy:
        """The numbers that runs follow."""
        return Policy(
            drop_percent=self.settings.drop_guard_percent,
            drop_floor=self.settings.drop_guard_floor,
        )

    def setup(self) -> Setup:
        """Every setting, masked, and what is wrong with them."""
        known = [entity.name for registered in self.registered.values() for entity in registered.entities]
        problems = [*self.settings.problems, *unknown_entities(self.settings, known)]
        advice = [
            Advice(about=key, message=message, fix=fix)
            for key, registered in self.registered.items()
            for message, fix in registered.warnings(self.values(key))
        ]
        return Setup(
            settings=[
                SettingLine(variable=line.variable, value=line.value, source=line.source, note=line.note)
                for line in describe(self.settings)
            ],
            warnings=[Advice(about=p.variable, message=p.message, fix=p.fix) for p in problems] + advice,
        )

    def site(self) -> "Site":
        """The web server's place, taken. Raises ``BadRequest`` where another program has it."""
        from keepstep.web.app import create_app  # most commands need no web server, and it takes a while to load
        from keepstep.web.server import Site

        return Site(create_app(version("keepstep")), self.settings.host, self.settings.port)

    def token(self) -> str:
        """The bearer token with the admin role. Raises ``StoreError`` where one must be made and cannot be kept."""
        given = self.settings.admin_token
        return given.get_secret_value() if given else made_once(self.home / "admin-token")

    def demonstration(self, base_url: str, api_key: str) -> "App":
        """The same on the embedded database, whatever ``DATABASE_URL`` says, reading an emulated DoorLoop."""
        changes = {
            "database_url": None,
            "doorloop_base_url": base_url,
            "doorloop_api_key": SecretStr(api_key),
            "allow_manual_backfill": True,
        }
        return App(self.settings.model_copy(update=changes))

    @asynccontextmanager
    async def open(
        self, *, migrated: bool = True, on_wait: Callable[[str], None] | None = None
    ) -> AsyncIterator[Service]:
        """The service on its database, brought up to date unless ``migrated`` is False.

        ``on_wait`` is told what a slow start of the embedded database is doing. Raises ``StoreError``.
        """
        async with AsyncExitStack() as stack:
            dsn, embedded = await self._database(stack, on_wait)
            database = Database(dsn)
            if migrated:
                async with database.connection() as connection:
                    await migrate(connection)
            built = {key: self.connector(key) for key in self.registered if self.configured(key)}
            for integration in built.values():
                stack.push_async_callback(integration.aclose)
            yield self._service(database, built, dsn, embedded)

    async def _database(self, stack: AsyncExitStack, on_wait: Callable[[str], None] | None) -> tuple[str, bool]:
        if self.settings.database_url is not None:
            return self.settings.database_url.get_secret_value(), False
        opening = asyncio.create_task(asyncio.to_thread(EmbeddedPostgres.open, self.home, on_wait=on_wait))
        try:
            server = await asyncio.shield(opening)
        except asyncio.CancelledError:  # a thread cannot be stopped: let it finish, and leave no server behind
            (await opening).close()
            raise
        stack.callback(server.close)
        return server.dsn, True

    def _service(self, database: Database, built: Mapping[str, Integration], dsn: str, embedded: bool) -> Service:
        entities = {key: known.entities for key, known in self.registered.items()}
        return Service(
            commands=Commands(database, MappingProxyType(dict(built)), entities, self.policy()),
            views=Views(database),
            integrations=MappingProxyType(dict(built)),
            database=database,
            dsn=dsn,
            embedded=embedded,
        )


def _passwords(secret: str) -> list[str]:
    """The password within an address, as written and as meant."""
    try:
        password = urlsplit(secret).password or ""
    except ValueError:
        password = ""
    return [password, unquote(password)]
