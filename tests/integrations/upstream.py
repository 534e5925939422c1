"""An upstream system as the conformance suite sees it, and what the suite needs to read it."""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Any, ClassVar, cast

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


Armed = Mapping[str, Mapping[str, Any]]
ARMED: Armed = {
    "credentials refused": {"kind": "401"},
    "forbidden": {"kind": "403"},
    "not found": {"kind": "404"},
    "invalid request": {"kind": "400"},
    "long pause asked for": {"kind": "429", "retry_after": 1800},
    "short pause asked for": {"kind": "429", "retry_after": 2},
    "server fault": {"kind": "502"},
    "connection reset": {"kind": "reset"},
    "connection closed": {"kind": "reset", "variant": "close"},
    "cut off": {"kind": "truncate"},
    "cut off unnoticed": {"kind": "truncate", "variant": "body"},
    "web page": {"kind": "html"},
    "broken syntax": {"kind": "bad-json"},
    "wrong envelope": {"kind": "envelope"},
    "page repeats": {"kind": "repeat"},
}
"""These faults as most emulators call them."""


class Upstream(ABC):
    """An emulator that is being served, as the suite sees it, and the connectors that were made to read from it.

    It holds more than three pages of 20 records of ``many``.
    """

    many: str
    armed: ClassVar[Armed] = ARMED

    def __init__(self, emulator: Any, base_url: str, secret: str) -> None:
        self.emulator = emulator
        self.base_url = base_url
        self.secret = secret
        self._made: list[Any] = []

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

    def parts(self, entity: str) -> int:
        """How many listings an entity is read in."""
        return 1

    def arm(self, fault: str, *, once: bool = False, after: int = 0) -> None:
        """Let the named fault hit every request (or one only), after so many were let pass."""
        self.emulator.fault(**self.armed[fault], count=1 if once else None, after=after)

    def expected(self, fault: str) -> type[UpstreamError]:
        """What an integration must call a fault."""
        return FAULTS[fault]

    def hang(self) -> None:
        """Leave every request from now on without an answer."""
        self.emulator.fault("hang", count=None)

    def requests(self) -> int:
        """How many requests have arrived since the last ``forget``."""
        return int(self.emulator.log.total)

    def in_flight(self) -> int:
        """How many requests wait for their answer now."""
        return int(self.emulator.log.in_flight)

    def most_in_flight(self) -> int:
        """The highest ``in_flight`` since the last ``forget``."""
        return int(self.emulator.log.max_in_flight)

    def forget(self) -> None:
        """Count requests anew."""
        self.emulator.reset_requests()

    def entity(self, integration: Integration) -> Entity:
        """The entity with several pages."""
        return next(entity for entity in integration.entities if entity.name == self.many)

    async def aclose(self) -> None:
        """Close everything that was made."""
        for made in self._made:
            await made.aclose()


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
