"""The Gmail connector: asks the Gmail API for the messages of one account."""

import random
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import replace

from keepstep.integrations import google, probing
from keepstep.integrations.call import Credentials
from keepstep.integrations.http import HttpClient, Timeouts, without_credentials
from keepstep.integrations.mail.entities import MESSAGES
from keepstep.integrations.mail.gmail.answers import DEFAULT_BASE_URL, FACTS, classify
from keepstep.integrations.mail.gmail.api import GmailApi
from keepstep.integrations.mail.gmail.batch import MOST
from keepstep.integrations.mail.gmail.reading import GmailReading
from keepstep.integrations.mail.message import Limits
from keepstep.integrations.oauth import Provider
from keepstep.integrations.probing import PING_PATIENCE, Seen, failed_check, good_check
from keepstep.model.errors import UpstreamError
from keepstep.model.integration import Check, Entity, Mode, Page, Ping, Reading
from keepstep.reliability.clock import Clock, SystemClock
from keepstep.reliability.pacing import Pacer, Pacing

MOST_BYTES = 64 * 1024 * 1024
"""Of one answer; a batch that is larger is asked for in halves."""
READ_MAIL = "https://www.googleapis.com/auth/gmail.readonly"
GOOGLE = google.provider("Gmail", READ_MAIL)

IMAP = replace(GOOGLE, needed=frozenset(("https://mail.google.com/",)))
"""Consent to read a Gmail mailbox by IMAP: Google has no narrower one for that."""


def provider_for(base_url: str) -> Provider:
    """Where consent to read from an address is given."""
    return google.provider_at(base_url, GOOGLE)


class Gmail:
    """The mailbox of one Google account. ``credentials`` prove that it may be read. Only reads."""

    key: str = "mail"
    title: str = "Mail"
    entities: tuple[Entity, ...] = (MESSAGES,)

    def __init__(
        self,
        *,
        credentials: Credentials,
        base_url: str = DEFAULT_BASE_URL,
        page_size: int = MOST,
        limits: Limits | None = None,
        max_concurrency: int = 2,
        rate_limit_rps: float = 2.0,
        pacer: Pacing | None = None,
        clock: Clock | None = None,
        rng: random.Random | None = None,
        timeouts: Timeouts | None = None,
        max_body: int = MOST_BYTES,
    ) -> None:
        clock = clock or SystemClock()
        rng = rng or random.Random()  # noqa: S311 - jitter
        self.base_url = without_credentials(base_url.strip().rstrip("/"))
        self.page_size = min(max(page_size, 1), MOST)
        self._clock = clock
        self._limits = limits or Limits()
        self._pacer: Pacing = pacer or Pacer(
            max_concurrency=max(1, max_concurrency), per_second=max(0.0, rate_limit_rps), clock=clock
        )
        self._client = HttpClient(
            self.base_url,
            title=GOOGLE.title,
            headers={},
            secrets=(),
            credentials=credentials,
            pacer=self._pacer,
            classify=lambda response, shown: classify(response, shown, self.base_url, clock.now()),
            clock=clock,
            base_url_setting="GMAIL_BASE_URL",
            size_fix="Lower GMAIL_PAGE_SIZE.",
            rng=rng,
            timeouts=timeouts,
            max_body=max_body,
        )
        self._api = GmailApi(self._client, clock, rng)

    @property
    def requests(self) -> int:
        """How many requests have been sent; a batch is one."""
        return self._client.requests

    async def read(self, entity: Entity, reading: Reading) -> AsyncGenerator[Page, None]:
        """Give the pages in order. Raises ``UpstreamError``. Close it when stopping early."""
        pages = GmailReading(
            self._api, reading, page_size=self.page_size, ahead=self._pacer.max_concurrency, limits=self._limits,
            clock=self._clock,
        ).pages()  # fmt: skip
        async with aclosing(pages):
            async for page in pages:
                yield page

    async def ping(self) -> Ping:
        """Ask whose mailbox it is, which proves host and consent. Never raises for what upstream does."""

        async def look() -> Seen:
            profile, response = await self._api.profile(max_attempts=1, patience=PING_PATIENCE)
            return Seen("Gmail answers and accepts the consent.", profile.messagesTotal, response)

        return await probing.ping(look, base_url=self.base_url, facts=FACTS, clock=self._clock)

    async def account(self) -> str:
        """Whose mailbox it is. Asks once, as somebody waits. Raises ``UpstreamError``."""
        profile, _ = await self._api.profile(max_attempts=1, patience=PING_PATIENCE)
        return profile.emailAddress

    async def check(self, endpoint: str, *, page_size: int = 1) -> Check:
        """Ask for a few messages and say in words what came back. Never raises for what upstream does."""
        name = endpoint.strip().strip("/")
        if name != MESSAGES.name:
            return Check(None, endpoint, (), None, "This is not the name of an endpoint.", False, "Try messages.")
        try:
            return await self._look(name, min(max(page_size, 1), MOST))
        except UpstreamError as error:
            return failed_check(error, name)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _look(self, name: str, size: int) -> Check:
        profile, response = await self._api.profile(max_attempts=1, patience=PING_PATIENCE)
        listed, _ = await self._api.listed(None, most=size, max_attempts=1)
        fetched = await self._api.messages([ref.id for ref in listed.messages or ()], max_attempts=1)
        reading = GmailReading(
            self._api, Reading(Mode.BACKFILL), page_size=size, ahead=1, limits=self._limits, clock=self._clock
        )
        records = [reading.record(message) for message in fetched.messages.values()]
        message = f"{profile.emailAddress} has {profile.messagesTotal} messages, and Gmail gave {len(records)}."
        return good_check(name, response.status, records, profile.messagesTotal, message)
