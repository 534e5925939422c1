"""What Google's APIs have in common: where consent is given, and what their refusals mean.

Facts: errors are ``google.rpc.Status`` in JSON, with reasons in ``details[]`` (``google.rpc.ErrorInfo``) and, in the
older form, in ``errors[]``.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any, Generic, TypeVar

import msgspec

from keepstep.integrations.http import Response, split_url
from keepstep.integrations.oauth import Provider
from keepstep.model.errors import Answer, NeedsReconnect, NotData, Permanent, RateLimited, Transient, UpstreamError

_DISABLED_REASONS = frozenset(("SERVICE_DISABLED", "accessNotConfigured"))
_SCOPE_REASONS = frozenset(("ACCESS_TOKEN_SCOPE_INSUFFICIENT", "insufficientPermissions"))


def provider(title: str, scope: str) -> Provider:
    """Google's authorisation server, for consent to one scope."""
    return Provider(
        title=title,
        authorize_url="https://accounts.google.com/o/oauth2/v2/auth",
        token_url="https://oauth2.googleapis.com/token",  # noqa: S106 - an address
        revoke_url="https://oauth2.googleapis.com/revoke",
        needed=frozenset((scope,)),
        # Without these two Google gives no refresh token, or only at the very first consent.
        extra={"access_type": "offline", "prompt": "consent", "include_granted_scopes": "true"},
    )


def provider_at(base_url: str, google: Provider) -> Provider:
    """Where consent to read from an address is given: at Google, or at the emulator that answers there."""
    host = split_url(base_url).hostname or ""
    return google if host == "googleapis.com" or host.endswith(".googleapis.com") else google.at(base_url)


@dataclass(frozen=True)
class Api:
    """One of Google's APIs. ``settings``: how the names of its settings begin; ``docs``: what explains its errors;
    ``data``: what it is about.
    """

    title: str
    integration: str
    settings: str
    base_url: str
    docs: str
    data: str

    @cached_property
    def facts(self) -> Mapping[str, object]:
        """What the texts of every fault of it are filled in with."""
        return MappingProxyType(
            {
                "title": self.title,
                "url_setting": f"{self.settings}_BASE_URL",
                "use_url": f"Set {self.settings}_BASE_URL={self.base_url}.",
                "key_setting": "the connection to Google",
                "size_setting": f"{self.settings}_PAGE_SIZE",
                "entities_setting": "the entities of the connection",
                "integration": self.integration,
            }
        )

    @property
    def check_url(self) -> str:
        """What to do where the address may be wrong."""
        return f"Check {self.settings}_BASE_URL; the usual one is {self.base_url}."


@dataclass(frozen=True)
class Seen:
    """An answer under judgement."""

    api: Api
    response: Response
    shown: Callable[[], Answer]
    base_url: str

    @property
    def status(self) -> int:
        return self.response.status

    @property
    def start(self) -> bytes:
        return self.response.body[:4096].lstrip(b"\xef\xbb\xbf \t\r\n")

    @property
    def is_html(self) -> bool:
        return self.response.content_type == "text/html" or self.start[:1] == b"<"

    @cached_property
    def error(self) -> Mapping[str, Any]:
        """Google's error object, or an empty one."""
        try:
            body = msgspec.json.decode(self.response.body)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            return {}
        error = body.get("error") if isinstance(body, dict) else None
        return error if isinstance(error, dict) else {}

    @cached_property
    def reasons(self) -> frozenset[str]:
        """The reasons, in either form."""
        lists = (self.error.get("details"), self.error.get("errors"))
        entries = [entry for found in lists if isinstance(found, list) for entry in found if isinstance(entry, dict)]
        return frozenset(entry["reason"] for entry in entries if isinstance(entry.get("reason"), str))

    @property
    def message(self) -> str:
        """Google's own sentence, masked and short."""
        try:
            shown = msgspec.json.decode(self.shown().snippet)
        except (msgspec.MsgspecError, RecursionError):
            return ""
        error = shown.get("error") if isinstance(shown, dict) else None
        text = error.get("message") if isinstance(error, dict) else None
        return " ".join(text.split())[:300].rstrip(".") if isinstance(text, str) else ""


E = TypeVar("E", bound=UpstreamError)
S = TypeVar("S", bound=Seen)
S_contra = TypeVar("S_contra", bound=Seen, contravariant=True)


@dataclass(frozen=True, slots=True)
class Rule(Generic[S_contra]):
    """One line of a table: which answers it is for, and the error they mean."""

    applies: Callable[[S_contra], bool]
    error: Callable[[S_contra], UpstreamError]


