"""What each answer of the ERP means: a table from step, status and beginning of the body to an error.

No ERP is like another: only what is common to those behind a login is taken for granted. A refused login shows the
login page again, and so does every page once the session has ended, or redirects to it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeVar

import msgspec

from keepstep.integrations.http import Response, split_url
from keepstep.model.errors import Answer, AuthFailed, NotData, Permanent, RateLimited, Transient, UpstreamError

FACTS: Mapping[str, object] = MappingProxyType(
    {
        "title": "The ERP",
        "url_setting": "ERP_BASE_URL",
        "use_url": "Set ERP_BASE_URL to the address at which people sign in.",
        "key_setting": "ERP_USERNAME and ERP_PASSWORD",
        "advice": "Check ERP_BASE_URL.",
    }
)
"""What the texts of every fault of the ERP are filled in with."""
E = TypeVar("E", bound=UpstreamError)
Shown = Callable[[], Answer]


class SessionEnded(Permanent):
    """The session has ended: log in and ask again."""


class ReportForgotten(Permanent):
    """The report that the ERP was making is not there any more: ask for it anew."""


@dataclass(frozen=True, slots=True)
class Seen:
    """An answer under judgement."""

    response: Response
    shown: Shown
    base_url: str

    @property
    def status(self) -> int:
        return self.response.status

    @property
    def is_login(self) -> bool:
        return self.response.path == "/login"

    @property
    def is_file(self) -> bool:
        return self.response.path.endswith("/file")

    @property
    def is_promised(self) -> bool:
        """Whether the address came from the ERP itself, as that of a report that it makes."""
        return self.response.path.startswith("/reports/")

    @property
    def is_html(self) -> bool:
        start = self.response.body[:1024].lstrip(b"\xef\xbb\xbf \t\r\n")
        return self.response.content_type == "text/html" or start[:1] == b"<"

    @property
    def is_login_page(self) -> bool:
        return self.is_html and b'type="password"' in self.response.body[:65536]

    @property
    def leads_to_login(self) -> bool:
        return 300 <= self.status < 400 and "login" in self.response.headers.get("location", "").lower()

    @property
    def message(self) -> str:
        """What an error body says, short."""
        try:
            body = msgspec.json.decode(self.shown().snippet)
        except (msgspec.MsgspecError, RecursionError):
            return ""
        said = body.get("message") if isinstance(body, dict) else None
        return said[:300] if isinstance(said, str) else ""


def named(kind: type[E], code: str, seen: Seen, **more: object) -> E:
    """An error in the table's words. Of ``more``, ``stops_run`` and ``after`` are the error's own, the rest facts."""
    own: dict[str, Any] = {name: more.pop(name) for name in ("stops_run", "after") if name in more}
    host = split_url(seen.base_url).hostname or seen.base_url
    facts = {"path": seen.response.path, "host": host, "url": seen.base_url, "status": seen.status, **FACTS, **more}
    return kind.named(code, facts=facts, answer=seen.shown(), **own)


def _said(seen: Seen) -> str:
    return f": {seen.message}" if seen.message else ""


def _rate_limited(seen: Seen) -> UpstreamError:
    after = seen.response.retry_after
    wait = "without saying for how long" if after is None else f"for {after:.0f} s"
    return named(RateLimited, "rate-limited", seen, after=after, detail=f"asks to wait {wait} ({seen.status})")


RULES: tuple[tuple[Callable[[Seen], bool], Callable[[Seen], UpstreamError | None]], ...] = (
    (lambda s: s.status == 401 and s.is_login, lambda s: named(AuthFailed, "login-refused", s)),
    (lambda s: s.is_login and s.is_login_page, lambda s: named(AuthFailed, "login-refused", s)),
    (lambda s: s.is_login and 300 <= s.status < 400 and not s.leads_to_login, lambda s: None),
    (lambda s: s.is_login and s.leads_to_login, lambda s: named(AuthFailed, "login-refused", s)),
    (lambda s: s.status == 401 or s.leads_to_login or s.is_login_page,
     lambda s: named(SessionEnded, "session-lost", s)),
    (lambda s: 300 <= s.status < 400, lambda s: named(Permanent, "redirected", s, stops_run=True)),
    (lambda s: s.status == 403 and s.is_html, lambda s: named(Permanent, "firewall", s, stops_run=True)),
    (lambda s: s.status == 403, lambda s: named(Permanent, "report-refused", s, detail="it is not allowed (403)")),
    (lambda s: s.status in (404, 410) and s.is_promised, lambda s: named(ReportForgotten, "report-forgotten", s)),
    (lambda s: s.status in (404, 405, 410), lambda s: named(Permanent, "endpoint-unknown", s)),
    (lambda s: s.status in (400, 422),
     lambda s: named(Permanent, "report-refused", s, detail=s.message or f"the request is not valid ({s.status})")),
    (lambda s: s.status == 429 or (s.status == 503 and s.response.retry_after is not None), _rate_limited),
    (lambda s: s.status >= 500 or s.status in (408, 425), lambda s: named(Transient, "upstream-failed", s)),
    (lambda s: not 200 <= s.status < 300, lambda s: named(Permanent, "request-refused", s, detail=_said(s))),
    (lambda s: s.response.body == b"" and not s.is_login, lambda s: named(NotData, "empty-answer", s)),
    (lambda s: s.is_file, lambda s: None),
    (lambda s: s.is_html and not s.is_login, lambda s: named(NotData, "html-instead-of-data", s)),
)  # fmt: skip
"""The first rule that applies decides; what none applies to is data, as far as can be seen from outside."""


def classify(response: Response, shown: Shown, base_url: str) -> UpstreamError | None:
    """The error that an answer means, or None. ``shown`` gives what an error may show. A file is judged by its reader:
    what it is not, is kept.
    """
    seen = Seen(response, shown, base_url)
    for applies, error in RULES:
        if applies(seen):
            return error(seen)
    return None
