"""An emulated Google account for the tests of its connector."""

from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar
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
from tests.integrations.upstream import ARMED, FAULTS, Armed, Upstream
from tests.support.token_store import MemoryStore

REDIRECT = "http://127.0.0.1/callback"


class GoogleUpstream(Upstream):
    """The emulator as the conformance suite sees it."""

    emulator: GoogleEmulator
    many = "connections"
    armed: ClassVar[Armed] = {**ARMED, "long pause asked for": {"kind": "429"}, "server fault": {"kind": "503"}}

    def __init__(self, emulator: GoogleEmulator, base_url: str) -> None:
        super().__init__(emulator, base_url, emulator.options.access_token)

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

    def truth(self, entity: str) -> list[bytes]:
        people = self.emulator.raw_records()
        return people if entity == CONNECTIONS.name else [c for c in map(contact_bytes, people) if c is not None]

    def change(self, entity: str) -> set[str]:
        changed = self.emulator.change(update=2, create=2)
        keys = {*changed["updated"], *changed["created"]}
        key = CONNECTIONS.key if entity == CONNECTIONS.name else CONTACTS.key
        return keys & {msgspec.json.decode(record)[key] for record in self.truth(entity)}

    def expected(self, fault: str) -> type[UpstreamError]:
        return NeedsReconnect if fault == "credentials refused" else FAULTS[fault]

    def requests(self) -> int:
        return sum(request.path == PATH for request in self.emulator.requests())

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