def judged(seen: S, rules: Iterable[Rule[S]]) -> UpstreamError | None:
    """The error that an answer means by the first rule that applies, or None when it looks like data."""
    if seen.status == 200 and seen.response.body[:1] == b"{":
        return None
    return next((rule.error(seen) for rule in rules if rule.applies(seen)), None)


def named(kind: type[E], code: str, seen: Seen, **more: object) -> E:
    """An error in the table's words. Of ``more``, ``stops_run`` and ``after`` are the error's own, the rest facts."""
    own = {name: more.pop(name) for name in ("stops_run", "after") if name in more}
    answer = seen.shown()
    host = split_url(seen.base_url).hostname or seen.base_url
    facts = {"path": answer.path, "host": host, "url": seen.base_url, "status": seen.status, **seen.api.facts, **more}
    return kind.named(code, facts=facts, answer=answer, **own)


def limited(seen: Seen, told: float | None, otherwise: float | None = None) -> UpstreamError:
    """Too many requests. ``told``: the seconds that it asks to wait; ``otherwise``: where it names none."""
    wait = "without saying for how long" if told is None else f"for {told:.0f} s"
    busy = f"has counted too many requests ({seen.status}) and asks to wait {wait}"
    return named(RateLimited, "rate-limited", seen, after=otherwise if told is None else told, detail=busy)


def forbidden(seen: Seen, *, stops_run: bool) -> UpstreamError:
    """Refused (403), without a reason that says more."""
    if seen.is_html:
        return named(Permanent, "firewall", seen, stops_run=True)
    return named(Permanent, "access-denied", seen, stops_run=stops_run, see=f" ({seen.api.docs})")


def not_found(seen: Seen, *, stops_run: bool) -> UpstreamError:
    """No such endpoint (404)."""
    return named(Permanent, "endpoint-unknown", seen, advice=seen.api.check_url, stops_run=stops_run)


def _redirect(seen: Seen) -> UpstreamError:
    host = split_url(seen.response.headers.get("location", "")).hostname or "another address"
    return named(Permanent, "redirected", seen, stops_run=True, host=host)


def _unauthorised(seen: Seen) -> UpstreamError:
    words = "it refuses the access token (401)"
    said = f"{words}, saying: {seen.message}" if seen.message else words
    return named(NeedsReconnect, "needs-reconnect", seen, detail=said)


def _scope(seen: Seen) -> UpstreamError:
    return named(NeedsReconnect, "needs-reconnect", seen, detail=f"it does not allow to read {seen.api.data} (403)")


def _invalid(seen: Seen) -> UpstreamError:
    advice = f"Compare the request with {seen.api.docs}."
    return named(Permanent, "request-rejected", seen, detail=_detail(seen), advice=advice)


def _other_refusal(seen: Seen) -> UpstreamError:
    advice = f"Compare with {seen.api.docs}."
    return named(Permanent, "request-refused", seen, detail=_detail(seen), advice=advice)


def _detail(seen: Seen) -> str:
    return f": {seen.message}" if seen.message else ""


def _web_page(seen: Seen) -> UpstreamError:
    return named(NotData, "html-instead-of-data", seen, advice=seen.api.check_url, stops_run=True)


FIRST: tuple[Rule[Seen], ...] = (
    Rule(lambda s: 300 <= s.status < 400, _redirect),
    Rule(lambda s: s.status == 401, _unauthorised),
)
"""What comes before an API's own rules."""
NOT_ALLOWED: tuple[Rule[Seen], ...] = (
    Rule(
        lambda s: s.status == 403 and bool(s.reasons & _DISABLED_REASONS),
        lambda s: named(Permanent, "api-disabled", s, stops_run=True),
    ),
    Rule(lambda s: s.status == 403 and bool(s.reasons & _SCOPE_REASONS), _scope),
)
"""What a 403 means that is not about too many requests."""
LAST: tuple[Rule[Seen], ...] = (
    Rule(lambda s: s.status in (400, 422), _invalid),
    Rule(lambda s: s.status >= 500 or s.status in (408, 425), lambda s: named(Transient, "upstream-failed", s)),
    Rule(lambda s: not 200 <= s.status < 300, _other_refusal),
    Rule(lambda s: s.start == b"", lambda s: named(NotData, "empty-answer", s)),
    Rule(lambda s: s.is_html, _web_page),
)
"""What comes after them; an answer that none applies to is data, as far as can be seen from outside."""
