"""The Google Contacts connector: asks the People API for the connections of one account."""

import random
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import replace

from keepstep.integrations import google, probing
from keepstep.integrations.call import Credentials
from keepstep.integrations.google_contacts.answers import DEFAULT_BASE_URL, FACTS, classify
from keepstep.integrations.google_contacts.entities import CONNECTIONS, CONTACTS, ENTITIES
from keepstep.integrations.google_contacts.envelope import decode_envelope
from keepstep.integrations.google_contacts.memory import Memory
from keepstep.integrations.google_contacts.pages import PAGES
from keepstep.integrations.google_contacts.position import MASK, Position
from keepstep.integrations.google_contacts.reading import Listing, Order, PeopleReading
from keepstep.integrations.http import HttpClient, Response, Timeouts, without_credentials
from keepstep.integrations.oauth import Provider
from keepstep.integrations.probing import PING_PATIENCE, Seen, failed_check, good_check
from keepstep.model.errors import (
    Answer,
    ChangesLost,
    UpstreamError,
)
from keepstep.model.integration import Check, Entity, Page, Ping, Reading
from keepstep.reliability.clock import Clock, SystemClock
from keepstep.reliability.pacing import Pacer, Pacing

PATH = "/v1/people/me/connections"
MAX_PAGE_SIZE = 1000
READ_CONTACTS = "https://www.googleapis.com/auth/contacts.readonly"
WHOSE = "openid"
"""Asked for besides: the answer then names the account, by a number and nothing else of its person."""
GOOGLE = replace(google.provider("Google Contacts", READ_CONTACTS), also=frozenset((WHOSE,)))


def provider_for(base_url: str) -> Provider:
    """Where consent to read from an address is given."""
    return google.provider_at(base_url, GOOGLE)


class GoogleContacts:
    """The contacts of one Google account. ``credentials`` prove that it may be read: ``Access``."""

    key: str = "google_contacts"
    title: str = "Google Contacts"
    entities: tuple[Entity, ...] = ENTITIES

    def __init__(
        self,
        *,
        credentials: Credentials,
        base_url: str = DEFAULT_BASE_URL,
        page_size: int = MAX_PAGE_SIZE,
        max_concurrency: int = 2,
        rate_limit_rps: float = 4.0,
        pacer: Pacing | None = None,
        clock: Clock | None = None,
        rng: random.Random | None = None,
        timeouts: Timeouts | None = None,
    ) -> None:
        clock = clock or SystemClock()
        self.base_url = without_credentials(base_url.strip().rstrip("/"))
        self.page_size = normal_page_size(page_size)
        self._clock = clock
        self._memory = Memory(clock)
        self._order = Order()
        self._expired = ""
        self._credentials = credentials
        self._client = HttpClient(
            self.base_url,
            title=self.title,
            headers={},
            secrets=(),
            credentials=credentials,
            pacer=pacer
            or Pacer(max_concurrency=max(1, max_concurrency), per_second=max(0.0, rate_limit_rps), clock=clock),
            classify=lambda response, shown: classify(response, shown, self.base_url),
            clock=clock,
            base_url_setting="GOOGLE_CONTACTS_BASE_URL",
            size_fix="Lower GOOGLE_CONTACTS_PAGE_SIZE.",
            rng=rng,
            timeouts=timeouts,
        )

    @property
    def requests(self) -> int:
        """How many requests have been sent, every attempt counted."""
        return self._client.requests

    async def read(self, entity: Entity, reading: Reading) -> AsyncGenerator[Page, None]:
        """Give the pages of an entity in order. Raises ``UpstreamError``. Close it when stopping early.

        The contacts are made of what was just read of the connections where that is the same reading.
        """
        made, keeps = PAGES[entity.name], entity.name == CONNECTIONS.name
        source = PeopleReading(self._ask, reading, page_size=self.page_size, clock=self._clock, order=self._order)
        begins = source.start()
        if begins.sync_token and begins.sync_token == self._expired:
            raise ChangesLost.named(
                "changes-lost", facts={**FACTS, "path": entity.name, "detail": "its sync token has expired"}
            )
        whole = begins.number == 1 and not begins.done
        if keeps and whole:
            self._memory.begin(source.mark)
        elif keeps:
            self._memory.forget()
        elif whole and (kept := self._memory.take(source.mark)) is not None:
            for sheet in kept:
                yield made(replace(sheet, requests=0))
            return
        try:
            async with aclosing(source.sheets(begins)) as sheets:
                async for sheet in sheets:
                    if keeps:
                        self._memory.add(sheet)
                    yield made(sheet)
        except ChangesLost:
            self._expired = begins.sync_token
            raise

    async def ping(self) -> Ping:
        """Ask for one person, which proves host and consent. Never raises for what upstream does."""

        async def look() -> Seen:
            listing = await self._look(1)
            people = len(listing.envelope.connections)
            return Seen("Google Contacts answers and accepts the consent.", people, listing.response)

        return await probing.ping(look, base_url=self.base_url, facts=FACTS, clock=self._clock)

    async def check(self, endpoint: str, *, page_size: int = 1) -> Check:
        """Ask for one page and say in words what came back. Never raises for what upstream does."""
        name = endpoint.strip().strip("/")
        if name not in PAGES:
            known = f"Try {CONNECTIONS.name} or {CONTACTS.name}."
            return Check(None, endpoint, (), None, "This is not the name of an endpoint.", False, known)
        try:
            listing = await self._look(normal_page_size(page_size))
        except UpstreamError as error:
            return failed_check(error, name)
        total, records = listing.envelope.total, listing.envelope.connections
        known = "does not say how many people it has" if total is None else f"has {total} people"
        message = f"Google Contacts {known} here and gave {len(records)}."
        return good_check(name, listing.response.status, records, total, message)

    async def aclose(self) -> None:
        """Close the connections."""
        self._memory.forget()
        await self._client.aclose()
        await self._credentials.aclose()

    async def _ask(self, position: Position) -> Listing:
        return self._decoded(await self._client.get_page(PATH, position.params))

    async def _look(self, size: int) -> Listing:
        """One page, for somebody who is waiting to see it; without a sync token, whose first page has its own quota."""
        params: Mapping[str, str | int] = {"personFields": MASK, "pageSize": size}
        return self._decoded(await self._client.get_page(PATH, params, max_attempts=1, patience=PING_PATIENCE))

    def _decoded(self, response: Response) -> Listing:
        def shown() -> Answer:
            return self._client.answer_of(response)

        return Listing(decode_envelope(response, shown), response, shown)


def normal_page_size(page_size: int) -> int:
    """The nearest page size that Google accepts."""
    return min(max(page_size, 1), MAX_PAGE_SIZE)
