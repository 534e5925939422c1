"""Tokens of the application that Keepstep serves: a JWT that it signed says who asks.

::

    alg HS256, HS384, HS512        checked with the shared secret, and with nothing else
    any other that is listed       checked with a key of the JWKS, and with nothing else

A token without an end or a subject, of another issuer or audience, is worth nothing. What it says of a role is taken
from one claim that the application alone writes; without it the role is ``user``.
"""

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import jwt

from keepstep.model.errors import Busy, NotSignedIn
from keepstep.model.schedule import Role

_SHARED = ("HS256", "HS384", "HS512")
_SIGNED = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
LONGEST = 16384
_LONGEST_SUBJECT = 255
_LEEWAY = 10.0
"""Seconds by which two clocks may differ."""
_FRESH, _NOT_AGAIN = 600.0, 30.0
"""Seconds for which keys are not fetched anew, and for which not even a key that is not known makes a fetch."""
_PATIENCE = 5.0


@dataclass(frozen=True, slots=True)
class HostRules:
    """Whose tokens are taken. ``audience`` empty: for whomever they are; ``role_claim``: a path with dots."""

    secret: str = field(default="", repr=False)
    jwks_url: str = ""
    issuer: str = ""
    audience: str = ""
    role_claim: str = ""

    @property
    def wanted(self) -> bool:
        """Whether any are."""
        return bool(self.secret or self.jwks_url)


@dataclass(frozen=True, slots=True)
class HostUser:
    """Who a token speaks of. ``role`` is None where it says nothing of one."""

    subject: str
    email: str
    role: Role | None


class HostTokens:
    """Checks tokens by these rules."""

    def __init__(self, rules: HostRules) -> None:
        self._rules = rules
        self._client = jwt.PyJWKClient(rules.jwks_url, timeout=_PATIENCE) if rules.jwks_url else None
        self._keys: dict[str | None, jwt.PyJWK] = {}
        self._fetched = float("-inf")
        self._tried = float("-inf")
        self._one = asyncio.Lock()

    def is_one(self, token: str) -> bool:
        """Whether this can be such a token at all."""
        return self._rules.wanted and token.startswith("ey") and token.count(".") == 2

    async def read(self, token: str) -> HostUser:
        """Who a token speaks of. Raises ``NotSignedIn`` with the reason, ``Busy`` where its key cannot be fetched."""
        if len(token) > LONGEST:
            raise _worthless("it is too long")
        try:
            header = jwt.get_unverified_header(token)
            key, algorithms = await self._key(str(header.get("alg")), header.get("kid"))
            claims = jwt.decode(
                token, key, algorithms=list(algorithms), leeway=_LEEWAY,
                audience=self._rules.audience or None, issuer=self._rules.issuer or None,
                options={"require": ["exp", "sub"], "verify_aud": bool(self._rules.audience)},
            )  # fmt: skip
        except jwt.ExpiredSignatureError:
            raise _worthless("it has ended", fix="Sign in again.") from None
        except jwt.PyJWTError as error:
            raise _worthless(_reason(error)) from None
        return self._user(claims)

    def _user(self, claims: Mapping[str, Any]) -> HostUser:
        subject = claims["sub"]
        if not isinstance(subject, str) or not 0 < len(subject) <= _LONGEST_SUBJECT or not subject.isprintable():
            raise _worthless("its subject cannot be one")
        email = claims.get("email")
        return HostUser(subject, email if isinstance(email, str) else "", self._role(claims))

    def _role(self, claims: Mapping[str, Any]) -> Role | None:
        found: Any = claims
        for name in self._rules.role_claim.split("."):
            found = found.get(name) if isinstance(found, Mapping) else None
        return Role(found) if isinstance(found, str) and found in list(Role) else None

    async def _key(self, algorithm: str, kid: object) -> tuple[Any, tuple[str, ...]]:
        """The algorithm decides which kind of key is looked at: a public key is never taken for a shared secret."""
        if algorithm in _SHARED and self._rules.secret:
            return self._rules.secret, _SHARED
        if algorithm in _SIGNED and self._client is not None:
            found = await self._public(kid if isinstance(kid, str) else None)
            if found is None:
                raise _worthless("it was signed with a key that is not known")
            return found.key, (algorithm,)
        raise _worthless("it was signed in a way that is not accepted")

    async def _public(self, kid: str | None) -> jwt.PyJWK | None:
        now = time.monotonic()
        if kid not in self._keys or now - self._fetched > _FRESH:
            async with self._one:
                if now - self._tried > _NOT_AGAIN or (not self._keys and now > self._tried + 1):
                    await self._fetch()
        return self._keys.get(kid)

    async def _fetch(self) -> None:
        """Fetch the keys. The ones at hand are good as long as no others can be had."""
        assert self._client is not None  # noqa: S101 - asked only where there is one
        self._tried = time.monotonic()
        try:
            found = await asyncio.to_thread(self._client.get_jwk_set, refresh=True)
        except (jwt.PyJWTError, ValueError):
            if self._keys:
                return
            raise Busy(
                "The keys of the application that signed this token cannot be fetched.",
                fix="Look whether KEEPSTEP_JWT_JWKS_URL answers, then try again.",
            ) from None
        signing = [key for key in found.keys if key.public_key_use in (None, "sig")]
        keys: dict[str | None, jwt.PyJWK] = {key.key_id: key for key in signing}
        if len(signing) == 1:  # then a token need not name it
            keys.setdefault(None, signing[0])
        self._keys, self._fetched = keys, time.monotonic()


_REASONS = (
    (jwt.InvalidAudienceError, "it is for another audience"),
    (jwt.InvalidIssuerError, "it comes from another issuer"),
    (jwt.ImmatureSignatureError, "it does not hold yet"),
    (jwt.InvalidIssuedAtError, "it does not hold yet"),
    (jwt.MissingRequiredClaimError, "it lacks a claim that is needed"),
    (jwt.InvalidSignatureError, "its signature is wrong"),
)


def _reason(error: jwt.PyJWTError) -> str:
    return next((words for kind, words in _REASONS if isinstance(error, kind)), "it cannot be read")


def _worthless(reason: str, *, fix: str = "") -> NotSignedIn:
    fix = fix or "Let the application give a new one; KEEPSTEP_JWT_* say what is accepted."
    return NotSignedIn(f"The token of the application is not accepted: {reason}.", fix=fix)
