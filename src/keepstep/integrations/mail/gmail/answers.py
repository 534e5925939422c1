"""What each answer of the Gmail API means: one table from status, reason and beginning of the body to an error.

Facts: https://developers.google.com/workspace/gmail/api/guides/handle-errors. Throttling is a 403 of the domain
``usageLimits`` or a 429; how long to wait stands, if anywhere, in ``Retry-After`` or in the message ("Retry after
2026-05-29T12:00:05.000Z"). History that is too old "typically" is a 404.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cached_property
from types import MappingProxyType
from typing import Any, TypeVar

import msgspec

from keepstep.integrations.http import Response, split_url
from keepstep.integrations.mail.gmail.batch import Part
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
from keepstep.reliability.rate_headers import parse_rate_headers

DOCS = "https://developers.google.com/workspace/gmail/api/guides/handle-errors"
DEFAULT_BASE_URL = "https://gmail.googleapis.com"
FACTS: Mapping[str, object] = MappingProxyType(
    {
        "title": "Gmail",
        "url_setting": "GMAIL_BASE_URL",
        "use_url": f"Set GMAIL_BASE_URL={DEFAULT_BASE_URL}.",
        "key_setting": "the connection to Google",
        "size_setting": "GMAIL_PAGE_SIZE",
        "entities_setting": "the entities of the connection",
        "integration": "gmail",
    }
)
"""What the texts of every fault of Gmail are filled in with."""
_SOON = frozenset(("userRateLimitExceeded", "rateLimitExceeded", "RATE_LIMIT_EXCEEDED"))
_DAILY = frozenset(("dailyLimitExceeded", "quotaExceeded"))
DAILY_SECONDS = 3600.0
"""A used-up day is looked at again so often."""
_DISABLED = frozenset(("accessNotConfigured", "SERVICE_DISABLED"))
_SCOPE = frozenset(("insufficientPermissions", "ACCESS_TOKEN_SCOPE_INSUFFICIENT"))
_RETRY_AFTER = re.compile(r"Retry after (\d{4}-\d\d-\d\dT[\d:.]+Z)")
E = TypeVar("E", bound=UpstreamError)


@dataclass(frozen=True)
class Seen:
    """An answer under judgement, at the moment ``now``."""

    response: Response
    shown: Callable[[], Answer]
    base_url: str
    now: datetime

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
        """The reasons in ``errors[]`` and, in the newer form, in ``details[]``."""
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

    @property
    def after(self) -> float | None:
        """The seconds that it asks to wait; None where it does not say."""
        if self.response.retry_after is not None:
            return self.response.retry_after
        said = _RETRY_AFTER.search(self.message)
        if said is None:
            return None
        try:
            until = datetime.fromisoformat(said[1].replace("Z", "+00:00"))
        except ValueError:
            return None
        return max(0.0, (until.astimezone(UTC) - (self.response.date or self.now)).total_seconds())


def _named(kind: type[E], code: str, seen: Seen, **more: object) -> E:
    """An error in the table's words. Of ``more``, ``stops_run`` and ``after`` are the error's own, the rest facts."""
    own = {name: more.pop(name) for name in ("stops_run", "after") if name in more}
    answer = seen.shown()
    host = split_url(seen.base_url).hostname or seen.base_url
    facts = {"path": answer.path, "host": host, "url": seen.base_url, "status": seen.status, **FACTS, **more}
    return kind.named(code, facts=facts, answer=answer, **own)


def _said(seen: Seen, otherwise: str) -> str:
    return f"{otherwise}, saying: {seen.message}" if seen.message else otherwise


def _redirect(seen: Seen) -> UpstreamError:
    host = split_url(seen.response.headers.get("location", "")).hostname or "another address"
    return _named(Permanent, "redirected", seen, stops_run=True, host=host)


def _unauthorised(seen: Seen) -> UpstreamError:
    return _named(NeedsReconnect, "needs-reconnect", seen, detail=_said(seen, "it refuses the access token (401)"))


def _scope(seen: Seen) -> UpstreamError:
    return _named(NeedsReconnect, "needs-reconnect", seen, detail="it does not allow to read mail (403)")


def _disabled(seen: Seen) -> UpstreamError:
    return _named(Permanent, "api-disabled", seen, stops_run=True)


def _forbidden(seen: Seen) -> UpstreamError:
    if seen.is_html:
        return _named(Permanent, "firewall", seen, stops_run=True)
    return _named(Permanent, "access-denied", seen, see=f" ({DOCS})")


def _limited(seen: Seen) -> UpstreamError:
    after = seen.after
    wait = "without saying for how long" if after is None else f"for {after:.0f} s"
    busy = f"has counted too many requests ({seen.status}) and asks to wait {wait}"
    return _named(RateLimited, "rate-limited", seen, after=after, detail=busy)


def _daily(seen: Seen) -> UpstreamError:
    after = DAILY_SECONDS if seen.after is None else seen.after
    return _named(RateLimited, "rate-limited", seen, after=after, detail="has counted all requests of the day")


def _history_lost(seen: Seen) -> UpstreamError:
    return _named(ChangesLost, "changes-lost", seen, path="the mailbox", detail="its history is not kept so long")


def _not_found(seen: Seen) -> UpstreamError:
    advice = f"Check GMAIL_BASE_URL; the usual one is {DEFAULT_BASE_URL}."
    return _named(Permanent, "endpoint-unknown", seen, advice=advice)


def _invalid(seen: Seen) -> UpstreamError:
    detail = f": {seen.message}" if seen.message else ""
    return _named(Permanent, "request-rejected", seen, detail=detail, advice=f"Compare the request with {DOCS}.")


def _server_fault(seen: Seen) -> UpstreamError:
    return _named(Transient, "upstream-failed", seen)


def _other_refusal(seen: Seen) -> UpstreamError:
    detail = f": {seen.message}" if seen.message else ""
    return _named(Permanent, "request-refused", seen, detail=detail, advice=f"Compare with {DOCS}.")


def _web_page(seen: Seen) -> UpstreamError:
    advice = f"Check GMAIL_BASE_URL; the usual one is {DEFAULT_BASE_URL}."
    return _named(NotData, "html-instead-of-data", seen, advice=advice, stops_run=True)


def _empty(seen: Seen) -> UpstreamError:
    return _named(NotData, "empty-answer", seen)


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of the table: which answers it is for, and the error they mean."""

    applies: Callable[[Seen], bool]
    error: Callable[[Seen], UpstreamError]


