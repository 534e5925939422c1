"""What each answer of DoorLoop means: one table from status, content type and beginning of the body to an error.

Facts: https://api.doorloop.com/reference, pages authentication (401, 405), rate-limiting (429), pagination (the
envelope). The bodies of 401, 403, 404 and 405 are not documented, so only their status counts. ``api.doorloop.com`` is
the documentation, not the API; a wrong path on the right host answers 200 with the web application.
"""

from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from keepstep.integrations.http import Response, split_url
from keepstep.model.errors import Answer, AuthFailed, NotData, Permanent, RateLimited, Transient, UpstreamError
from keepstep.reliability.windows import Window

DOCS = "https://api.doorloop.com/reference"
DEFAULT_BASE_URL = "https://app.doorloop.com/api"
WINDOWS = (Window(50, 60.0), Window(500, 3600.0))
"""Requests in so many seconds: https://api.doorloop.com/reference/rate-limiting."""
USE_DEFAULT_URL = f"Set DOORLOOP_BASE_URL={DEFAULT_BASE_URL}."


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


def _redirect(seen: Seen) -> UpstreamError:
    target = seen.response.headers.get("location", "")
    if seen.base_url.startswith("http:") and target.startswith("https:"):
        problem = "DOORLOOP_BASE_URL uses http; DoorLoop answers only https."
        fix = "Set DOORLOOP_BASE_URL to the same address with https://."
    else:
        where = split_url(target).hostname or "another address"
        problem = f"DoorLoop redirects {seen.answer.path} to {where}; the key is not sent there."
        fix = USE_DEFAULT_URL
    return Permanent(problem, fix=fix, answer=seen.answer, stops_run=True)


def _documentation(seen: Seen) -> UpstreamError:
    return NotData(
        "This is DoorLoop's documentation site, not its API.", fix=USE_DEFAULT_URL, answer=seen.answer, stops_run=True
    )


def _unauthorised(seen: Seen) -> UpstreamError:
    return AuthFailed(
        "DoorLoop refused the API key (401): it is missing, mistyped, expired or revoked.",
        fix=f"Put a current key into DOORLOOP_API_KEY, without quotes and the word bearer ({DOCS}/authentication).",
        answer=seen.answer,
    )


def _forbidden(seen: Seen) -> UpstreamError:
    if seen.is_html:
        return Permanent(
            "A web page answered 403 in DoorLoop's place, most likely a firewall or proxy on the way.",
            fix="Let this machine reach app.doorloop.com directly, or allow it in the firewall.",
            answer=seen.answer,
            stops_run=True,
        )
    return Permanent(
        f"DoorLoop does not allow this key to read {seen.answer.path} (403).",
        fix=f"Give the key's user access to it, or leave it out of SYNC_ENTITIES ({DOCS}/authentication).",
        answer=seen.answer,
    )


def _not_found(seen: Seen) -> UpstreamError:
    return Permanent(
        f"DoorLoop knows no {seen.answer.path} under {seen.base_url} (404).",
        fix=f"{_base_url_advice(seen.base_url)} The list of endpoints: {DOCS}.",
        answer=seen.answer,
    )


def _role(seen: Seen) -> UpstreamError:
    return Permanent(
        f"The role of the API key may not read {seen.answer.path} (405 METHOD_NOT_ALLOWED).",
        fix=f"Give the key a role with access to it, or leave it out of SYNC_ENTITIES ({DOCS}/authentication).",
        answer=seen.answer,
    )


def _invalid(seen: Seen) -> UpstreamError:
    said = f": {seen.messages}" if seen.messages else ""
    fix = (
        f"Lower DOORLOOP_PAGE_SIZE to 1000 or less ({DOCS}/pagination)."
        if "page_size" in seen.messages
        else f"Compare the request with {DOCS}."
    )
    return Permanent(
        f"DoorLoop rejected the request for {seen.answer.path} as invalid ({seen.status}){said}.",
        fix=fix,
        answer=seen.answer,
    )


def _rate_limited(seen: Seen) -> UpstreamError:
    after = seen.response.retry_after
    wait = "without saying for how long" if after is None else f"for {after:.0f} s"
    busy = "is unavailable (503)" if seen.status == 503 else "has counted too many requests (429 RATE_LIMIT_EXCEEDED)"
    return RateLimited(
        f"DoorLoop {busy} and asks to wait {wait}.",
        after=after,
        fix="Nothing to do: reading goes on by itself after the pause. Larger pages (DOORLOOP_PAGE_SIZE, up to 1000) "
        f"need fewer requests ({DOCS}/rate-limiting).",
        answer=seen.answer,
    )


def _server_fault(seen: Seen) -> UpstreamError:
    return Transient(
        f"DoorLoop failed on its side ({seen.status}) while reading {seen.answer.path}.",
        fix="It is tried again by itself; if it stays so, ask DoorLoop's support.",
        answer=seen.answer,
    )


def _other_refusal(seen: Seen) -> UpstreamError:
    said = f": {seen.messages}" if seen.messages else ""
    return Permanent(
        f"DoorLoop refused the request for {seen.answer.path} ({seen.status}){said}.",
        fix=f"{_base_url_advice(seen.base_url)} Compare with {DOCS}.",
        answer=seen.answer,
    )


def _web_page(seen: Seen) -> UpstreamError:
    path = seen.answer.path
    return NotData(
        f"A web page came instead of data for {path} (status {seen.status}).",
        fix=f"{_base_url_advice(seen.base_url)} DoorLoop also answers so where it has no endpoint {path} ({DOCS}).",
        answer=seen.answer,
        stops_run=split_url(seen.base_url).path.rstrip("/") != "/api",
    )


def _empty(seen: Seen) -> UpstreamError:
    return NotData(
        f"DoorLoop answered {seen.status} with an empty body for {seen.answer.path}.",
        fix="Run it again; if it stays so, ask DoorLoop's support.",
        answer=seen.answer,
    )


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


def _base_url_advice(base_url: str) -> str:
    parts = split_url(base_url)
    if "/v1" in parts.path:
        return f"DoorLoop's addresses have no /v1. {USE_DEFAULT_URL}"
    if not parts.path.rstrip("/").endswith("/api"):
        return f"The address must end in /api. {USE_DEFAULT_URL}"
    if base_url != DEFAULT_BASE_URL:
        return f"Check DOORLOOP_BASE_URL; the usual one is {DEFAULT_BASE_URL}."
    return "The address is the usual one: look for a proxy or a login page on the way."
