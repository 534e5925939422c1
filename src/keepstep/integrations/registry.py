"""The integrations that exist: what each is called, what it reads, and how one is made.

Adding one is a folder beside this file and a line in ``integrations``.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType

from keepstep.integrations.call import Credentials
from keepstep.integrations.doorloop.advice import config_warnings
from keepstep.integrations.doorloop.answers import DEFAULT_BASE_URL, WINDOWS
from keepstep.integrations.doorloop.connector import DoorLoop
from keepstep.integrations.erp.advice import config_warnings as erp_warnings
from keepstep.integrations.erp.connector import Erp, Keep
from keepstep.integrations.erp.reader import ReportReader
from keepstep.integrations.google_contacts import connector as google
from keepstep.integrations.google_contacts.advice import config_warnings as google_warnings
from keepstep.integrations.google_contacts.answers import DEFAULT_BASE_URL as GOOGLE_BASE_URL
from keepstep.integrations.google_contacts.answers import WINDOWS as GOOGLE_WINDOWS
from keepstep.integrations.mail import address
from keepstep.integrations.mail.connector import Mail
from keepstep.integrations.mail.gmail import connector as gmail
from keepstep.integrations.mail.session import Account
from keepstep.integrations.oauth import Client, OAuth, Provider
from keepstep.integrations.tokens import Access, FixedToken, NoTokens, TokenStore
from keepstep.model.errors import BadRequest
from keepstep.model.integration import Entity, Integration
from keepstep.reliability.clock import Clock
from keepstep.reliability.pacing import Pacing
from keepstep.reliability.windows import Window


@dataclass(frozen=True, slots=True)
class Values:
    """The settings of one connection. ``rate_limit_rps`` is requests started in a second; 0 means no ceiling.

    Where owners give their consent: ``client`` is this application at the authorisation server, ``tokens`` the place of
    the owner's tokens. An ``api_key`` is an access token then, for somebody who tries it by hand, or the password of a
    mailbox. ``private_hosts``: whether an address that an owner gave may lead into the network that Keepstep runs in.

    ``username``: where one belongs to the ``api_key``, which is its password then. ``agent``: whose reports are read;
    ``keep`` gets each of them, ``reader`` reads them.
    """

    base_url: str
    api_key: str = field(repr=False)
    page_size: int = 100
    max_concurrency: int = 2
    rate_limit_rps: float = 4.0
    client: Client | None = None
    tokens: TokenStore | None = field(default=None, repr=False)
    private_hosts: bool = False
    username: str | None = None
    agent: str = ""
    keep: Keep | None = None
    reader: ReportReader | None = None

    @property
    def usable(self) -> bool:
        """Whether upstream can be asked with them."""
        return bool(self.api_key.strip()) and (self.username is None or bool(self.username.strip() and self.base_url))


Build = Callable[[Values, Clock | None, Pacing | None], Integration]


@dataclass(frozen=True, slots=True)
class Registered:
    """One integration. ``limits`` says in words what the vendor allows, ``windows`` in numbers. ``warnings`` names
    mistakes in values without asking upstream, as pairs of a problem and what to do. ``per_owner``: each owner has a
    connection of their own, and there is none that all share; ``provider`` is where they give their consent, and
    ``account`` asks whose account it is that the consent lets us into. ``agents``: owners are agents at one upstream,
    who share its limits, and its account unless they have their own.
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
    per_owner: bool = False
    provider: Callable[[Values], Provider] | None = None
    account: Callable[[Integration], Awaitable[str]] | None = None
    agents: bool = False

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
    return MappingProxyType({one.key: one for one in (_doorloop(), _google_contacts(), _mail(), _erp())})


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


def _consented(values: Values, provider: Provider, clock: Clock | None) -> Credentials:
    """What proves that an owner's account may be read."""
    if values.tokens is not None and values.client is not None:
        renewal = OAuth(provider, values.client, clock=clock)
        return Access(values.tokens, renewal, title=provider.title, clock=clock)
    if values.api_key.strip():
        return FixedToken(values.api_key.strip())
    why = "no account is connected" if values.client else "this application has no client id"
    return NoTokens(provider.title, why)


