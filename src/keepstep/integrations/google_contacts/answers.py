"""What each answer of the People API means: one table from status, reason and beginning of the body to an error.

Facts: Google's errors are ``google.rpc.Status`` in JSON, with reasons in ``details[]`` (``google.rpc.ErrorInfo``). An
expired sync token comes as 400 with the reason ``EXPIRED_SYNC_TOKEN`` (so says the wire) or as 410 (so say Google's
samples). The first page of a full reading has a quota of its own, answered with 429 and without ``Retry-After``.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from types import MappingProxyType
from typing import Any, TypeVar

import msgspec

from keepstep.integrations.http import Response, split_url
from keepstep.model.errors import (
    Answer,
    ChangesLost,
    NeedsReconnect,
    NotData,
    Permanent,
    RateLimited,
    Transient,
    UpstreamError,
)
from keepstep.reliability.windows import Window

DOCS = "https://developers.google.com/people/api/rest/v1/people.connections/list"
DEFAULT_BASE_URL = "https://people.googleapis.com"
USE_DEFAULT_URL = f"Set GOOGLE_CONTACTS_BASE_URL={DEFAULT_BASE_URL}."
WINDOWS = (Window(90, 60.0),)
"""Requests of one account in so many seconds: the quota "critical read requests" as clients observed it."""
QUOTA_SECONDS = 60.0
"""Google's quotas count by the minute, and its 429 says nothing of how long to wait."""
FACTS: Mapping[str, object] = MappingProxyType(
    {
        "title": "Google Contacts",
        "url_setting": "GOOGLE_CONTACTS_BASE_URL",
        "use_url": USE_DEFAULT_URL,
        "key_setting": "the connection to Google",
        "size_setting": "GOOGLE_CONTACTS_PAGE_SIZE",
        "entities_setting": "the entities of the connection",
        "integration": "google_contacts",
    }
)
"""What the texts of every fault of Google Contacts are filled in with."""
_EXPIRED = "EXPIRED_SYNC_TOKEN"
_EXPIRED_WORDS = "sync token is expired"
_USAGE_REASONS = frozenset(("RATE_LIMIT_EXCEEDED", "rateLimitExceeded", "userRateLimitExceeded", "quotaExceeded"))
_DISABLED_REASONS = frozenset(("SERVICE_DISABLED", "accessNotConfigured"))
_SCOPE_REASONS = frozenset(("ACCESS_TOKEN_SCOPE_INSUFFICIENT", "insufficientPermissions"))
E = TypeVar("E", bound=UpstreamError)


@dataclass(frozen=True)
class Seen:
    """An answer under judgement."""

    response: Response
    shown: Callable[[], Answer]
    base_url: str

    @property
    def status(self) -> int:
        return self.response.status

    @property
    def host(self) -> str:
        return split_url(self.base_url).hostname or self.base_url

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
        """The reasons in ``details[]`` and, in the older form, in ``errors[]``."""
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


def _named(kind: type[E], code: str, seen: Seen, **more: object) -> E:
    """An error in the table's words. Of ``more``, ``stops_run`` and ``after`` are the error's own, the rest facts."""
    own = {name: more.pop(name) for name in ("stops_run", "after") if name in more}
    answer = seen.shown()
    facts = {"path": answer.path, "host": seen.host, "url": seen.base_url, "status": seen.status, **FACTS, **more}
    return kind.named(code, facts=facts, answer=answer, **own)


def _redirect(seen: Seen) -> UpstreamError:
    host = split_url(seen.response.headers.get("location", "")).hostname or "another address"
    return _named(Permanent, "redirected", seen, stops_run=True, host=host)


def _expired(seen: Seen) -> UpstreamError:
    return _named(ChangesLost, "changes-lost", seen, detail="its sync token has expired")


def _unauthorised(seen: Seen) -> UpstreamError:
    return _named(NeedsReconnect, "needs-reconnect", seen, detail=_said(seen, "it refuses the access token (401)"))


def _scope(seen: Seen) -> UpstreamError:
    return _named(NeedsReconnect, "needs-reconnect", seen, detail="it does not allow to read contacts (403)")


def _disabled(seen: Seen) -> UpstreamError:
    return _named(Permanent, "api-disabled", seen, stops_run=True)


