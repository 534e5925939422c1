"""The DoorLoop connector: asks DoorLoop for pages and says in words how it is."""

import random
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import replace

from keepstep.integrations import probing
from keepstep.integrations.doorloop.advice import (
    config_warnings,
    key_fits_header,
    normal_api_key,
    normal_base_url,
    normal_page_size,
)
from keepstep.integrations.doorloop.answers import DOCS, FACTS, classify
from keepstep.integrations.doorloop.entities import ENTITIES
from keepstep.integrations.doorloop.envelope import decode_envelope
from keepstep.integrations.doorloop.order import heads_of
from keepstep.integrations.doorloop.reading import EntityReading, Listing
from keepstep.integrations.http import HttpClient, Response, Timeouts
from keepstep.integrations.probing import PING_PATIENCE, Seen, failed_check, good_check
from keepstep.model.errors import Answer, AuthFailed, UpstreamError
from keepstep.model.integration import Check, Entity, Page, Ping, Reading
from keepstep.reliability.clock import Clock, SystemClock
from keepstep.reliability.pacing import Pacer, Pacing
from keepstep.reliability.retry import LONGEST_SLEEP, MAX_ATTEMPTS

PARTS: Mapping[str, tuple[Mapping[str, str], ...]] = {
    # Without filter_active only active units are listed.
    "units": ({"filter_active": "true"}, {"filter_active": "false"}),
}


class DoorLoop:
    """DoorLoop behind one API key.

    ``base_url``, ``api_key`` and ``page_size`` are normalised where that is safe; ``warnings`` tells what is odd about
    them. ``pacer`` replaces the one made of ``max_concurrency`` and ``rate_limit_rps`` (0: no ceiling).
    """

    key: str = "doorloop"
    title: str = "DoorLoop"
    entities: tuple[Entity, ...] = ENTITIES

    def __init__(
        self,
        *,
        base_url: str,
        api_key: str,
        page_size: int = 100,
        max_concurrency: int = 2,
        rate_limit_rps: float = 4.0,
        pacer: Pacing | None = None,
        clock: Clock | None = None,
        rng: random.Random | None = None,
        timeouts: Timeouts | None = None,
    ) -> None:
        clock = clock or SystemClock()
        self.base_url = normal_base_url(base_url)
        self.page_size = normal_page_size(page_size)
        self.warnings = tuple(config_warnings(base_url, api_key, page_size, now=clock.now()))
        self._clock = clock
        self._pacer: Pacing = pacer or Pacer(
            max_concurrency=max(1, max_concurrency), per_second=max(0.0, rate_limit_rps), clock=clock
        )
        token = normal_api_key(api_key)
        self._refused = _unusable(token)
        self._client = HttpClient(
            self.base_url,
            title=self.title,
            headers={} if self._refused else {"Authorization": f"bearer {token}"},
            secrets=(token, api_key.strip()),
            pacer=self._pacer,
            classify=lambda response, shown: classify(response, shown, self.base_url),
            clock=clock,
            base_url_setting="DOORLOOP_BASE_URL",
            size_fix="Lower DOORLOOP_PAGE_SIZE.",
            rng=rng,
            timeouts=timeouts,
        )

    @property
    def requests(self) -> int:
        """How many requests have been sent, every attempt and every page fetched ahead counted."""
        return self._client.requests

    async def read(self, entity: Entity, reading: Reading) -> AsyncGenerator[Page, None]:
        """Give the pages of an entity in order. Raises ``UpstreamError``. Close it when stopping early."""
        path = f"/{entity.name}"

        async def ask(params: Mapping[str, str | int]) -> Listing:
            return await self._list(path, params)

        pages = EntityReading(
            ask,
            PARTS.get(entity.name, ({},)),
            reading,
            page_size=self.page_size,
            ahead=2 * self._pacer.max_concurrency,
            clock=self._clock,
        ).pages()
        async with aclosing(pages):
            async for page in pages:
                yield page

    async def ping(self) -> Ping:
        """Ask for one owner, which proves host, path and key. Never raises for what upstream does."""

        async def look() -> Seen:
            listing = await self._look("/owners", 1)
            return Seen("DoorLoop answers and accepts the key.", len(listing.records), listing.response)

        ping = await probing.ping(look, base_url=self.base_url, facts=FACTS, clock=self._clock)
        if ping.code == "role-refused":
            # The role may lack owners and still have the rest: the key itself is good then.
            return replace(ping, ok=True, state="degraded", authenticated=True)
        return ping

    async def check(self, endpoint: str, *, page_size: int = 1) -> Check:
        """Ask one endpoint for one page and say in words what came back. Never raises for what upstream does."""
        path = "/" + endpoint.strip().strip("/")
        if not re.fullmatch(r"(/[A-Za-z0-9_-]+)+", path):
            return Check(
                None, endpoint, (), None, "This is not the name of an endpoint.", False, "Try owners or leases."
            )
        size = normal_page_size(page_size)
        try:
            listing = await self._look(path, size)
        except UpstreamError as error:
            return failed_check(error, path[1:])
        message = f"DoorLoop has {listing.total} records here and gave {len(listing.records)}."
        return good_check(path[1:], listing.response.status, listing.records, listing.total, message)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _look(self, path: str, size: int) -> Listing:
        """One page, for somebody who is waiting to see it."""
        paging = {"page_number": 1, "page_size": size}
        return await self._list(path, paging, max_attempts=1, patience=PING_PATIENCE)

    async def _list(
        self,
        path: str,
        params: Mapping[str, str | int],
        *,
        max_attempts: int = MAX_ATTEMPTS,
        patience: float = LONGEST_SLEEP,
    ) -> Listing:
        if self._refused is not None:
            raise AuthFailed.named(self._refused, facts={**FACTS, "see": f" ({DOCS}/authentication)"})
        response = await self._client.get_page(path, params, max_attempts=max_attempts, patience=patience)
        return self._decoded(response)

    def _decoded(self, response: Response) -> Listing:
        def shown() -> Answer:
            return self._client.answer_of(response)

        envelope = decode_envelope(response, shown)
        return Listing(
            number=1,
            records=envelope.data,
            heads=heads_of(envelope.data, response.body),
            total=envelope.total,
            response=response,
            shown=shown,
        )


def _unusable(token: str) -> str | None:
    """Why a key can't even be sent, as a diagnosis; None when it can."""
    if not token:
        return "key-missing"
    return None if key_fits_header(token) else "key-unusable"
