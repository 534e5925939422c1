"""An owner's mailbox on an IMAP server: tried before it is kept, so that what is stored has worked once."""

import asyncio
import re
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Annotated, Literal

from keepstep.integrations.mail.address import Place, address_of, is_imap, place_of
from keepstep.integrations.mail.connector import Mail
from keepstep.integrations.mail.refusals import FACTS
from keepstep.integrations.mail.session import Security
from keepstep.integrations.registry import Registered, Values
from keepstep.model.errors import BadRequest, Permanent, RateLimited, TooManyTries, UpstreamError
from keepstep.service.audit import Audit
from keepstep.service.connectors import ACCOUNT, ADDRESS, PASSWORD
from keepstep.service.consent import Setting
from keepstep.service.owners import TOKENS, OwnerConnections
from keepstep.service.shapes import Absent, Shape, one_of
from keepstep.store import accounts as tries
from keepstep.store.db import Database

KEY = Mail.key
PATIENCE = 30.0
"""Seconds that somebody waits for a mail server to let them in, all guesses of its name together."""
_TRIES, _WINDOW = 20, 15 * 60.0
_NOT_THERE = frozenset(("dns-failed", "connection-refused", "connect-timeout", "no-route", "tls-failed", "not-imap"))
"""What says of a name that was guessed that it is not the mail server's."""
_DOMAIN, _WITH_PORT = re.compile(r"[\w-]+(\.[\w-]+)+"), re.compile(r"([^:]+):([1-9][0-9]{0,4})")
_KNOWN = {
    "gmail.com": "imap.gmail.com", "googlemail.com": "imap.gmail.com", "outlook.com": "outlook.office365.com",
    "hotmail.com": "outlook.office365.com", "live.com": "outlook.office365.com", "icloud.com": "imap.mail.me.com",
    "me.com": "imap.mail.me.com", "mac.com": "imap.mail.me.com", "yahoo.com": "imap.mail.yahoo.com",
    "yahoo.it": "imap.mail.yahoo.com", "aol.com": "imap.aol.com", "gmx.de": "imap.gmx.net", "gmx.net": "imap.gmx.net",
    "libero.it": "imapmail.libero.it", "tiscali.it": "imap.tiscali.it", "alice.it": "in.alice.it",
    "pec.it": "imaps.pec.aruba.it",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Given:
    """What somebody says of a mailbox. ``address``: the e-mail address, or all of it as ``imaps://user@host/folders``.

    What is left out is taken from the address, or found out.
    """

    address: str
    password: str = field(repr=False)
    user: str = ""
    host: str = ""
    port: int | None = None
    security: Security | None = None
    folders: Sequence[str] = ()


class Mailbox(Shape):
    """The mailbox of an owner, without its password. ``by``: the way it is read; by the Gmail API it has no host."""

    by: Annotated[Literal["imap", "gmail"], one_of("imap", "gmail")]
    user: Annotated[str | None, Absent] = None
    host: Annotated[str | None, Absent] = None
    port: Annotated[int | None, Absent] = None
    security: Annotated[str | None, Absent] = None
    folders: list[str]

    @property
    def title(self) -> str:
        """In words."""
        if self.by == "gmail":
            return f"{self.user or 'an account'} at Gmail"
        return f"{self.user} at {self.host}" + (f", {', '.join(self.folders)}" if self.folders else "")


@dataclass(frozen=True, slots=True)
class Mailboxes:
    """Shows and connects mailboxes of owners."""

    database: Database
    registered: Registered
    setting: Setting
    owners: OwnerConnections
    audit: Audit

    async def of(self, owner: str) -> Mailbox | None:
        """What an owner has connected; None where nothing, or nothing that a key of ours opens: its runs say so."""
        own = await self.owners.stored(KEY, owner)
        if ADDRESS in own:
            return _shown(place_of(own[ADDRESS]))
        return Mailbox(by="gmail", user=own.get(ACCOUNT), folders=[]) if TOKENS in own else None

    async def connect(self, owner: str, given: Given, *, by: str) -> Mailbox:
        """Log in to a mailbox, and keep it if that went well; what waits for it begins. Gives the folders to be read.

        Raises ``BadRequest`` with the words and the fix for what is wrong with it, ``RateLimited`` where the server
        wants a pause, ``TooManyTries``.
        """
        await self._count_try(owner)
        try:
            address, folders = await self._tried(list(_meant(given)), given.password)
        except (UpstreamError, BadRequest) as error:
            payload = {"integration": KEY, "owner": owner, "address": given.address, "host": given.host}
            await self.audit.record(by, "owner.connect", payload, error.message)
            raise
        before = await self.owners.stored(KEY, owner)
        anew = _who(before.get(ADDRESS, "")) != _who(address)
        await self.owners.connect(KEY, owner, {ADDRESS: address, PASSWORD: given.password}, by=by, anew=anew)
        return _shown(place_of(address), folders)

    async def _tried(self, addresses: Sequence[str], password: str) -> tuple[str, tuple[str, ...]]:
        """The first of the addresses that lets us in, and the folders there."""
        values = replace((await self.setting(KEY))[0], api_key=password, tokens=None)
        first: UpstreamError | None = None
        try:
            async with asyncio.timeout(PATIENCE):
                for address in addresses:
                    try:
                        return address, await self._folders(replace(values, base_url=address))
                    except UpstreamError as error:
                        first = first if first is not None and error.code in _NOT_THERE else error
                        if error.code not in _NOT_THERE:
                            break
        except TimeoutError:
            facts = {**FACTS, "host": place_of(addresses[0]).host}
            first = first or Permanent.named("answer-timeout", facts=facts)
        assert first is not None  # noqa: S101 - there is an address, and it did not let us in
        raise _in_words(first, guessed=len(addresses) > 1)

    async def _folders(self, values: Values) -> tuple[str, ...]:
        connector = self.registered.build(values)
        assert isinstance(connector, Mail)  # noqa: S101 - the address says so
        async with aclosing(connector):
            return await connector.folders()

    async def _count_try(self, owner: str) -> None:
        """Whoever may try passwords at a mail server through us may not try many."""
        limits = [(f"mailbox of {owner}", _TRIES)]
        async with self.database.connection() as connection:
            counted, after = await tries.begin_try(connection, limits, window=_WINDOW)
        if not counted:
            minutes = max(1, round(after / 60 + 0.49))
            words = f"Wait {minutes} minute{'s' if minutes > 1 else ''}, then try again."
            raise TooManyTries("Too many tries to connect a mailbox.", after=after, fix=words)


def _who(address: str) -> tuple[str, str]:
    """What makes a mailbox the same one: its numbers of messages mean nothing in another."""
    place = place_of(address)
    return place.host.lower(), place.user


def _meant(given: Given) -> Iterator[str]:
    """The addresses that may be meant, the likeliest first. Raises ``BadRequest``."""
    address, limits = given.address.strip(), None
    if "://" in address:
        if not is_imap(address):
            raise BadRequest("This is not the address of a mailbox.", fix="Write it as imaps://user@host.")
        place = place_of(address)
        limits = place.limits
        named = replace(given, user=given.user or place.user, host=given.host or place.host,
                        port=given.port or place.port, security=given.security or place.security,
                        folders=given.folders or place.folders)  # fmt: skip
    else:
        named = replace(given, user=given.user or address)
        if (found := _WITH_PORT.fullmatch(given.host.strip())) is not None:
            named = replace(named, host=found[1], port=given.port or int(found[2]))
    if not named.user:
        raise BadRequest("The mailbox has no user.", fix="Give the e-mail address, or the user name at the server.")
    security: Security = named.security or ("starttls" if named.port == 143 else "tls")
    hosts = [host] if (host := named.host.strip().strip("[]")) else _guessed(address)
    if not hosts:
        raise BadRequest("The mail server is not known.", fix="Give the host of the mail server, such as imap.HOST.")
    for host in hosts:
        whole = address_of(
            named.user, host, port=named.port, security=security, folders=named.folders, limits=limits
        )  # fmt: skip
        if not is_imap(whole) or not place_of(whole).host:
            raise BadRequest("The mail server cannot be called so.", fix="Give its name alone, such as imap.HOST.")
        yield whole


def _guessed(address: str) -> list[str]:
    """Where the mail of an e-mail address may be."""
    domain = address.rpartition("@")[2].lower().rstrip(".")
    if "@" not in address or _DOMAIN.fullmatch(domain) is None:
        return []
    return [_KNOWN[domain]] if domain in _KNOWN else [f"imap.{domain}", f"mail.{domain}"]


def _in_words(error: UpstreamError, *, guessed: bool) -> BadRequest | UpstreamError:
    """What is wrong with what was given is the caller's to mend; a server that wants a pause is not."""
    if isinstance(error, RateLimited):
        return error
    fix = "Give the host of the mail server." if guessed and error.code in _NOT_THERE else error.fix
    refusal = BadRequest(error.message, fix=fix)
    refusal.code = error.code
    return refusal


def _shown(place: Place, folders: Sequence[str] = ()) -> Mailbox:
    return Mailbox(
        by="imap", user=place.user, host=place.host, port=place.port, security=place.security,
        folders=list(folders or place.folders),
    )  # fmt: skip
