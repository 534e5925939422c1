"""Looking at an integration: is it there, what does it answer, how is it set up?"""

from collections.abc import Mapping

from keepstep.integrations.registry import Registered
from keepstep.model.errors import BadRequest, NotFound
from keepstep.model.integration import Check, Ping
from keepstep.service.agents import Agents
from keepstep.service.connectors import Connectors
from keepstep.service.owners import OwnerConnections
from keepstep.service.pinger import Pinger
from keepstep.service.settings import Preferences
from keepstep.service.setup import Setup
from keepstep.service.shapes import Shape
from keepstep.service.status import HealthView, Overview, health_view
from keepstep.service.upstream import CheckAnswer, PingAnswer, check_answer, ping_answer

_OF_EVERY_SCHEDULE = ("AUTO_SYNC_", "SYNC_ENTITIES")


class IntegrationView(Shape):
    """One integration. ``rateLimit`` says in words what its vendor allows. ``perOwner``: each user connects their own
    account, and ``health`` is that of all of them.
    """

    key: str
    title: str
    icon: str
    colour: str
    configured: bool
    entities: list[str]
    rate_limit: str
    per_owner: bool
    health: HealthView


class Inspection:
    """Answers about integrations. ``shared`` are those with one connection for all."""

    def __init__(
        self, known: Mapping[str, Registered], connectors: Connectors, preferences: Preferences, overview: Overview,
        owners: OwnerConnections, agents: Agents, pinger: Pinger,
    ) -> None:  # fmt: skip
        self._known = known
        self.shared = {key: one for key, one in known.items() if not one.per_owner}
        self._connectors = connectors
        self._preferences = preferences
        self._overview = overview
        self._owners = owners
        self._agents = agents
        self._pinger = pinger

    def known(self, key: str) -> Registered:
        """An integration with one connection for all. Raises ``NotFound``."""
        if (one := self.any(key)).per_owner:
            fix = "GET /api/admin/owners lists them."
            raise NotFound(f"{one.title} has no connection for all: each user has their own.", fix=fix)
        return one

    def any(self, key: str) -> Registered:
        """An integration. Raises ``NotFound``."""
        if key not in self._known:
            raise NotFound(f"There is no integration {key}.", fix=f"Known are: {', '.join(self._known)}.")
        return self._known[key]

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
                per_owner=one.per_owner,
                health=health_view(await self._owners.health(key))
                if one.per_owner
                else await self._overview.health(key),
            )
            for key, one in self._known.items()
        ]

    async def is_configured(self, key: str) -> bool:
        """Whether an integration has credentials."""
        return await self._connectors.is_configured(key)

    async def ping(self, key: str, owner: str | None = None) -> PingAnswer:
        """Whether upstream answers and takes the credentials, those of an owner (id or user's name) or the shared ones.

        The answer for a shared connection is kept, as those of the periodic pings are. Raises ``NotFound``,
        and ``NotAllowed`` for somebody else's.
        """
        one = self.any(key)
        try:
            whose = await self._owner(one, owner)
            async with self._connectors.lent(key, whose) as (connector, _):
                ping = await connector.ping()
            if whose is None and ping.code != "rate-limited":  # the answer that asked for the pause says more
                await self._pinger.keep(key, ping)
            return ping_answer(ping)
        except BadRequest as refusal:
            words, fix = refusal.message, refusal.fix
            url = one.default_base_url
            return ping_answer(Ping(False, "failing", words, url, False, 0, 0, fix=fix, code="key-missing"))

    async def check(self, key: str, endpoint: str, *, page_size: int, owner: str | None = None) -> CheckAnswer:
        """What one endpoint answers. Raises as ``ping`` does."""
        return check_answer(await self._check(self.any(key), endpoint, page_size, owner))

    async def sample(self, key: str, endpoint: str, size: int) -> Check:
        """The same, with what the records are made of, of an integration with a connection for all."""
        return await self._check(self.known(key), endpoint, size, None)

    async def config(self, key: str) -> Setup:
        """What concerns an integration among the settings, masked, and what is wrong with it. Raises ``NotFound``."""
        self.any(key)
        setup = await self._preferences.setup()
        prefixes = (f"{key.upper()}_", *_OF_EVERY_SCHEDULE)
        return Setup(
            settings=[line for line in setup.settings if line.variable.startswith(prefixes)],
            warnings=[advice for advice in setup.warnings if advice.about == key or advice.about.startswith(prefixes)],
        )

    async def whose(self, key: str, name: str | None) -> str | None:
        """The owner whom somebody means, None: nobody. Raises as ``ping`` does."""
        return await self._owner(self.any(key), name)

    async def _owner(self, one: Registered, name: str | None, endpoint: str | None = None) -> str | None:
        """Whose connection is asked, None: that for all. Of agents without a name it is the first on the list."""
        if one.agents:
            if endpoint is not None and not any(entity.owned and entity.name == endpoint for entity in one.entities):
                return None
            if name is not None:
                await self._agents.check(name)
            elif endpoint is not None:
                if not (listed := await self._agents.enabled()):
                    words = "No agent is on the list, and this is read for one at a time."
                    raise BadRequest(words, fix="Add one with: keepstep agents add CODE")
                return listed[0]
            return name
        return None if name is None else await self._owners.named(name)

    async def _check(self, one: Registered, endpoint: str, page_size: int, owner: str | None) -> Check:
        try:
            whose = await self._owner(one, owner, endpoint)
            async with self._connectors.lent(one.key, whose) as (connector, _):
                return await connector.check(endpoint, page_size=page_size)
        except BadRequest as refusal:
            return Check(None, endpoint, (), None, refusal.message, False, refusal.fix, "key-missing")
