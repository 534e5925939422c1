"""The DoorLoop connector: asks DoorLoop for pages and says in words how it is."""

import asyncio
import random
import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

import msgspec

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
from keepstep.integrations.drift import types_of
from keepstep.integrations.http import HttpClient, Response, Timeouts
from keepstep.model.diagnosis import said
from keepstep.model.errors import Answer, AuthFailed, BreakerOpen, Permanent, RateLimited, UpstreamError
from keepstep.model.integration import Check, Entity, Page, Ping, RateLimit, Reading
from keepstep.reliability.clock import Clock, SystemClock
from keepstep.reliability.pacing import Pacer, Pacing
from keepstep.reliability.retry import LONGEST_SLEEP, MAX_ATTEMPTS

SLOW_SECONDS = 5.0
PING_SECONDS = 20.0
PING_PATIENCE = 5.0
"""Seconds that somebody who looks on waits for our own limits."""
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
        started = self._clock.monotonic()
        try:
            async with asyncio.timeout(PING_SECONDS):
                listing = await self._look("/owners", 1)
        except TimeoutError:
            late = Permanent.named("answer-timeout", facts=FACTS)
            return self._ping_of(late, self._elapsed_ms(started))
        except UpstreamError as error:
            return self._ping_of(error, self._elapsed_ms(started))
        elapsed = self._elapsed_ms(started)
        slow = elapsed > SLOW_SECONDS * 1000
        slowly = said("upstream-slow", count=f"{elapsed / 1000:.1f}", **FACTS)
        date = listing.response.date
        return Ping(
            ok=True,
            state="degraded" if slow else "ok",
            reason=slowly.message if slow else "DoorLoop answers and accepts the key.",
            base_url=self.base_url,
            authenticated=True,
            sample_count=len(listing.records),
            elapsed_ms=elapsed,
            rate_limit=listing.response.rate_limit,
            fix=slowly.fix if slow else "",
            code=slowly.code if slow else "",
            clock_ahead=None if date is None else (date - self._clock.now()).total_seconds(),
        )

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
            status = error.answer.status if error.answer else None
            return Check(status, path[1:], (), None, error.message, False, error.fix, error.code)
        message = f"DoorLoop has {listing.total} records here and gave {len(listing.records)}."
        return Check(
            listing.response.status, path[1:], _keys(listing), listing.total, message, True,
            sampled=len(listing.records), types=types_of(listing.records),
        )  # fmt: skip

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

    def _ping_of(self, error: UpstreamError, elapsed: int) -> Ping:
        status = error.answer.status if error.answer else None
        limited = isinstance(error, RateLimited) and not isinstance(error, BreakerOpen)
        # The role may lack owners and still have the rest: the key itself is good then.
        role_lacks_owners = status == 405
        state = "degraded" if limited or role_lacks_owners else "failing"
        return Ping(
            ok=state != "failing",
            state=state,
            reason=error.message,
            base_url=self.base_url,
            authenticated=role_lacks_owners,
            sample_count=0,
            elapsed_ms=elapsed,
            rate_limit=RateLimit(remaining=0) if limited else None,
            fix=error.fix,
            code=error.code,
        )

    def _elapsed_ms(self, started: float) -> int:
        return round((self._clock.monotonic() - started) * 1000)


def _unusable(token: str) -> str | None:
    """Why a key can't even be sent, as a diagnosis; None when it can."""
    if not token:
        return "key-missing"
    return None if key_fits_header(token) else "key-unusable"


def _keys(listing: Listing) -> tuple[str, ...]:
    if not listing.records:
        return ()
    try:
        return tuple(msgspec.json.decode(listing.records[0], type=dict[str, msgspec.Raw]))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return ()
