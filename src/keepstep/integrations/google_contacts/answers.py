"""What each answer of the People API means: one table from status, reason and beginning of the body to an error.

Facts: an expired sync token comes as 400 with the reason ``EXPIRED_SYNC_TOKEN`` (so says the wire) or as 410 (so say
Google's samples). The first page of a full reading has a quota of its own, answered with 429 and without
``Retry-After``.
"""

from collections.abc import Callable

from keepstep.integrations.google import (
    FIRST,
    LAST,
    NOT_ALLOWED,
    Api,
    Rule,
    Seen,
    forbidden,
    judged,
    limited,
    named,
    not_found,
)
from keepstep.integrations.http import Response
from keepstep.model.errors import Answer, ChangesLost, UpstreamError
from keepstep.reliability.windows import Window

DEFAULT_BASE_URL = "https://people.googleapis.com"
WINDOWS = (Window(90, 60.0),)
"""Requests of one account in so many seconds: the quota "critical read requests" as clients observed it."""
QUOTA_SECONDS = 60.0
"""Google's quotas count by the minute, and its 429 says nothing of how long to wait."""
API = Api(
    title="Google Contacts",
    integration="google_contacts",
    settings="GOOGLE_CONTACTS",
    base_url=DEFAULT_BASE_URL,
    docs="https://developers.google.com/people/api/rest/v1/people.connections/list",
    data="contacts",
)
FACTS = API.facts
USE_DEFAULT_URL = str(FACTS["use_url"])
_EXPIRED = "EXPIRED_SYNC_TOKEN"
_EXPIRED_WORDS = "sync token is expired"
_USAGE_REASONS = frozenset(("RATE_LIMIT_EXCEEDED", "rateLimitExceeded", "userRateLimitExceeded", "quotaExceeded"))


def _expired(seen: Seen) -> UpstreamError:
    return named(ChangesLost, "changes-lost", seen, detail="its sync token has expired")


def _limited(seen: Seen) -> UpstreamError:
    # Without a hint it is the quota of a minute: asking again and again within it would only use it up.
    return limited(seen, seen.response.retry_after, QUOTA_SECONDS)


RULES: tuple[Rule[Seen], ...] = (
    *FIRST,
    Rule(lambda s: s.status in (400, 410) and is_expired(s), _expired),
    Rule(lambda s: s.status in (403, 429) and bool(s.reasons & _USAGE_REASONS), _limited),
    *NOT_ALLOWED,
    Rule(lambda s: s.status == 403, lambda s: forbidden(s, stops_run=True)),
    Rule(lambda s: s.status == 404, lambda s: not_found(s, stops_run=True)),
    Rule(lambda s: s.status == 429, _limited),
    Rule(lambda s: s.status == 503 and s.response.retry_after is not None, _limited),
    *LAST,
)
"""The first rule that applies decides."""


def is_expired(seen: Seen) -> bool:
    """Whether a refusal means that the sync token is too old, in any of the forms that are told of it.

    410 is only ever said of that; where a 400 comes without its reason, the sentence still tells.
    """
    return seen.status == 410 or _EXPIRED in seen.reasons or _EXPIRED_WORDS in str(seen.error.get("message")).lower()


def classify(response: Response, shown: Callable[[], Answer], base_url: str) -> UpstreamError | None:
    """The error that an answer means, or None when it looks like data. ``shown`` gives what an error may show."""
    return judged(Seen(API, response, shown, base_url), RULES)
