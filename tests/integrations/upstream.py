"""An upstream system as the conformance suite sees it, and what the suite needs to read it."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import cast

from keepstep.model.errors import AuthFailed, ChangesLost, NotData, Permanent, RateLimited, Transient, UpstreamError
from keepstep.model.integration import Entity, Integration, Mode, Page, Reading
from keepstep.reliability.clock import Clock

DEADLINE = 30.0

FAULTS: dict[str, type[UpstreamError]] = {
    "credentials refused": AuthFailed,
    "forbidden": Permanent,
    "not found": Permanent,
    "invalid request": Permanent,
    "long pause asked for": RateLimited,
    "server fault": Transient,
    "connection reset": Transient,
    "connection closed": Transient,
    "cut off": Transient,
    "cut off unnoticed": NotData,
    "web page": NotData,
    "broken syntax": NotData,
    "wrong envelope": NotData,
    "page repeats": NotData,
}
"""What can go wrong, in words that a harness translates for its emulator, and what an integration must call it."""

PASSING = ("server fault", "connection reset", "connection closed", "cut off", "short pause asked for")
"""What goes away by itself: one such answer must not be noticed by the receiver of the pages."""


class Upstream(ABC):
    """An emulated upstream system that is being served, as the suite sees it.

    It holds more than three pages of 20 records of ``many``.
    """

    secret: str
    many: str

    @abstractmethod
    def integration(
        self, *, page_size: int = 20, max_concurrency: int = 3, clock: Clock | None = None, secret: str | None = None
    ) -> Integration:
        """A connector to this upstream, without a rate ceiling."""

    @abstractmethod
    def truth(self, entity: str) -> list[bytes]:
        """Every record as it goes over the wire, in any order."""

    @abstractmethod
    def change(self, entity: str) -> set[str]:
        """Change, create, and update a few records; gives their keys."""

    @abstractmethod
    def parts(self, entity: str) -> int:
        """How many listings an entity is read in."""

    @abstractmethod
    def arm(self, fault: str, *, once: bool = False, after: int = 0) -> None:
        """Let the named fault hit every request (or one only), after so many were let pass."""

    def expected(self, fault: str) -> type[UpstreamError]:
        """What an integration must call a fault."""
        return FAULTS[fault]

    @abstractmethod
    def hang(self) -> None:
        """Leave every request from now on without an answer."""

    @abstractmethod
    def requests(self) -> int:
        """How many requests have arrived since the last ``forget``."""

    @abstractmethod
    def in_flight(self) -> int:
        """How many requests wait for their answer now."""

    @abstractmethod
    def most_in_flight(self) -> int:
        """The highest ``in_flight`` since the last ``forget``."""

    @abstractmethod
    def forget(self) -> None:
        """Count requests anew."""

    def entity(self, integration: Integration) -> Entity:
        """The entity with several pages."""
        return next(entity for entity in integration.entities if entity.name == self.many)


def opened(
    integration: Integration, entity: Entity, reading: Reading | None = None
) -> aclosing[AsyncGenerator[Page, None]]:
    """A reading that is closed at the end of the block."""
    pages = integration.read(entity, reading or Reading(Mode.BACKFILL))
    return aclosing(cast(AsyncGenerator[Page, None], pages))


async def read_all(integration: Integration, entity: Entity, reading: Reading | None = None) -> list[Page]:
    """Every page of a reading, to its end. Where changes cannot be told everything is read, as the engine does it."""
    try:
        async with asyncio.timeout(DEADLINE), opened(integration, entity, reading) as pages:
            return [page async for page in pages]
    except ChangesLost:
        return await read_all(integration, entity)


async def until(condition: Callable[[], bool]) -> None:
    """Wait for a condition, not for a time."""
    async with asyncio.timeout(DEADLINE):
        while not condition():  # noqa: ASYNC110 - what is waited for happens in the emulator
            await asyncio.sleep(0.005)


def records_of(pages: Sequence[Page]) -> list[bytes]:
    """The records of pages, as bytes."""
    return [bytes(record) for page in pages for record in page.records]


def keys_of(pages: Sequence[Page]) -> list[str | None]:
    """The keys of pages."""
    return [key for page in pages for key in page.keys]


def skipped_by(pages: Sequence[Page]) -> list[str]:
    """The keys of the records that came and are none of the entity's."""
    return [key for page in pages for keys in page.skipped.values() for key in keys]


def watermark(pages: Sequence[Page]) -> datetime:
    """The highest time that a reading allows as a watermark."""
    return max(page.high for page in pages if page.high is not None)
