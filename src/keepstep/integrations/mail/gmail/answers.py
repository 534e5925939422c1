"""What each answer of the Gmail API means: one table from status, reason and beginning of the body to an error.

Facts: https://developers.google.com/workspace/gmail/api/guides/handle-errors. Throttling is a 403 of the domain
``usageLimits`` or a 429; how long to wait stands, if anywhere, in ``Retry-After`` or in the message ("Retry after
2026-05-29T12:00:05.000Z"). History that is too old "typically" is a 404.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from keepstep.integrations import google
from keepstep.integrations.google import (
    FIRST,
    LAST,
    NOT_ALLOWED,
    Api,
    Rule,
    forbidden,
    judged,
    limited,
    named,
    not_found,
)
from keepstep.integrations.http import Response
from keepstep.integrations.mail.gmail.batch import Part
from keepstep.model.errors import Answer, ChangesLost, RateLimited, UpstreamError
from keepstep.reliability.rate_headers import parse_rate_headers

DEFAULT_BASE_URL = "https://gmail.googleapis.com"
API = Api(
    title="Gmail",
    integration="gmail",
    settings="GMAIL",
    base_url=DEFAULT_BASE_URL,
    docs="https://developers.google.com/workspace/gmail/api/guides/handle-errors",
    data="mail",
)
FACTS = API.facts
_SOON = frozenset(("userRateLimitExceeded", "rateLimitExceeded", "RATE_LIMIT_EXCEEDED"))
_DAILY = frozenset(("dailyLimitExceeded", "quotaExceeded"))
DAILY_SECONDS = 3600.0
"""A used-up day is looked at again so often."""
_RETRY_AFTER = re.compile(r"Retry after (\d{4}-\d\d-\d\dT[\d:.]+Z)")


@dataclass(frozen=True)
class Seen(google.Seen):
    """An answer under judgement, at the moment ``now``."""

    now: datetime

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

    @property
    def is_history(self) -> bool:
        return self.response.path.endswith("/history") and not self.is_html


def _limited(seen: Seen) -> UpstreamError:
    return limited(seen, seen.after)


def _daily(seen: Seen) -> UpstreamError:
    after = DAILY_SECONDS if seen.after is None else seen.after
    return named(RateLimited, "rate-limited", seen, after=after, detail="has counted all requests of the day")


def _history_lost(seen: Seen) -> UpstreamError:
    return named(ChangesLost, "changes-lost", seen, path="the mailbox", detail="its history is not kept so long")


RULES: tuple[Rule[Seen], ...] = (
    *FIRST,
    Rule(lambda s: s.status in (403, 429) and bool(s.reasons & _DAILY), _daily),
    Rule(lambda s: s.status == 403 and bool(s.reasons & _SOON), _limited),
    *NOT_ALLOWED,
    Rule(lambda s: s.status == 403, lambda s: forbidden(s, stops_run=False)),
    Rule(lambda s: s.status == 404 and s.is_history, _history_lost),
    Rule(lambda s: s.status == 400 and s.is_history and "historyid" in s.message.lower(), _history_lost),
    Rule(lambda s: s.status == 404, lambda s: not_found(s, stops_run=False)),
    Rule(lambda s: s.status == 429, _limited),
    Rule(lambda s: s.status == 503 and s.response.retry_after is not None, _limited),
    *LAST,
)
"""The first rule that applies decides."""


def classify(response: Response, shown: Callable[[], Answer], base_url: str, now: datetime) -> UpstreamError | None:
    """The error that an answer means, or None when it looks like data. ``shown`` gives what an error may show."""
    return judged(Seen(API, response, shown, base_url, now), RULES)


def of_part(part: Part, path: str, whole: Response) -> Response:
    """A part of a batch as the answer that it would have been by itself."""
    rates = parse_rate_headers(dict(part.headers), whole.date or datetime.now(UTC))
    return replace(
        whole, method="GET", path=path, status=part.status, headers=part.headers, body=part.body,
        retry_after=rates.retry_after, rate_limit=None,
    )  # fmt: skip
