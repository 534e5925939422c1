"""What the commands are handed: a Keepstep that is set up but not opened. ``app.App`` is one."""

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import typer

if TYPE_CHECKING:
    import asyncio

    from keepstep.integrations.registry import Registered
    from keepstep.model.integration import Integration
    from keepstep.service.core import Service
    from keepstep.service.setup import Setup


class Site(Protocol):
    """The web application, on a port that is its own until ``close``."""

    url: str

    def serving(self, service: "Service") -> AbstractAsyncContextManager[None]:
        """Answer for a service while the block lasts."""
        ...

    def close(self) -> None:
        """Give up the port."""
        ...


class Parts(Protocol):
    """A Keepstep with its settings."""

    @property
    def known(self) -> "Mapping[str, Registered]":
        """Every integration by its key."""
        ...

    @property
    def registered(self) -> "Mapping[str, Registered]":
        """Those with one connection for all."""
        ...

    @property
    def home(self) -> Path:
        """The directory of the embedded database, its secrets and its logs."""
        ...

    @property
    def embedded(self) -> bool:
        """Whether the database is the embedded one."""
        ...

    @property
    def allow_backfill(self) -> bool:
        """Whether people may start a full run by hand."""
        ...

    @property
    def secrets(self) -> tuple[str, ...]:
        """Every secret in the settings."""
        ...

    def configured(self, key: str) -> bool:
        """Whether an integration has credentials."""
        ...

    def connector(self, key: str) -> "Integration":
        """An integration with its settings, without a database; close it with ``aclose``."""
        ...

    def on_loopback(self, key: str) -> bool:
        """Whether an integration's upstream is on this machine, as an emulator is."""
        ...

    def default_entities(self, key: str) -> tuple[str, ...]:
        """What a run without names reads."""
        ...

    def setup(self) -> "Setup":
        """Every setting, masked, and what is wrong with them."""
        ...

    def site(self) -> Site:
        """The web server's place, taken. Raises ``BadRequest`` where another program has it."""
        ...

    def token(self) -> str:
        """The bearer token with the admin role. Raises ``StoreError``."""
        ...

    def demonstration(self, base_url: str, api_key: str) -> "Parts":
        """The same on the embedded database, reading an emulated DoorLoop."""
        ...

    def open(
        self, *, migrated: bool = True, pooled: bool = False, on_wait: Callable[[str], None] | None = None
    ) -> "AbstractAsyncContextManager[Service]":
        """The service on its database; ``pooled`` where it stays open for long. Raises ``StoreError``."""
        ...

    def working(
        self, service: "Service", *, concurrency: int, patience: float | None
    ) -> "AbstractAsyncContextManager[asyncio.Task[None]]":
        """Dispatch schedules and perform runs while the block lasts; gives what ends when that cannot go on."""
        ...

    def looked_after(self, service: "Service") -> AbstractAsyncContextManager[None]:
        """Recover what dead processes left while the block lasts."""
        ...

    def traced(self) -> AbstractContextManager[None]:
        """Send traces while the block lasts, if the environment says where to."""
        ...


MakeParts = Callable[[], Parts]


def parts_of(context: typer.Context) -> Parts:
    """The parts, made when the first command asks for them."""
    make: MakeParts = context.find_root().obj
    return make()


def made_at_most_once(make: MakeParts) -> MakeParts:
    """The same parts for everyone who asks in this process."""
    return cache(make)
