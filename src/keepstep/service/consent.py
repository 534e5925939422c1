"""Connecting an owner's account: consent is begun here, given at the authorisation server, and finished here."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from keepstep.integrations.oauth import OAuth, Provider
from keepstep.integrations.registry import Registered, Values
from keepstep.integrations.tokens import TokenSet
from keepstep.model.errors import KeepstepError, NeedsReconnect, NotFound, StoreError
from keepstep.model.schedule import Identity
from keepstep.reliability.clock import Clock, SystemClock
from keepstep.service.audit import Audit
from keepstep.service.connectors import ACCOUNT, no_client
from keepstep.service.owners import OwnerConnections
from keepstep.service.vault import Vault

LIVES = timedelta(minutes=10)
"""How long somebody may take to give consent."""
Setting = Callable[[str], Awaitable[tuple[Values, str]]]
"""What the settings say about an integration, and the address that people reach Keepstep at; empty where none does."""


@dataclass(frozen=True, slots=True)
class Begun:
    """``address``: where the browser goes. ``kept``: what it brings back, encrypted; nothing is stored here."""

    address: str
    kept: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Consents:
    """What was begun by one owner in one browser is finished by the same owner in the same browser."""

    registered: Mapping[str, Registered]
    setting: Setting
    owners: OwnerConnections
    vault: Vault
    audit: Audit
    clock: Clock = field(default_factory=SystemClock)

    async def is_possible(self, key: str) -> bool:
        """Whether this application is known where consent to an integration is given."""
        return (await self.setting(key))[0].client is not None

    async def begin(self, key: str, who: Identity, *, here: str, account: str = "", after: str = "") -> Begun:
        """Send a browser to give consent. ``here``: where it reached Keepstep; ``after``: where it goes in the end.

        Raises ``NotFound`` for what nobody connects by consent, ``BadRequest`` without an OAuth client.
        """
        registered, _ = self._known(key)
        values, public = await self.setting(key)
        if values.client is None:
            raise no_client(registered)
        redirect = f"{public or here}/api/connections/{key}/callback"
        async with aclosing(self._oauth(key, values, redirect)) as oauth:
            consent = oauth.begin(login_hint=account)
        until = (self.clock.now() + LIVES).isoformat()
        kept = {"state": consent.state, "verifier": consent.verifier, "redirect": redirect, "until": until}
        sealed = await asyncio.to_thread(self.vault.seal, {**kept, "after": after}, owner=_name(key, who))
        return Begun(consent.address, sealed.decode())

    async def finish(self, key: str, who: Identity, kept: str, query: Mapping[str, str]) -> str:
        """Store the tokens of a consent, so that what waits for them begins; gives ``after``.

        Raises ``NeedsReconnect`` where the consent was not given, or not to this attempt, ``UpstreamError``.
        """
        self._known(key)
        try:
            begun = await self._opened(key, who, kept)
            values, _ = await self.setting(key)
            async with aclosing(self._oauth(key, values, begun["redirect"])) as oauth:
                tokens = await oauth.exchange(oauth.code_of(query, begun["state"]), begun["verifier"])
            account = await self._account(self.registered[key], values, tokens)
        except KeepstepError as error:
            await self.audit.record(who.name, "owner.connect", {"integration": key, "owner": who.owner}, error.message)
            raise
        place = self.owners.tokens(key, who.owner, read=TokenSet.of, write=TokenSet.stored)
        before = await self.owners.stored(key, who.owner)
        anew = bool(account) and account != before.get(ACCOUNT)
        await place.put(tokens, by=who.name, beside={ACCOUNT: account} if account else {}, anew=anew)
        return begun["after"]

    async def _account(self, registered: Registered, values: Values, tokens: TokenSet) -> str:
        """Whose account it is: as the consent says, or by asking, which also proves that it can be read."""
        if registered.account is None:
            return tokens.account
        async with aclosing(registered.build(replace(values, api_key=tokens.access_token))) as built:
            return await registered.account(built)

    async def _opened(self, key: str, who: Identity, kept: str) -> dict[str, str]:
        """What was begun. One that another owner began, or nobody, or too long ago, is none."""
        try:
            begun = await asyncio.to_thread(self.vault.unseal, kept.encode(), owner=_name(key, who))
        except StoreError:
            begun = {}
        if not begun or datetime.fromisoformat(begun["until"]) < self.clock.now():
            detail = "it was not begun in this browser by this user, or too long ago"
            facts = {"title": self.registered[key].title, "detail": detail}
            raise NeedsReconnect.named("consent-refused", facts=facts)
        return begun

    def _known(self, key: str) -> tuple[Registered, Callable[[Values], Provider]]:
        one = self.registered.get(key)
        if one is None or one.provider is None:
            known = ", ".join(key for key, one in self.registered.items() if one.provider is not None)
            raise NotFound(f"Nobody connects {key[:40]} by consent.", fix=f"Known are: {known}.")
        return one, one.provider

    def _oauth(self, key: str, values: Values, redirect: str) -> OAuth:
        registered, provider = self._known(key)
        if values.client is None:
            raise no_client(registered)
        return OAuth(provider(values), replace(values.client, redirect_uri=redirect), clock=self.clock)


def _name(key: str, who: Identity) -> str:
    """What a consent that was begun is sealed for."""
    return f"consent of {who.owner} to {key}"
