"""An emulated Google account for the tests of its connector."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl

import msgspec
from msgspec import Raw

from keepstep.integrations.google_contacts.connector import GOOGLE, PATH, GoogleContacts
from keepstep.integrations.google_contacts.contact import contact_of
from keepstep.integrations.google_contacts.emulator.server import GoogleEmulator
from keepstep.integrations.google_contacts.entities import CONNECTIONS, CONTACTS
from keepstep.integrations.google_contacts.people import head_of
from keepstep.integrations.oauth import Client, OAuth
from keepstep.integrations.tokens import Access, FixedToken, TokenSet
from keepstep.model.errors import NeedsReconnect, UpstreamError
from keepstep.model.integration import Integration, Json, Mode, Page, Reading
from keepstep.reliability.clock import Clock
from tests.integrations.upstream import FAULTS, Upstream

REDIRECT = "http://127.0.0.1/callback"
_ARMED: dict[str, dict[str, Any]] = {
    "credentials refused": {"kind": "401"},
    "forbidden": {"kind": "403"},
    "not found": {"kind": "404"},
    "invalid request": {"kind": "400"},
    "long pause asked for": {"kind": "429"},
    "short pause asked for": {"kind": "429", "retry_after": 2},
    "server fault": {"kind": "503"},
    "connection reset": {"kind": "reset"},
    "connection closed": {"kind": "reset", "variant": "close"},
    "cut off": {"kind": "truncate"},
    "cut off unnoticed": {"kind": "truncate", "variant": "body"},
    "web page": {"kind": "html"},
    "broken syntax": {"kind": "bad-json"},
    "wrong envelope": {"kind": "envelope"},
    "page repeats": {"kind": "repeat"},
}


class MemoryStore:
    """The tokens of one owner in memory, behind a lock, as a database would have them."""

    def __init__(self, tokens: TokenSet | None) -> None:
        self.tokens = tokens
        self.saved: list[TokenSet] = []
        self._lock = asyncio.Lock()

    async def load(self) -> TokenSet | None:
        return self.tokens

    @asynccontextmanager
    async def locked(self) -> AsyncIterator["MemoryStore"]:
        async with self._lock:
            yield self

    async def save(self, tokens: TokenSet) -> None:
        self.saved.append(tokens)
        self.tokens = tokens


class GoogleUpstream(Upstream):
    """The emulator as the conformance suite sees it."""

    many = "connections"

    def __init__(self, emulator: GoogleEmulator, base_url: str) -> None:
        self.emulator = emulator
        self.base_url = base_url
        self.secret = emulator.options.access_token
        self._made: list[Any] = []

    def integration(
        self, *, page_size: int = 20, max_concurrency: int = 3, clock: Clock | None = None, secret: str | None = None
    ) -> Integration:
        return self.google(page_size=page_size, max_concurrency=max_concurrency, clock=clock, secret=secret)

    def google(
        self,
        *,
        page_size: int = 20,
        max_concurrency: int = 3,
        clock: Clock | None = None,
        secret: str | None = None,
        store: MemoryStore | None = None,
    ) -> GoogleContacts:
        """A connector whose tokens are renewed; with a ``secret`` it has that access token and no other."""
        store = store or MemoryStore(self.tokens())
        access = Access(store, self.oauth(clock=clock), title="Google Contacts", clock=clock)
        made = GoogleContacts(
            credentials=access if secret is None else FixedToken(secret),
            base_url=self.base_url,
            page_size=page_size,
            max_concurrency=max_concurrency,
            rate_limit_rps=0,
            clock=clock,
        )
        self._made.append(made)
        return made

    def oauth(self, *, secret: str | None = None, clock: Clock | None = None) -> OAuth:
        """The application at the emulated authorisation server."""
        options = self.emulator.options
        client = Client(options.client_id, options.client_secret if secret is None else secret, REDIRECT)
        made = OAuth(GOOGLE.at(self.base_url), client, clock=clock)
        self._made.append(made)
        return made

    def tokens(self, *, fresh: bool = True) -> TokenSet:
        """Those that are valid from the start."""
        end = datetime.now(UTC) + timedelta(hours=1 if fresh else -1)
        return TokenSet(self.secret, self.emulator.options.refresh_token, end, GOOGLE.needed)

    async def aclose(self) -> None:
        """Close everything that was made."""
        for made in self._made:
            await made.aclose()

    def truth(self, entity: str) -> list[bytes]:
        people = self.emulator.raw_records()
        return people if entity == CONNECTIONS.name else [c for c in map(contact_bytes, people) if c is not None]

    def change(self, entity: str) -> set[str]:
        changed = self.emulator.change(update=2, create=2)
        keys = {*changed["updated"], *changed["created"]}
        key = CONNECTIONS.key if entity == CONNECTIONS.name else CONTACTS.key
        return keys & {msgspec.json.decode(record)[key] for record in self.truth(entity)}

    def parts(self, entity: str) -> int:
        return 1

    def arm(self, fault: str, *, once: bool = False, after: int = 0) -> None:
        self.emulator.fault(**_ARMED[fault], count=1 if once else None, after=after)

    def expected(self, fault: str) -> type[UpstreamError]:
        return NeedsReconnect if fault == "credentials refused" else FAULTS[fault]

    def hang(self) -> None:
        self.emulator.fault("hang", count=None)

    def requests(self) -> int:
        return sum(request.path == PATH for request in self.emulator.requests())

    def in_flight(self) -> int:
        return self.emulator.log.in_flight

    def most_in_flight(self) -> int:
        return self.emulator.log.max_in_flight

    def forget(self) -> None:
        self.emulator.reset_requests()

    def asked(self, name: str) -> list[str | None]:
        """The values of one query parameter over the requests on record."""
        return [
            dict(parse_qsl(request.query)).get(name) for request in self.emulator.requests() if request.path == PATH
        ]


def contact_bytes(record: bytes) -> bytes | None:
    """The contact that the connector makes of a person."""
    updated = head_of(Raw(record)).updated
    text = None if updated is None else updated.isoformat().replace("+00:00", "Z")
    made = contact_of(Raw(record), text)
    return None if made is None else bytes(made)


def facts_of(pages: list[Page]) -> Json:
    """What a reading learned."""
    return next((page.facts for page in reversed(pages) if page.facts is not None), {})


def delta(facts: Json, **given: Any) -> Reading:
    return Reading(Mode.DELTA, facts=facts, **given)