def _forbidden(seen: Seen) -> UpstreamError:
    if seen.is_html:
        return _named(Permanent, "firewall", seen, stops_run=True)
    return _named(Permanent, "access-denied", seen, stops_run=True, see=f" ({DOCS})")


def _not_found(seen: Seen) -> UpstreamError:
    advice = f"Check GOOGLE_CONTACTS_BASE_URL; the usual one is {DEFAULT_BASE_URL}."
    return _named(Permanent, "endpoint-unknown", seen, advice=advice, stops_run=True)


def _invalid(seen: Seen) -> UpstreamError:
    detail = f": {seen.message}" if seen.message else ""
    return _named(Permanent, "request-rejected", seen, detail=detail, advice=f"Compare the request with {DOCS}.")


def _rate_limited(seen: Seen) -> UpstreamError:
    after = seen.response.retry_after
    wait = "without saying for how long" if after is None else f"for {after:.0f} s"
    # Without a hint it is the quota of a minute: asking again and again within it would only use it up.
    after = QUOTA_SECONDS if after is None else after
    busy = f"has counted too many requests ({seen.status}) and asks to wait {wait}"
    return _named(RateLimited, "rate-limited", seen, after=after, detail=busy)


def _server_fault(seen: Seen) -> UpstreamError:
    return _named(Transient, "upstream-failed", seen)


def _other_refusal(seen: Seen) -> UpstreamError:
    detail = f": {seen.message}" if seen.message else ""
    return _named(Permanent, "request-refused", seen, detail=detail, advice=f"Compare with {DOCS}.")


def _web_page(seen: Seen) -> UpstreamError:
    advice = f"Check GOOGLE_CONTACTS_BASE_URL; the usual one is {DEFAULT_BASE_URL}."
    return _named(NotData, "html-instead-of-data", seen, advice=advice, stops_run=True)


def _empty(seen: Seen) -> UpstreamError:
    return _named(NotData, "empty-answer", seen)


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of the table: which answers it is for, and the error they mean."""

    applies: Callable[[Seen], bool]
    error: Callable[[Seen], UpstreamError]


RULES = (
    Rule(lambda s: 300 <= s.status < 400, _redirect),
    Rule(lambda s: s.status in (400, 410) and is_expired(s), _expired),
    Rule(lambda s: s.status == 401, _unauthorised),
    Rule(lambda s: s.status in (403, 429) and bool(s.reasons & _USAGE_REASONS), _rate_limited),
    Rule(lambda s: s.status == 403 and bool(s.reasons & _DISABLED_REASONS), _disabled),
    Rule(lambda s: s.status == 403 and bool(s.reasons & _SCOPE_REASONS), _scope),
    Rule(lambda s: s.status == 403, _forbidden),
    Rule(lambda s: s.status == 404, _not_found),
    Rule(lambda s: s.status in (400, 422), _invalid),
    Rule(lambda s: s.status == 429, _rate_limited),
    Rule(lambda s: s.status == 503 and s.response.retry_after is not None, _rate_limited),
    Rule(lambda s: s.status >= 500 or s.status in (408, 425), _server_fault),
    Rule(lambda s: not 200 <= s.status < 300, _other_refusal),
    Rule(lambda s: s.start == b"", _empty),
    Rule(lambda s: s.is_html, _web_page),
)
"""The first rule that applies decides; an answer that none applies to is data, as far as can be seen from outside."""


def is_expired(seen: Seen) -> bool:
    """Whether a refusal means that the sync token is too old, in any of the forms that are told of it.

    410 is only ever said of that; where a 400 comes without its reason, the sentence still tells.
    """
    return seen.status == 410 or _EXPIRED in seen.reasons or _EXPIRED_WORDS in str(seen.error.get("message")).lower()


def classify(response: Response, shown: Callable[[], Answer], base_url: str) -> UpstreamError | None:
    """The error that an answer means, or None when it looks like data. ``shown`` gives what an error may show."""
    if response.status == 200 and response.body[:1] == b"{":
        return None
    seen = Seen(response, shown, base_url)
    for rule in RULES:
        if rule.applies(seen):
            return rule.error(seen)
    return None


def _said(seen: Seen, otherwise: str) -> str:
    return otherwise if not seen.message else f"{otherwise}, saying: {seen.message}"
