"""OAuth 2: a person's consent, the tokens that come of it, and keeping them fresh.

The authorisation code flow with PKCE (RFC 6749, RFC 7636). Nothing is stored here: token sets are taken and given, and
``TokenStore`` is the port to wherever they live. No error and no log holds a token, a code or the client's secret: of
an answer of the token endpoint only its error words are ever shown.
"""

import hmac
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any
from urllib.parse import urlencode

import msgspec

from keepstep.integrations.call import Call
from keepstep.integrations.http import HttpClient, Response, Timeouts, split_url
from keepstep.integrations.tokens import TokenSet
from keepstep.model.errors import (
    Answer,
    AuthFailed,
    NeedsReconnect,
    NotData,
    Permanent,
    RateLimited,
    Transient,
    UpstreamError,
)
from keepstep.reliability.clock import Clock, SystemClock
from keepstep.reliability.pacing import Pacer, Pacing

_ATTEMPTS = 3
_LONGEST_WORDS = 300
_LONGEST_SUBJECT = 255
_CLIENT_FAULTS = frozenset(
    (
        "invalid_client", "unauthorized_client", "unsupported_grant_type", "redirect_uri_mismatch", "invalid_scope",
        "deleted_client", "disabled_client", "org_internal", "admin_policy_enforced",
    )
)  # fmt: skip
_PASSING = frozenset(("temporarily_unavailable", "server_error", "internal_failure"))


@dataclass(frozen=True, slots=True)
class Provider:
    """An authorisation server. ``needed``: what must have been allowed; ``also``: what is asked for besides.

    ``extra`` goes into the consent address.
    """

    title: str
    authorize_url: str
    token_url: str
    revoke_url: str
    needed: frozenset[str]
    extra: Mapping[str, str] = field(default_factory=dict)
    also: frozenset[str] = frozenset()

    def at(self, origin: str) -> "Provider":
        """The same one at another origin, for an emulator: ``/o/oauth2/auth``, ``/token`` and ``/revoke`` there."""
        base = origin.rstrip("/")
        return replace(
            self, authorize_url=f"{base}/o/oauth2/auth", token_url=f"{base}/token", revoke_url=f"{base}/revoke"
        )


@dataclass(frozen=True, slots=True)
class Client:
    """This application, as the authorisation server knows it. ``redirect_uri`` matters to a consent only."""

    id: str
    secret: str = field(repr=False)
    redirect_uri: str = ""


@dataclass(frozen=True, slots=True)
class Consent:
    """A consent that was begun. ``state`` and ``verifier`` stay with the browser's session until the code arrives."""

    address: str
    state: str = field(repr=False)
    verifier: str = field(repr=False)


