"""An emulated authorisation server like Google's: consents, codes and tokens. Pure of HTTP but for its answers."""

import hmac
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, Protocol
from urllib.parse import urlencode

import msgspec

from keepstep.integrations.emulation.answers import HTML, Answer

CODE_SECONDS = 600.0
DAY = 86400.0
CONSENT_PATHS = ("/o/oauth2/auth", "/o/oauth2/v2/auth")
TOKEN_PATH = "/token"  # noqa: S105 - a path
REVOKE_PATHS = ("/revoke", "/o/oauth2/revoke")
SIGN_IN_PAGE = Answer(
    200,
    b'<!doctype html><html><head><meta charset="utf-8"><title>Sign in - Google Accounts</title></head>'
    b"<body><p>Sign in to continue</p></body></html>",
    HTML,
)
_GONE = "Token has been expired or revoked."


class Switches(Protocol):
    """What an emulator's options say about consents. ``consent``: allow, deny or partial (nothing that reads data)."""

    @property
    def account(self) -> str: ...

    @property
    def client_id(self) -> str: ...

    @property
    def client_secret(self) -> str: ...

    @property
    def access_token(self) -> str: ...

    @property
    def refresh_token(self) -> str: ...

    @property
    def access_token_s(self) -> float: ...

    @property
    def refresh_token_days(self) -> float: ...

    @property
    def rotate_refresh_tokens(self) -> bool: ...

    @property
    def expires_in_as(self) -> str: ...

    @property
    def consent(self) -> str: ...


@dataclass(slots=True)
class Grant:
    """One consent. ``access``: its access tokens with their ends; ``refresh``: its refresh token, or empty."""

    account: str
    scopes: frozenset[str]
    refresh: str
    given_at: float
    access: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class _Code:
    account: str
    scopes: frozenset[str]
    challenge: str
    redirect_uri: str
    end: float


