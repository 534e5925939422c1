"""The tokens of one owner's consent: what they are, where they live, and the proof that is made of them."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from keepstep.model.errors import NeedsReconnect
from keepstep.reliability.clock import Clock, SystemClock

SLACK = timedelta(seconds=60)
"""An access token that ends so soon is renewed before it is used."""


@dataclass(frozen=True, slots=True)
class TokenSet:
    """What a consent gives. ``expires_at`` is the access token's end; None where nobody said.

    ``account``: whose consent it is, where the server says so as it is given; it is not stored with the tokens.
    """

    access_token: str = field(repr=False)
    refresh_token: str = field(default="", repr=False)
    expires_at: datetime | None = None
    scopes: frozenset[str] = frozenset()
    account: str = ""

    def is_fresh(self, now: datetime) -> bool:
        """Whether the access token can be used."""
        return bool(self.access_token) and (self.expires_at is None or self.expires_at - SLACK > now)

    def with_refresh_token(self, token: str) -> "TokenSet":
        """The same with another refresh token."""
        return replace(self, refresh_token=token)

    def stored(self) -> dict[str, Any]:
        """Plain JSON, to be encrypted before it is written anywhere."""
        return {
            "access_token": self.access_token,
            "refresh_token": self.refresh_token,
            "expires_at": None if self.expires_at is None else self.expires_at.astimezone(UTC).isoformat(),
            "scopes": sorted(self.scopes),
        }

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> "TokenSet":
        """What ``stored`` gave."""
        end = stored.get("expires_at")
        return cls(
            str(stored.get("access_token") or ""),
            str(stored.get("refresh_token") or ""),
            None if end is None else datetime.fromisoformat(str(end)),
            frozenset(stored.get("scopes") or ()),
        )


class HeldTokens(Protocol):
    """The tokens of one owner while nobody else may renew them."""

    @property
    def tokens(self) -> TokenSet | None:
        """As they are stored now, read after the lock was had."""
        ...

    async def save(self, tokens: TokenSet) -> None:
        """Store others in their place, before the lock is given back."""
        ...


class TokenStore(Protocol):
    """Where the tokens of one owner live. Any number of processes may use the same ones."""

    async def load(self) -> TokenSet | None:
        """The tokens as they are stored now; None where there are none."""
        ...

    def locked(self) -> AbstractAsyncContextManager[HeldTokens]:
        """Keep everybody else from renewing them while the block lasts."""
        ...


class Renewal(Protocol):
    """Makes fresh tokens of older ones: ``OAuth``."""

    async def refresh(self, tokens: TokenSet) -> TokenSet:
        """Fresh tokens. Raises ``NeedsReconnect``, ``UpstreamError``."""
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...


class Access:
    """The proof of an owner's requests. Of several workers with the same store only one renews the tokens."""

    def __init__(self, store: TokenStore, renewal: Renewal, *, title: str, clock: Clock | None = None) -> None:
        self._store = store
        self._renewal = renewal
        self._title = title
        self._clock = clock or SystemClock()
        self._tokens: TokenSet | None = None
        self._one = asyncio.Lock()
        self._ended: NeedsReconnect | None = None

    @property
    def secrets(self) -> Sequence[str]:
        """The tokens in use."""
        tokens = self._tokens
        return () if tokens is None else (tokens.access_token, tokens.refresh_token)

    async def headers(self) -> Mapping[str, str]:
        """The header of the next request, with tokens renewed where they are about to end."""
        tokens = self._tokens
        if tokens is None or not tokens.is_fresh(self._clock.now()):
            tokens = await self._fresh(None)
        return {"Authorization": f"Bearer {tokens.access_token}"}

    async def renew(self) -> bool:
        """The access token was refused although it had not ended: get another one."""
        refused = self._tokens
        if refused is None:
            return False
        await self._fresh(refused.access_token)
        return True

    async def aclose(self) -> None:
        """Close the connections to the authorisation server."""
        await self._renewal.aclose()

    async def _fresh(self, refused: str | None) -> TokenSet:
        """Tokens that can be used: those that somebody else renewed meanwhile, or new ones."""
        async with self._one:
            if self._ended is not None:
                raise self._ended.with_traceback(None)
            now = self._clock.now()
            if self._tokens is not None and _fit(self._tokens, refused, now):
                return self._tokens
            stored = await self._store.load()
            if stored is not None and _fit(stored, refused, now):
                self._tokens = stored
                return stored
            async with self._store.locked() as held:
                if held.tokens is None:
                    detail = "it was never given, or was taken back here"
                    raise NeedsReconnect.named("needs-reconnect", facts={"title": self._title, "detail": detail})
                self._tokens = held.tokens
                if not _fit(held.tokens, refused, now):
                    self._tokens = await self._renewed(held.tokens)
                    await held.save(self._tokens)
            return self._tokens

    async def _renewed(self, tokens: TokenSet) -> TokenSet:
        try:
            return await self._renewal.refresh(tokens)
        except NeedsReconnect as ended:
            self._ended = ended  # asking again would only be one more refusal
            raise


class FixedToken:
    """An access token that somebody gave by hand: it cannot be renewed."""

    def __init__(self, token: str) -> None:
        self._token = token

    @property
    def secrets(self) -> Sequence[str]:
        """The token."""
        return (self._token,)

    async def headers(self) -> Mapping[str, str]:
        """The header of every request."""
        return {"Authorization": f"Bearer {self._token}"}

    async def renew(self) -> bool:
        """Never."""
        return False

    async def aclose(self) -> None:
        """Nothing to give back."""


class NoTokens:
    """The credentials of somebody who has not connected, or cannot: there is no application to connect to."""

    secrets: Sequence[str] = ()

    def __init__(self, title: str, detail: str) -> None:
        self._facts = {"title": title, "detail": detail}

    async def headers(self) -> Mapping[str, str]:
        """There are none. Raises ``NeedsReconnect``."""
        raise NeedsReconnect.named("needs-reconnect", facts=self._facts)

    async def renew(self) -> bool:
        """Never."""
        return False

    async def aclose(self) -> None:
        """Nothing to give back."""


def _fit(tokens: TokenSet, refused: str | None, now: datetime) -> bool:
    return tokens.access_token != refused and tokens.is_fresh(now)
