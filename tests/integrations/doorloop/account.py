"""An emulated DoorLoop account for the tests of its connector."""

from datetime import UTC, datetime
from typing import Any

from keepstep.integrations.doorloop.connector import DoorLoop
from keepstep.integrations.doorloop.emulator.server import DoorLoopEmulator
from keepstep.model.integration import Entity, Integration, Mode, Reading
from keepstep.reliability.clock import Clock
from tests.integrations.upstream import Upstream


class DoorLoopUpstream(Upstream):
    """The emulator as the conformance suite sees it."""

    emulator: DoorLoopEmulator
    many = "leases"

    def __init__(self, emulator: DoorLoopEmulator, base_url: str) -> None:
        super().__init__(emulator, base_url, emulator.options.api_key)

    def integration(
        self, *, page_size: int = 20, max_concurrency: int = 3, clock: Clock | None = None, secret: str | None = None
    ) -> Integration:
        return self.doorloop(page_size=page_size, max_concurrency=max_concurrency, clock=clock, api_key=secret)

    def doorloop(
        self,
        *,
        page_size: int = 20,
        max_concurrency: int = 3,
        clock: Clock | None = None,
        api_key: str | None = None,
        base_url: str | None = None,
    ) -> DoorLoop:
        made = DoorLoop(
            base_url=base_url or self.base_url,
            api_key=self.secret if api_key is None else api_key,
            page_size=page_size,
            max_concurrency=max_concurrency,
            rate_limit_rps=0,
            clock=clock,
        )
        self._made.append(made)
        return made

    def truth(self, entity: str) -> list[bytes]:
        return self.emulator.raw_records(entity)

    def change(self, entity: str) -> set[str]:
        changed = self.emulator.change(entity, update=2, create=1)
        return {*changed["updated"], *changed["created"]}

    def parts(self, entity: str) -> int:
        return 2 if entity == "units" else 1

    def asked(self, name: str) -> list[str | None]:
        """The values of one query parameter over the requests on record."""
        return [dict(p.split("=", 1) for p in r.query.split("&")).get(name) for r in self.emulator.requests()]


def entity(name: str) -> Entity:
    return next(entity for entity in DoorLoop.entities if entity.name == name)


LEASES = entity("leases")
UNITS = entity("units")
SINCE = datetime(2026, 10, 1, tzinfo=UTC)
"""Later than every seeded update: a delta since then has nothing new."""


def delta(since: datetime = SINCE, **given: Any) -> Reading:
    return Reading(Mode.DELTA, since=since, **given)
