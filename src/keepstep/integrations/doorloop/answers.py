"""What each answer of DoorLoop means: one table from status, content type and beginning of the body to an error.

Facts: https://api.doorloop.com/reference, pages authentication (401, 405), rate-limiting (429), pagination (the
envelope). The bodies of 401, 403, 404 and 405 are not documented, so only their status counts. ``api.doorloop.com`` is
the documentation, not the API; a wrong path on the right host answers 200 with the web application.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TypeVar

import msgspec

from keepstep.integrations.http import Response, is_loopback, split_url
from keepstep.model.errors import Answer, AuthFailed, NotData, Permanent, RateLimited, Transient, UpstreamError
from keepstep.model.integration import RateLimit
from keepstep.reliability.windows import Window

DOCS = "https://api.doorloop.com/reference"
DEFAULT_BASE_URL = "https://app.doorloop.com/api"
WINDOWS = (Window(50, 60.0), Window(500, 3600.0))
"""Requests in so many seconds: https://api.doorloop.com/reference/rate-limiting."""
USE_DEFAULT_URL = f"Set DOORLOOP_BASE_URL={DEFAULT_BASE_URL}."
FACTS: Mapping[str, object] = MappingProxyType(
    {
        "title": "DoorLoop",
        "url_setting": "DOORLOOP_BASE_URL",
        "use_url": USE_DEFAULT_URL,
        "key_setting": "DOORLOOP_API_KEY",
        "size_setting": "DOORLOOP_PAGE_SIZE",
        "entities_setting": "SYNC_ENTITIES",
    }
)
"""What the texts of every fault of DoorLoop are filled in with."""
E = TypeVar("E", bound=UpstreamError)


@dataclass(frozen=True, slots=True)
class Seen:
    """An answer under judgement."""

    response: Response
    shown: Callable[[], Answer]
    base_url: str

    @property
    def answer(self) -> Answer:
        return self.shown()

    @property
    def host(self) -> str:
        return split_url(self.base_url).hostname or self.base_url

    @property
    def status(self) -> int:
        return self.response.status

    @property
    def start(self) -> bytes:
        return self.response.body[:4096].lstrip(b"\xef\xbb\xbf \t\r\n")

    @property
    def is_html(self) -> bool:
        return self.response.content_type == "text/html" or self.start[:1] == b"<"

    @property
    def is_documentation(self) -> bool:
        return self.is_html and b"readme-" in self.start

    @property
    def messages(self) -> str:
        """The sentences of an error body, masked and short: ``message`` and each of ``errors`` or ``base``."""
        try:
            body = msgspec.json.decode(self.answer.snippet)
        except (msgspec.MsgspecError, RecursionError):
            return ""
        if not isinstance(body, dict):
            return ""
        errors, base = body.get("errors"), body.get("base")
        parts = [f"{k}: {v}" for k, v in errors.items()] if isinstance(errors, dict) else []
        parts += [str(entry) for entry in base] if isinstance(base, list) else []
        head = body.get("message")
        text = "; ".join(parts) or (head if isinstance(head, str) else "")
        return text[:500]


def _named(kind: type[E], code: str, seen: Seen, **more: object) -> E:
    """An error in the table's words. Of ``more``, ``stops_run`` and ``after`` are the error's own, the rest facts."""
    own = {name: more.pop(name) for name in ("stops_run", "after") if name in more}
    facts = {"path": seen.answer.path, "host": seen.host, "url": seen.base_url, "status": seen.status, **FACTS, **more}
    return kind.named(code, facts=facts, answer=seen.answer, **own)


def _redirect(seen: Seen) -> UpstreamError:
    target = seen.response.headers.get("location", "")
    if seen.base_url.startswith("http:") and target.startswith("https:"):
        return _named(Permanent, "http-not-https", seen, stops_run=True)
    host = split_url(target).hostname or "another address"
    return _named(Permanent, "redirected", seen, stops_run=True, host=host)


def _documentation(seen: Seen) -> UpstreamError:
    return _named(NotData, "docs-host", seen, stops_run=True)


def _unauthorised(seen: Seen) -> UpstreamError:
    return _named(AuthFailed, "auth-failed", seen, see=_see("authentication"))


def _forbidden(seen: Seen) -> UpstreamError:
    if seen.is_html:
        return _named(Permanent, "firewall", seen, stops_run=True)
    return _named(Permanent, "access-denied", seen, see=_see("authentication"))


def _not_found(seen: Seen) -> UpstreamError:
    if code := _wrong_address(seen.base_url):
        answer = f"it answers {seen.status}"
        advice = _base_url_advice(seen.base_url)
        return _named(Permanent, code, seen, detail=answer, advice=advice, stops_run=True)
    advice = f"{_base_url_advice(seen.base_url)} The list of endpoints: {DOCS}."
    return _named(Permanent, "endpoint-unknown", seen, advice=advice)


def _role(seen: Seen) -> UpstreamError:
    return _named(Permanent, "role-refused", seen, see=_see("authentication"))


