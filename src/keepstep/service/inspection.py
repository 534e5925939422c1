"""Looking at an integration: is it there, what does it answer, how is it set up?"""

from collections.abc import Mapping

from keepstep.integrations.registry import Registered
from keepstep.model.errors import BadRequest, NotFound
from keepstep.model.integration import Check, Ping
from keepstep.service.agents import Agents
from keepstep.service.connectors import Connectors
from keepstep.service.settings import Preferences
from keepstep.service.setup import Setup
from keepstep.service.shapes import Shape
from keepstep.service.status import HealthView, Overview
from keepstep.service.upstream import CheckAnswer, PingAnswer, check_answer, ping_answer

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


class Inspection:
    """Answers about integrations."""

    def __init__(
        self, registered: Mapping[str, Registered], connectors: Connectors,
        preferences: Preferences, overview: Overview, agents: Agents,
    ) -> None:  # fmt: skip
        self.registered = registered
        self._connectors = connectors
        self._preferences = preferences
        self._overview = overview
        self._agents = agents

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
            url = one.default_base_url
            return ping_answer(Ping(False, "failing", words, url, False, 0, 0, fix=fix, code="key-missing"))

    async def check(self, key: str, endpoint: str, *, page_size: int, agent: str | None = None) -> CheckAnswer:
        """What one endpoint answers. ``agent``: of whom, where agents have their own; else of the first on the list.

        Raises ``NotFound``, ``Conflict`` for an agent who is disabled.
        """
        return check_answer(await self.sample(key, endpoint, page_size, agent=agent))

    async def sample(self, key: str, endpoint: str, size: int, *, agent: str | None = None) -> Check:
        """The same, with what the records are made of."""
        one = self.known(key)
        if not one.agents or not any(entity.owned and entity.name == endpoint for entity in one.entities):
            return await self._check(one, endpoint, size)
        if agent is not None:
            await self._agents.check(agent)
        elif not (listed := await self._agents.enabled()):
            words = "No agent is on the list, and this is read for one at a time."
            return Check(None, endpoint, (), None, words, False, "Add one with: keepstep agents add CODE")
        else:
            agent = listed[0]
        return await self._check(one, endpoint, size, agent)

    async def config(self, key: str) -> Setup:
        """What concerns an integration among the settings, masked, and what is wrong with it. Raises ``NotFound``."""
        self.known(key)
        setup = await self._preferences.setup()
        prefixes = (f"{key.upper()}_", *_OF_EVERY_SCHEDULE)
        return Setup(
            settings=[line for line in setup.settings if line.variable.startswith(prefixes)],
            warnings=[advice for advice in setup.warnings if advice.about == key or advice.about.startswith(prefixes)],
        )

    async def _check(self, one: Registered, endpoint: str, page_size: int, owner: str | None = None) -> Check:
        try:
            async with self._connectors.lent(one.key, owner) as (connector, _):
                return await connector.check(endpoint, page_size=page_size)
        except BadRequest as refusal:
            return Check(None, endpoint, (), None, refusal.message, False, refusal.fix, "key-missing")
