"""What an answer's headers say of rate limits, whatever dialect they are in.

Read are ``Retry-After`` (RFC 9110), ``X-RateLimit-*`` with and without a window in the name, ``RateLimit-Limit`` and
its kin (older drafts), ``RateLimit`` and ``RateLimit-Policy`` (draft-ietf-httpapi-ratelimit-headers).
Anything malformed is ignored, as the draft asks.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

from keepstep.model.integration import RateLimit

EPOCH_FROM = 1_000_000_000
"""A plain number from here on is a moment in Unix time; a smaller one counts seconds from now."""

LONGEST_WAIT = timedelta(days=7)
"""No service means a longer pause; such a value is a mistake and is ignored."""

_NUMBER = re.compile(r"[0-9]{1,15}(?:\.[0-9]{1,9})?")
_FLAT_NAME = re.compile(
    r"(?:x-rate-?limit|ratelimit)-(limit|remaining|reset)(?:-(second|minute|hour|day|month))?", re.IGNORECASE
)
_QUOTED = r'"(?:[^"\\]|\\.)*"'
_TOKEN = r"[A-Za-z*][\w:/.*!#$%&'+^`|~-]*"  # noqa: S105 - the syntax of a structured field, not a secret
_VALUE = rf"(?:{_QUOTED}|:[A-Za-z0-9+/=]*:|\?[01]|-?[0-9]+(?:\.[0-9]+)?|{_TOKEN})"
_PARAMETER = re.compile(rf"\s*;\s*([a-z*][a-z0-9_.*-]*)(?:=({_VALUE}))?")
_MEMBER = re.compile(rf"\s*({_QUOTED}|{_TOKEN})((?:{_PARAMETER.pattern})*)\s*")
_PAIR = re.compile(r"\s*(limit|remaining|reset)\s*=\s*([0-9]+)\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class RateAnswer:
    """The limits an answer named, and the seconds it asks to wait (None: it does not ask)."""

    rate_limit: RateLimit | None = None
    retry_after: float | None = None


@dataclass(slots=True)
class _Window:
    limit: int | None = None
    remaining: int | None = None
    reset: datetime | None = None


def parse_rate_headers(headers: Mapping[str, str], now: datetime) -> RateAnswer:
    """Read all rate headers of one answer. ``now`` is our own clock.

    Moments are taken relative to the answer's own ``Date``, so that a wrong clock on either side changes nothing; the
    ``reset`` returned is on our clock. Of several windows the tightest is returned.
    """
    lower = {name.lower(): value for name, value in headers.items()}
    if not any("rate" in name or name == "retry-after" for name in lower):
        return RateAnswer()
    theirs = http_date(lower.get("date", "")) or now
    windows = [*_flat_windows(lower, theirs, now), *_structured_windows(lower, now)]
    tightest = min(windows, key=_tightness, default=None)
    limit = RateLimit(tightest.limit, tightest.remaining, tightest.reset) if tightest else None
    after = _seconds_until(lower.get("retry-after", ""), theirs)
    if after is None and limit is not None and limit.remaining == 0 and limit.reset is not None:
        after = max(0.0, (limit.reset - now).total_seconds())
    return RateAnswer(limit, after)


def http_date(text: str) -> datetime | None:
    """The moment of an HTTP date in any of its three forms, or None."""
    if not text[:1].isalpha():
        return None
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError, IndexError, OverflowError):
        return None
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _tightness(window: _Window) -> tuple[bool, int, bool, int]:
    return (window.remaining is None, window.remaining or 0, window.limit is None, window.limit or 0)


def _seconds_until(text: str, theirs: datetime) -> float | None:
    """Seconds from now of a count, a Unix time, an HTTP date or an ISO date; None when it is none of these."""
    text = text.strip()
    if _NUMBER.fullmatch(text):
        number = float(text)
        seconds = number - theirs.timestamp() if number >= EPOCH_FROM else number
    else:
        moment = http_date(text) or _iso_date(text)
        if moment is None:
            return None
        seconds = (moment - theirs).total_seconds()
    return max(0.0, seconds) if seconds <= LONGEST_WAIT.total_seconds() else None


def _iso_date(text: str) -> datetime | None:
    if not re.match(r"[0-9]{4}-", text):
        return None
    try:
        moment = datetime.fromisoformat(text)
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def _reset(text: str, theirs: datetime, now: datetime) -> datetime | None:
    seconds = _seconds_until(text, theirs)
    return None if seconds is None else now + timedelta(seconds=seconds)


def _flat_windows(headers: Mapping[str, str], theirs: datetime, now: datetime) -> Iterable[_Window]:
    windows: dict[str, _Window] = {}
    for name, value in headers.items():
        match = _FLAT_NAME.fullmatch(name)
        if match is None:
            continue
        # `RateLimit-Limit: 10, 10;w=1, 50;w=60` lists the policies after the number that counts.
        first = re.split(r"[,;]", value, maxsplit=1)[0].strip() if match[1] != "reset" else value
        window = windows.setdefault((match[2] or "").lower(), _Window())
        if match[1] == "reset":
            window.reset = _reset(first, theirs, now)
        elif _NUMBER.fullmatch(first):
            setattr(window, match[1], int(float(first)))
    return [w for w in windows.values() if w != _Window()]


def _structured_windows(headers: Mapping[str, str], now: datetime) -> Iterable[_Window]:
    old = _old_pairs(headers.get("ratelimit", ""))
    if old is not None:
        return [_from_parts(old.get("limit"), old.get("remaining"), old.get("reset"), now)]
    policies = {name: _count(params.get("q")) for name, params in _members(headers.get("ratelimit-policy", ""))}
    windows = [
        _from_parts(policies.get(name), _count(params.get("r")), _count(params.get("t")), now)
        for name, params in _members(headers.get("ratelimit", ""))
        if _count(params.get("r")) is not None
    ]
    return windows or [_Window(limit=quota) for quota in policies.values() if quota is not None]


def _from_parts(limit: int | None, remaining: int | None, reset: int | None, now: datetime) -> _Window:
    known = reset is not None and reset <= LONGEST_WAIT.total_seconds()
    return _Window(limit, remaining, now + timedelta(seconds=reset) if known and reset is not None else None)


def _old_pairs(text: str) -> dict[str, int] | None:
    """``limit=100, remaining=50, reset=5``, the form of drafts 4 to 7; None when it is not that form."""
    pairs = [_PAIR.fullmatch(part) for part in re.split(r"[,;]", text)] if text else []
    if not pairs or not all(pairs):
        return None
    return {pair[1].lower(): int(pair[2][:15]) for pair in pairs if pair}


def _members(text: str) -> list[tuple[str, dict[str, str]]]:
    """The members of a structured-field list with their parameters; nothing at all when any of it is malformed."""
    found: list[tuple[str, dict[str, str]]] = []
    position = 0
    while position < len(text):
        match = _MEMBER.match(text, position)
        if match is None or (match.end() < len(text) and text[match.end()] != ","):
            return []
        parameters = {p[1]: p[2] or "" for p in _PARAMETER.finditer(match[2] or "")}
        found.append((match[1].strip('"'), parameters))
        position = match.end() + 1
    return found


def _count(text: str | None) -> int | None:
    return int(text) if text is not None and re.fullmatch(r"[0-9]{1,15}", text) else None