def _google_contacts() -> Registered:
    title = google.GoogleContacts.title

    def build(values: Values, clock: Clock | None, pacer: Pacing | None) -> Integration:
        return google.GoogleContacts(
            credentials=_consented(values, google.provider_for(values.base_url), clock),
            base_url=values.base_url,
            page_size=values.page_size,
            max_concurrency=values.max_concurrency,
            rate_limit_rps=values.rate_limit_rps,
            clock=clock,
            pacer=pacer,
        )

    return Registered(
        key=google.GoogleContacts.key,
        title=title,
        icon="google_contacts",
        colour="#1a73e8",
        default_base_url=GOOGLE_BASE_URL,
        entities=google.GoogleContacts.entities,
        limits="about 90 requests a minute for each account, and fewer first pages of full readings; beyond that 429",
        windows=GOOGLE_WINDOWS,
        warnings=lambda values: google_warnings(values.base_url, values.client),
        _build=build,
        per_owner=True,
        provider=lambda values: google.provider_for(values.base_url),
    )


def _mail() -> Registered:
    """One integration, two ways: the Gmail API, and IMAP where the address is one of an IMAP server."""

    def build(values: Values, clock: Clock | None, pacer: Pacing | None) -> Integration:
        if address.is_imap(values.base_url):
            return _mailbox(values, clock, pacer)
        return gmail.Gmail(
            credentials=_consented(values, gmail.provider_for(values.base_url), clock),
            base_url=values.base_url,
            page_size=values.page_size,
            max_concurrency=values.max_concurrency,
            rate_limit_rps=values.rate_limit_rps,
            clock=clock,
            pacer=pacer,
        )

    return Registered(
        key=Mail.key,
        title=Mail.title,
        icon="mail",
        colour="#b3541e",
        default_base_url=address.GMAIL,
        entities=Mail.entities,
        limits="Gmail counts units: 5 to 20 for a message, 6,000 to 15,000 a minute for each account; then 403 or 429",
        windows=(),
        warnings=lambda values: address.config_warnings(values.base_url),
        _build=build,
        per_owner=True,
        provider=lambda values: gmail.provider_for(values.base_url),
        account=_account,
    )


async def _account(built: Integration) -> str:
    assert isinstance(built, gmail.Gmail)  # noqa: S101 - no other mailbox is connected by consent
    return await built.account()


def _mailbox(values: Values, clock: Clock | None, pacer: Pacing | None) -> Integration:
    """A mailbox by IMAP: with a token where its owner gave consent, else with a password."""
    place = address.place_of(values.base_url)
    account = Account(
        place.host, place.user, place.port, place.security, values.api_key, public_only=not values.private_hosts
    )
    if values.tokens is not None and values.client is not None:
        proof = _consented(values, gmail.IMAP, clock)

        async def token() -> str:
            return (await proof.headers())["Authorization"].partition(" ")[2]

        account = replace(account, token=token, renew=proof.renew, end=proof.aclose)

    return Mail(
        account,
        folders=place.folders,
        limits=place.limits,
        clock=clock,
        pacer=pacer,
        base_url=values.base_url,
    )


def _erp() -> Registered:
    def build(values: Values, clock: Clock | None, pacer: Pacing | None) -> Integration:
        return Erp(
            base_url=values.base_url,
            username=values.username or "",
            password=values.api_key,
            agent=values.agent,
            page_size=values.page_size,
            max_concurrency=values.max_concurrency,
            rate_limit_rps=values.rate_limit_rps,
            keep=values.keep,
            reader=values.reader,
            clock=clock,
            pacer=pacer,
        )

    return Registered(
        key=Erp.key,
        title=Erp.title,
        icon="erp",
        colour="#5b6b2f",
        default_base_url="",
        entities=Erp.entities,
        limits="ERP_RATE_LIMIT_RPS and ERP_MAX_CONCURRENCY: nothing is known of the ERP's own limits",
        windows=(),
        warnings=lambda values: erp_warnings(values.base_url, values.username or "", values.api_key),
        _build=build,
        agents=True,
    )
