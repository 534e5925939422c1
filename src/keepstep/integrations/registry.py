"""The integrations that exist: what each is called, what it reads, and how one is made.

Adding one is a folder beside this file and a line in ``integrations``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from keepstep.integrations.doorloop.advice import config_warnings
from keepstep.integrations.doorloop.answers import DEFAULT_BASE_URL, WINDOWS
from keepstep.integrations.doorloop.connector import DoorLoop
from keepstep.model.errors import BadRequest
from keepstep.model.integration import Entity, Integration
from keepstep.reliability.clock import Clock
from keepstep.reliability.pacing import Pacing
from keepstep.reliability.windows import Window


@dataclass(frozen=True, slots=True)
class Values:
    """The settings of one connection. ``rate_limit_rps`` is requests started in a second; 0 means no ceiling."""

    base_url: str
    api_key: str = field(repr=False)
    page_size: int = 100
    max_concurrency: int = 2
    rate_limit_rps: float = 4.0


Build = Callable[[Values, Clock | None, Pacing | None], Integration]


@dataclass(frozen=True, slots=True)
class Registered:
    """One integration. ``limits`` says in words what the vendor allows, ``windows`` in numbers. ``warnings`` names
    mistakes in values without asking upstream, as pairs of a problem and what to do.
    """

    key: str
    title: str
    icon: str
    colour: str
    default_base_url: str
    entities: tuple[Entity, ...]
    limits: str
    windows: tuple[Window, ...]
    warnings: Callable[[Values], list[tuple[str, str]]]
    _build: Build

    def build(self, values: Values, *, clock: Clock | None = None, pacer: Pacing | None = None) -> Integration:
        """A connector for these values. Opens nothing until it is asked something; close it with ``aclose``."""
        return self._build(values, clock, pacer)

    def entity(self, name: str) -> Entity:
        """The entity of that name. Raises ``BadRequest``."""
        for entity in self.entities:
            if entity.name == name:
                return entity
        known = ", ".join(entity.name for entity in self.entities)
        raise BadRequest(f"{self.title} has no entity {name!r}.", fix=f"Its entities are {known}.")


def integrations() -> Mapping[str, Registered]:
    """Every integration by its key."""
    return MappingProxyType({"doorloop": _doorloop()})


def integration(key: str) -> Registered:
    """The integration of that key. Raises ``BadRequest``."""
    known = integrations()
    if key not in known:
        raise BadRequest(f"There is no integration {key!r}.", fix=f"The integrations are {', '.join(known)}.")
    return known[key]


def _doorloop() -> Registered:
    def build(values: Values, clock: Clock | None, pacer: Pacing | None) -> Integration:
        return DoorLoop(
            base_url=values.base_url,
            api_key=values.api_key,
            page_size=values.page_size,
            max_concurrency=values.max_concurrency,
            rate_limit_rps=values.rate_limit_rps,
            clock=clock,
            pacer=pacer,
        )

    return Registered(
        key=DoorLoop.key,
        title=DoorLoop.title,
        icon="doorloop",
        colour="#2f6fed",
        default_base_url=DEFAULT_BASE_URL,
        entities=DoorLoop.entities,
        limits="50 requests a minute and 500 an hour; beyond that DoorLoop answers 429 with Retry-After",
        windows=WINDOWS,
        warnings=lambda values: config_warnings(values.base_url, values.api_key, values.page_size),
        _build=build,
    )