def _invalid(seen: Seen) -> UpstreamError:
    said = f": {seen.messages}" if seen.messages else ""
    advice = (
        f"Lower DOORLOOP_PAGE_SIZE to 1000 or less{_see('pagination')}."
        if "page_size" in seen.messages
        else f"Compare the request with {DOCS}."
    )
    return _named(Permanent, "request-rejected", seen, detail=said, advice=advice)


def _rate_limited(seen: Seen) -> UpstreamError:
    after = seen.response.retry_after
    wait = "without saying for how long" if after is None else f"for {after:.0f} s"
    code = rate_code(after, seen.response.rate_limit)
    busy = "has counted too many requests (429 RATE_LIMIT_EXCEEDED)"
    if seen.status == 503:
        busy, code = "is unavailable (503)", "rate-limited"
    detail = f"{busy} and asks to wait {wait}"
    return _named(RateLimited, code, seen, after=after, detail=detail, see=_see("rate-limiting"))


def rate_code(after: float | None, limit: RateLimit | None) -> str:
    """Which of DoorLoop's two windows is used up: it tells by its headers, or by how long it wants us to wait."""
    minute, hour = WINDOWS
    if limit is not None and limit.limit in (minute.limit, hour.limit):
        return "rate-limited-minute" if limit.limit == minute.limit else "rate-limited-hour"
    if after is None:
        return "rate-limited"
    return "rate-limited-minute" if after <= minute.seconds else "rate-limited-hour"


def _server_fault(seen: Seen) -> UpstreamError:
    return _named(Transient, "upstream-failed", seen)


def _other_refusal(seen: Seen) -> UpstreamError:
    said = f": {seen.messages}" if seen.messages else ""
    see = f"Compare with {DOCS}."
    return _named(Permanent, "request-refused", seen, detail=said, advice=_base_url_advice(seen.base_url), see=see)


def _web_page(seen: Seen) -> UpstreamError:
    code = _wrong_address(seen.base_url)
    return _named(
        NotData,
        code or "html-instead-of-data",
        seen,
        detail=f"a web page came instead of data (status {seen.status})",
        advice=_base_url_advice(seen.base_url),
        see=_see(""),
        stops_run=code is not None,
    )


def _empty(seen: Seen) -> UpstreamError:
    return _named(NotData, "empty-answer", seen)


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of the table: which answers it is for, and the error they mean."""

    applies: Callable[[Seen], bool]
    error: Callable[[Seen], UpstreamError]


RULES = (
    Rule(lambda s: 300 <= s.status < 400, _redirect),
    Rule(lambda s: s.is_documentation, _documentation),
    Rule(lambda s: s.status == 401, _unauthorised),
    Rule(lambda s: s.status == 403, _forbidden),
    Rule(lambda s: s.status == 404, _not_found),
    Rule(lambda s: s.status == 405, _role),
    Rule(lambda s: s.status in (400, 422), _invalid),
    Rule(lambda s: s.status == 429, _rate_limited),
    Rule(lambda s: s.status == 503 and s.response.retry_after is not None, _rate_limited),
    Rule(lambda s: s.status >= 500 or s.status in (408, 425), _server_fault),
    Rule(lambda s: not 200 <= s.status < 300, _other_refusal),
    Rule(lambda s: s.start == b"", _empty),
    Rule(lambda s: s.is_html, _web_page),
)
"""The first rule that applies decides; an answer that none applies to is data, as far as can be seen from outside."""


def classify(response: Response, shown: Callable[[], Answer], base_url: str) -> UpstreamError | None:
    """The error that an answer means, or None when it looks like data. ``shown`` gives what an error may show."""
    if response.status == 200 and response.body[:1] == b"{":
        return None
    seen = Seen(response, shown, base_url)
    for rule in RULES:
        if rule.applies(seen):
            return rule.error(seen)
    return None


def _see(page: str) -> str:
    return f" ({DOCS}/{page})" if page else f" ({DOCS})"


def _wrong_address(base_url: str) -> str | None:
    """What is wrong with the address, judged by itself once something else than data has come from it."""
    parts = split_url(base_url)
    host = (parts.hostname or "").lower().rstrip(".")
    if parts.path.rstrip("/") != "/api":
        return "wrong-path"
    is_theirs = host == "doorloop.com" or host.endswith(".doorloop.com") or is_loopback(host)
    return None if is_theirs and not host.startswith("www.") else "wrong-host"


def _base_url_advice(base_url: str) -> str:
    parts = split_url(base_url)
    if "/v1" in parts.path:
        return f"DoorLoop's addresses have no /v1. {USE_DEFAULT_URL}"
    if not parts.path.rstrip("/").endswith("/api"):
        return f"The address must end in /api. {USE_DEFAULT_URL}"
    if base_url != DEFAULT_BASE_URL:
        return f"Check DOORLOOP_BASE_URL; the usual one is {DEFAULT_BASE_URL}."
    return "The address is the usual one: look for a proxy or a login page on the way."