class Grants:
    """Who allowed what.

    ``scopes``: any of them lets the data be read. ``now`` is the emulator's clock, ``options`` gives its switches as
    they are now.
    """

    def __init__(self, scopes: frozenset[str], options: Callable[[], Switches], now: Callable[[], float]) -> None:
        self.scopes = scopes
        self._options = options
        self._now = now
        self.reset()

    def reset(self) -> None:
        """Back to the one consent that there is from the start."""
        options = self._options()
        first = Grant(options.account, self.scopes, options.refresh_token, self._now())
        first.access[options.access_token] = float("inf")
        self._codes: dict[str, _Code] = {}
        self._grants: list[Grant] = [first]
        self.refreshed = 0

    def give(self, account: str) -> dict[str, str]:
        """A consent as its person gives it, without the browser; gives its tokens."""
        grant = Grant(account, self.scopes, f"1//{secrets.token_urlsafe(32)}", self._now())
        access = f"ya29.{secrets.token_urlsafe(32)}"
        grant.access[access] = self._now() + self._options().access_token_s
        self._grants.append(grant)
        return {"access_token": access, "refresh_token": grant.refresh}

    def of_access(self, token: str) -> Grant | None:
        """The consent of an access token that is valid now."""
        for grant in self._grants:
            end = grant.access.get(token)
            if end is not None and end > self._now():
                return grant
        return None

    def revoke_account(self, account: str) -> int:
        """Take back everything that an account allowed; gives how many consents those were."""
        before = len(self._grants)
        self._grants = [grant for grant in self._grants if grant.account != account]
        return before - len(self._grants)

    def end_access(self) -> None:
        """End every access token now; the refresh tokens stay."""
        for grant in self._grants:
            grant.access.clear()

    def answer(self, method: str, path: str, query: Mapping[str, str], form: Mapping[str, str]) -> Answer | None:
        """The answer to one request; None where it is for none of these endpoints."""
        if method == "GET" and path in CONSENT_PATHS:
            return self.consent(query)
        if method == "POST" and path == TOKEN_PATH:
            return self.token(form)
        if method == "POST" and path in REVOKE_PATHS:
            return self.revoke({**query, **form})
        return None

    def consent(self, query: Mapping[str, str]) -> Answer:
        """The consent page, answered at once as the switch ``consent`` says: back to the application's address."""
        options = self._options()
        redirect_uri = query.get("redirect_uri", "")
        if query.get("client_id") != options.client_id:
            return oauth_error(401, "invalid_client", "The OAuth client was not found.")
        if not redirect_uri or query.get("response_type") != "code" or not query.get("scope"):
            return oauth_error(400, "invalid_request", "Required parameter is missing.")
        if query.get("code_challenge_method", "plain") != "S256" or not query.get("code_challenge"):
            return oauth_error(400, "invalid_request", "A code challenge with the method S256 is required.")
        state = {"state": query["state"]} if "state" in query else {}
        if options.consent == "deny":
            return _back(redirect_uri, {"error": "access_denied", **state})
        asked = frozenset(query["scope"].split())
        scopes = asked - self.scopes if options.consent == "partial" else asked
        code = f"4/{secrets.token_urlsafe(24)}"
        account = query.get("login_hint") or options.account
        self._codes[code] = _Code(account, scopes, query["code_challenge"], redirect_uri, self._now() + CODE_SECONDS)
        return _back(redirect_uri, {"code": code, "scope": " ".join(sorted(scopes)), **state})

    def token(self, form: Mapping[str, str]) -> Answer:
        """The token endpoint."""
        options = self._options()
        if form.get("client_id") != options.client_id:
            return oauth_error(401, "invalid_client", "The OAuth client was not found.")
        if not hmac.compare_digest(form.get("client_secret", ""), options.client_secret):
            return oauth_error(401, "invalid_client", "Unauthorized")
        kind = form.get("grant_type")
        if kind == "authorization_code":
            return self._exchanged(form)
        if kind == "refresh_token":
            return self._refreshed(form.get("refresh_token", ""))
        return oauth_error(400, "unsupported_grant_type", f"Invalid grant_type: {kind}")

    def revoke(self, form: Mapping[str, str]) -> Answer:
        """The revocation endpoint: takes either token, and ends the whole consent."""
        token = form.get("token", "")
        for grant in self._grants:
            if token and (token == grant.refresh or token in grant.access):
                self._grants.remove(grant)
                return Answer(200, b"{}")
        return oauth_error(400, "invalid_token", "Token expired or revoked")

    def _exchanged(self, form: Mapping[str, str]) -> Answer:
        code = self._codes.pop(form.get("code", ""), None)  # a code is good for one try
        if code is None or code.end <= self._now():
            return oauth_error(400, "invalid_grant", "Malformed auth code.")
        if form.get("redirect_uri") != code.redirect_uri:
            return oauth_error(400, "redirect_uri_mismatch", "Bad Request")
        digest = sha256(form.get("code_verifier", "").encode()).digest()
        if not hmac.compare_digest(urlsafe_b64encode(digest).rstrip(b"=").decode(), code.challenge):
            return oauth_error(400, "invalid_grant", "Invalid code verifier.")
        grant = Grant(code.account, code.scopes, f"1//{secrets.token_urlsafe(32)}", self._now())
        self._grants.append(grant)
        return self._issued(grant, with_refresh=True)

    def _refreshed(self, token: str) -> Answer:
        options = self._options()
        grant = next((grant for grant in self._grants if token and grant.refresh == token), None)
        life = options.refresh_token_days * DAY
        if grant is None or (life and self._now() >= grant.given_at + life):
            return oauth_error(400, "invalid_grant", _GONE)
        self.refreshed += 1
        if options.rotate_refresh_tokens:
            grant.refresh = f"1//{secrets.token_urlsafe(32)}"
        return self._issued(grant, with_refresh=options.rotate_refresh_tokens)

    def _issued(self, grant: Grant, *, with_refresh: bool) -> Answer:
        options = self._options()
        access = f"ya29.{secrets.token_urlsafe(32)}"
        grant.access[access] = self._now() + options.access_token_s
        seconds = int(options.access_token_s)
        end: dict[str, object] = {"expires_in": str(seconds) if options.expires_in_as == "text" else seconds}
        return as_json(
            {
                "access_token": access,
                **({} if options.expires_in_as == "absent" else end),
                **({"refresh_token": grant.refresh} if with_refresh else {}),
                "scope": " ".join(sorted(grant.scopes)),
                "token_type": "Bearer",
                **({"id_token": self._id_token(grant)} if "openid" in grant.scopes else {}),
            }
        )

    def _id_token(self, grant: Grant) -> str:
        """Who allowed it (OpenID Connect). Google signs it with a key of its own, this one with the client's secret."""
        options, now = self._options(), int(self._now())
        claims = {
            "iss": "https://accounts.google.com", "azp": options.client_id, "aud": options.client_id,
            "sub": subject(grant.account), "iat": now, "exp": now + int(options.access_token_s),
        }  # fmt: skip
        signed = f"{_part(msgspec.json.encode({'alg': 'HS256', 'typ': 'JWT'}))}.{_part(msgspec.json.encode(claims))}"
        return f"{signed}.{_part(hmac.digest(options.client_secret.encode(), signed.encode(), 'sha256'))}"


def subject(account: str) -> str:
    """The number of an account, which stays when its address changes: as long as Google's are."""
    return str(int.from_bytes(sha256(account.encode()).digest()) % 10**21).rjust(21, "1")


def _part(value: bytes) -> str:
    return urlsafe_b64encode(value).rstrip(b"=").decode()


def _back(redirect_uri: str, values: Mapping[str, str]) -> Answer:
    joined = f"{redirect_uri}{'&' if '?' in redirect_uri else '?'}{urlencode(values)}"
    return Answer(302, b"", headers={"Location": joined})


def as_json(value: Any) -> Answer:
    """A good answer."""
    return Answer(200, msgspec.json.encode(value))


def oauth_error(code: int, name: str, description: str) -> Answer:
    """An error of the token endpoint."""
    return Answer(code, msgspec.json.encode({"error": name, "error_description": description}))