class OAuth:
    """One application at one authorisation server. Close it with ``aclose``."""

    def __init__(
        self,
        provider: Provider,
        client: Client,
        *,
        pacer: Pacing | None = None,
        clock: Clock | None = None,
        timeouts: Timeouts | None = None,
    ) -> None:
        clock = clock or SystemClock()
        self.provider = provider
        self.client = client
        self._clock = clock
        self._pacer = pacer or Pacer(max_concurrency=4, per_second=None, clock=clock)
        self._timeouts = timeouts or Timeouts(connect=10.0, silence=20.0, total=30.0)
        self._clients: dict[str, HttpClient] = {}

    def begin(self, *, login_hint: str = "", state: str | None = None) -> Consent:
        """The address to send a person's browser to. ``login_hint``: the account it is about, where it is known."""
        state = state or secrets.token_urlsafe(32)
        verifier = secrets.token_urlsafe(64)
        challenge = urlsafe_b64encode(sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        query = {
            "client_id": self.client.id,
            "redirect_uri": self.client.redirect_uri,
            "response_type": "code",
            "scope": " ".join(sorted(self.provider.needed | self.provider.also)),
            "state": state,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
            **self.provider.extra,
            **({"login_hint": login_hint} if login_hint else {}),
        }
        return Consent(f"{self.provider.authorize_url}?{urlencode(query)}", state, verifier)

    def code_of(self, query: Mapping[str, str], state: str) -> str:
        """The code that the browser brings back. Raises ``NeedsReconnect`` where it brings a refusal, or no code."""
        if not state or not hmac.compare_digest(query.get("state", "").encode(), state.encode()):
            raise self._unfinished("the answer belongs to another attempt, or to none")
        if error := query.get("error", ""):
            words = "the person did not allow it" if error == "access_denied" else _words(error)
            raise self._unfinished(words)
        if not query.get("code"):
            raise self._unfinished("no code came back")
        return query["code"]

    async def exchange(self, code: str, verifier: str) -> TokenSet:
        """The tokens for a code. Raises ``NeedsReconnect`` where not everything that is needed was allowed."""
        form = {"grant_type": "authorization_code", "code": code, "code_verifier": verifier}
        tokens = await self._ask({**form, "redirect_uri": self.client.redirect_uri}, given=(code, verifier))
        if missing := self.provider.needed - tokens.scopes:
            raise self._unfinished(f"these rights were not allowed: {', '.join(sorted(missing))}")
        if not tokens.refresh_token:
            raise self._unfinished("no refresh token came, so that access would end within the hour")
        return tokens

    async def refresh(self, tokens: TokenSet) -> TokenSet:
        """Fresh tokens. What the answer leaves out stays as it was. Raises ``NeedsReconnect``, ``UpstreamError``."""
        if not tokens.refresh_token:
            raise NeedsReconnect.named("needs-reconnect", facts={**self._facts, "detail": "there is no refresh token"})
        form = {"grant_type": "refresh_token", "refresh_token": tokens.refresh_token}
        fresh = await self._ask(form, given=(tokens.refresh_token,), scopes=tokens.scopes)
        return fresh if fresh.refresh_token else fresh.with_refresh_token(tokens.refresh_token)

    async def revoke(self, tokens: TokenSet) -> None:
        """Give the consent back. One that is gone already is as good. Raises ``UpstreamError``."""
        token = tokens.refresh_token or tokens.access_token
        try:
            await self._post(self.provider.revoke_url, {"token": token}, given=(token,))
        except UpstreamError as error:
            if error.answer is None or error.answer.status != 400:
                raise

    async def aclose(self) -> None:
        """Close the connections."""
        while self._clients:
            await self._clients.popitem()[1].aclose()

    async def _ask(
        self, form: Mapping[str, str], *, given: tuple[str, ...], scopes: frozenset[str] | None = None
    ) -> TokenSet:
        own = {"client_id": self.client.id, "client_secret": self.client.secret}
        asked_at = self._clock.now()
        response = await self._post(self.provider.token_url, {**form, **own}, given=given)
        return self._tokens(response, asked_at, self.provider.needed if scopes is None else scopes)

    def _tokens(self, response: Response, asked_at: datetime, scopes: frozenset[str]) -> TokenSet:
        body = _object(response.body)
        access, refresh, scope = body.get("access_token"), body.get("refresh_token"), body.get("scope")
        if not isinstance(access, str) or not access:
            raise NotData.named(
                "wrong-envelope", facts=self._at(response, "it has no access token"), answer=_bare(response)
            )
        return TokenSet(
            access_token=access,
            refresh_token=refresh if isinstance(refresh, str) else "",
            expires_at=_end_of(body.get("expires_in"), asked_at),
            scopes=frozenset(scope.split()) if isinstance(scope, str) else scopes,
            account=account_of(body.get("id_token"), self.client.id),
        )

    async def _post(self, url: str, form: Mapping[str, str], *, given: tuple[str, ...]) -> Response:
        parts = split_url(url)
        origin = f"{parts.scheme}://{parts.netloc}"
        if origin not in self._clients:
            self._clients[origin] = HttpClient(
                origin,
                title=self.provider.title,
                headers={},
                secrets=(self.client.secret,),
                pacer=self._pacer,
                classify=self._classify,
                clock=self._clock,
                base_url_setting="the address of the authorisation server",
                size_fix="Ask the vendor.",
                timeouts=self._timeouts,
                max_body=1024 * 1024,
            )
        try:
            return await self._clients[origin].send(Call(parts.path, form=form), max_attempts=_ATTEMPTS)
        except UpstreamError as error:
            # An authorisation server may repeat in its words what it was given.
            for secret in filter(None, given):
                error.message = error.message.replace(secret, "***")
                error.args = (error.message,)
                if error.answer is not None:
                    error.answer = replace(error.answer, snippet=error.answer.snippet.replace(secret, "***"))
            raise

    def _classify(self, response: Response, _shown: Callable[[], Answer]) -> UpstreamError | None:
        status, answer = response.status, _bare(response)
        facts = self._at(response)
        body = _object(response.body)
        code = body.get("error") if isinstance(body.get("error"), str) else ""
        detail = _words(body.get("error_description") or code or f"it answers {status}")
        if status == 429 or (status == 503 and response.retry_after is not None):
            named = {**facts, "detail": f"asks for a pause ({status})"}
            return RateLimited.named("rate-limited", facts=named, after=response.retry_after, answer=answer)
        if status >= 500 or status in (408, 425) or code in _PASSING:
            return Transient.named("upstream-failed", facts=facts, answer=answer, stops_run=True)
        if code in ("invalid_grant", "interaction_required", "consent_required", "invalid_token"):
            return NeedsReconnect.named("needs-reconnect", facts={**facts, "detail": detail}, answer=answer)
        if code in _CLIENT_FAULTS:
            return AuthFailed.named("oauth-client", facts={**facts, "detail": detail}, answer=answer)
        if 300 <= status < 400:
            return Permanent.named("redirected", facts={**facts, "use_url": ""}, answer=answer, stops_run=True)
        if status >= 400:
            named = {**facts, "detail": f": {detail}"}
            return Permanent.named("request-refused", facts=named, answer=answer, stops_run=True)
        if response.body.strip() and not response.body.lstrip().startswith(b"{"):
            return NotData.named(
                "bad-json", facts={**facts, "detail": "it is no object"}, answer=answer, stops_run=True
            )
        return None

    @property
    def _facts(self) -> Mapping[str, object]:
        return {"title": self.provider.title}

    def _at(self, response: Response, detail: str = "") -> dict[str, object]:
        host = split_url(self.provider.token_url).hostname
        return {**self._facts, "path": response.path, "host": host, "status": response.status, "detail": detail}

    def _unfinished(self, detail: str) -> NeedsReconnect:
        return NeedsReconnect.named("consent-refused", facts={**self._facts, "detail": detail})


def account_of(id_token: object, client_id: str) -> str:
    """The account (``sub``) that an ID token of the token endpoint names to this client; empty where it names none.

    Its signature is not looked at: it came from the authorisation server itself, to who has the client's secret
    (OpenID Connect Core 1.0, 3.1.3.7, point 6).
    """
    if not isinstance(id_token, str):
        return ""
    try:
        _, payload, _ = id_token.split(".")
        claims = _object(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except ValueError:
        return ""
    sub, aud = claims.get("sub"), claims.get("aud")
    known = isinstance(sub, str) and 0 < len(sub) <= _LONGEST_SUBJECT and sub.isprintable()
    return str(sub) if known and client_id in (aud if isinstance(aud, list) else [aud]) else ""


def _bare(response: Response) -> Answer:
    """What may be shown of an answer: its error words, never anything else of its body."""
    body = _object(response.body)
    words = {name: _words(body[name]) for name in ("error", "error_description") if isinstance(body.get(name), str)}
    snippet = msgspec.json.encode(words).decode() if words else ""
    return Answer(response.method, response.path, response.status, response.content_type, snippet)


def _object(body: bytes) -> Mapping[str, Any]:
    try:
        value = msgspec.json.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _words(value: object) -> str:
    """Somebody else's words as part of a sentence of ours: one line, not long, without an end of their own."""
    return " ".join(str(value).split())[:_LONGEST_WORDS].rstrip(".")


def _end_of(expires_in: object, asked_at: datetime) -> datetime | None:
    """When an access token ends. Some servers give the seconds as a text; None where they give nothing of use."""
    try:
        seconds = float(expires_in) if isinstance(expires_in, int | float | str) else 0.0
        return asked_at + timedelta(seconds=seconds) if seconds > 0 else None
    except (ValueError, OverflowError):
        return None