def _is_history(seen: Seen) -> bool:
    return seen.response.path.endswith("/history") and not seen.is_html


RULES = (
    Rule(lambda s: 300 <= s.status < 400, _redirect),
    Rule(lambda s: s.status == 401, _unauthorised),
    Rule(lambda s: s.status in (403, 429) and bool(s.reasons & _DAILY), _daily),
    Rule(lambda s: s.status == 403 and bool(s.reasons & _SOON), _limited),
    Rule(lambda s: s.status == 403 and bool(s.reasons & _DISABLED), _disabled),
    Rule(lambda s: s.status == 403 and bool(s.reasons & _SCOPE), _scope),
    Rule(lambda s: s.status == 403, _forbidden),
    Rule(lambda s: s.status == 404 and _is_history(s), _history_lost),
    Rule(lambda s: s.status == 400 and _is_history(s) and "historyid" in s.message.lower(), _history_lost),
    Rule(lambda s: s.status == 404, _not_found),
    Rule(lambda s: s.status in (400, 422), _invalid),
    Rule(lambda s: s.status == 429, _limited),
    Rule(lambda s: s.status == 503 and s.response.retry_after is not None, _limited),
    Rule(lambda s: s.status >= 500 or s.status in (408, 425), _server_fault),
    Rule(lambda s: not 200 <= s.status < 300, _other_refusal),
    Rule(lambda s: s.start == b"", _empty),
    Rule(lambda s: s.is_html, _web_page),
)
"""The first rule that applies decides; an answer that none applies to is data, as far as can be seen from outside."""


def classify(response: Response, shown: Callable[[], Answer], base_url: str, now: datetime) -> UpstreamError | None:
    """The error that an answer means, or None when it looks like data. ``shown`` gives what an error may show."""
    if response.status == 200 and response.body[:1] == b"{":
        return None
    seen = Seen(response, shown, base_url, now)
    for rule in RULES:
        if rule.applies(seen):
            return rule.error(seen)
    return None


def of_part(part: Part, path: str, whole: Response) -> Response:
    """A part of a batch as the answer that it would have been by itself."""
    rates = parse_rate_headers(dict(part.headers), whole.date or datetime.now(UTC))
    return replace(
        whole, method="GET", path=path, status=part.status, headers=part.headers, body=part.body,
        retry_after=rates.retry_after, rate_limit=None,
    )  # fmt: skip
