"""What happens to every request before a route sees it, and to every answer before it leaves.

A request that changes something must not come from another site's page. A path of the API asks who calls before it
reads a body. Every answer says what a browser may do with it.
"""

from collections.abc import Collection, Mapping
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from keepstep.model.errors import KeepstepError, NotAllowed, NotSignedIn
from keepstep.model.schedule import Identity
from keepstep.service.accounts import Accounts
from keepstep.service.problems import problem
from keepstep.service.scope import narrow
from keepstep.web import origins
from keepstep.web.problems import answer

SESSION_COOKIE = "keepstep_session"
SAFE = frozenset(("GET", "HEAD", "OPTIONS", "TRACE"))
API = "/api/"
CONSENTS = f"{API}connections/"
"""Of the API a browser opens only what begins and ends a consent; a GET has no body, and its route asks who calls."""
_IDENTITY = "keepstep.identity"
_ORIGIN = "keepstep.origin"
"""The origin of another site's page that may use the API, where a request comes from one."""

HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    # Not no-referrer: with it a browser gives a form of ours the origin "null".
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}


class Guard:
    """ASGI middleware. ``is_open``: methods and paths that ask for no credentials. ``allowed``: origins of other
    sites' pages that may use the API with a token.
    """

    def __init__(
        self, app: ASGIApp, accounts: Accounts, is_open: frozenset[tuple[str, str]], allowed: Collection[str] = ()
    ) -> None:
        self._app = app
        self._accounts = accounts
        self._is_open = is_open
        self._allowed = frozenset(allowed)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or hand on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        headers = Headers(scope=scope)
        if scope["path"].startswith(API) and (origin := headers.get("origin", "")) in self._allowed:
            scope[_ORIGIN] = origin

        async def marked(message: Message) -> None:
            if message["type"] == "http.response.start":
                _mark(scope, message)
            await send(message)

        if _ORIGIN in scope and origins.is_question(scope["method"], headers):
            await origins.permission()(scope, receive, marked)
            return
        try:
            await self._admit(scope)
        except KeepstepError as error:
            await answer(problem(error))(scope, receive, marked)
            return
        await self._app(scope, receive, marked)

    async def _admit(self, scope: Scope) -> None:
        method, path = scope["method"], scope["path"]
        headers = Headers(scope=scope)
        trusted = _ORIGIN in scope and bearer(headers) is not None
        if not trusted and (reason := foreign(method, headers)):
            raise NotAllowed(
                reason, fix="Use Keepstep's own page, or a program that sends a token and no Origin header."
            )
        opened = method == "GET" and path.startswith(CONSENTS)
        if path.startswith(API) and not opened and (method, path) not in self._is_open:
            await identity_of(scope, self._accounts)


async def identity_of(scope: Scope, accounts: Accounts) -> Identity:
    """Who a request comes from; asked once for each request. Raises ``NotSignedIn``."""
    if (known := scope.get(_IDENTITY)) is None:
        headers = Headers(scope=scope)
        session = None if _ORIGIN in scope else session_cookie(headers)
        known = await accounts.identify(token=bearer(headers), session=session)
        if known is None:
            raise NotSignedIn(
                "There are no valid credentials with this request.",
                fix="Sign in, or send the header Authorization: Bearer TOKEN; keepstep token prints one.",
            )
        scope[_IDENTITY] = known
    identity: Identity = known
    narrow(identity.scope)
    return identity


def bearer(headers: Mapping[str, str]) -> str | None:
    """The bearer token of a request; None where there is none. Other schemes are a proxy's own business."""
    scheme, _, token = headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


def session_cookie(headers: Mapping[str, str]) -> str | None:
    """The session's cookie."""
    for part in headers.get("cookie", "").split(";"):
        name, _, value = part.strip().partition("=")
        if name == SESSION_COOKIE:
            return value
    return None


def foreign(method: str, headers: Mapping[str, str]) -> str:
    """Why a request that changes something comes from another site's page; empty when it does not.

    Browsers say where a request comes from, and no page can forge it. Programs say nothing: they have no cookie that
    could be abused.
    """
    if method in SAFE:
        return ""
    site = headers.get("sec-fetch-site", "").strip().lower()
    if site and site not in ("same-origin", "none"):
        return f"A page of another site may not do this (Sec-Fetch-Site: {site})."
    origin = headers.get("origin", "").strip()
    if origin and not any(_same_host(origin, headers.get(name, "")) for name in ("host", "x-forwarded-host")):
        return "A page of another site may not do this (its Origin is not this host)."
    return ""


def _same_host(origin: str, host: str) -> bool:
    """Whether an origin's host and port are these. The scheme is left out: a proxy may speak TLS for us."""
    try:
        ours, theirs = urlsplit(f"//{host.strip()}"), urlsplit(origin)
        default = {"http": 80, "https": 443}.get(theirs.scheme)
        return (
            default is not None
            and bool(theirs.hostname)
            and theirs.hostname == ours.hostname
            and (theirs.port or default) == (ours.port or default)
        )
    except ValueError:
        return False


def _mark(scope: Scope, message: Message) -> None:
    headers = MutableHeaders(scope=message)
    if _ORIGIN in scope:
        origins.let_read(headers, scope[_ORIGIN])
    for name, value in HEADERS.items():
        headers.setdefault(name, value)
    if scope["path"].startswith(API):
        headers.setdefault("cache-control", "no-store")
    if message["status"] == 401:
        headers.setdefault("www-authenticate", 'Bearer realm="keepstep"')
