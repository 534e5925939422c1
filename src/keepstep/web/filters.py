"""How values read: the words, icons and numbers of the templates."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from markupsafe import Markup, escape

from keepstep.reliability.span import ahead
from keepstep.service.shapes import Shape

_UNITS = (("d", 86400), ("h", 3600), ("min", 60))


@dataclass(frozen=True, slots=True)
class Look:
    """How a state is shown. ``tone``: good, warn, bad, info, or empty."""

    words: str
    icon: str
    tone: str


_LOOKS = {
    # runs and their entities
    "queued": Look("queued", "clock", "info"), "running": Look("running", "play", "info"),
    "pending": Look("pending", "clock", ""), "waiting": Look("waiting", "clock", "warn"),
    "succeeded": Look("succeeded", "check", "good"), "failed": Look("failed", "cross", "bad"),
    "held": Look("held", "hand", "bad"), "stopped": Look("stopped", "stop", ""),
    "crashed": Look("crashed", "bolt", "bad"),
    # connections
    "ok": Look("in step", "check", "good"), "degraded": Look("degraded", "warning", "warn"),
    "failing": Look("failing", "cross", "bad"), "retrying": Look("retrying", "retry", "warn"),
    "new": Look("not read yet", "clock", ""), "partial": Look("partly read", "clock", ""),
    "paused": Look("paused", "pause", ""), "idle": Look("not connected", "plug", ""),
    # connections of owners
    "connected": Look("connected", "check", "good"), "needs-connecting": Look("not connected", "plug", ""),
    "needs-reconnect": Look("connect again", "warning", "bad"),
    # reports of the ERP
    "fresh": Look("fresh", "check", "good"), "late": Look("late", "alarm", "warn"),
    "never": Look("never read", "clock", ""), "off": Look("off", "pause", ""),
    "proven": Look("proven", "check", "good"), "refused": Look("refused", "cross", "bad"),
    # the breaker
    "closed": Look("closed", "check", "good"), "open": Look("open", "bolt", "warn"),
    "half-open": Look("half-open", "retry", "warn"),
    # dead letters and decisions
    "resolved": Look("resolved", "check", "good"), "discarded": Look("discarded", "trash", ""),
    "requeued": Look("requeued", "check", "good"),
    "approved": Look("approved", "check", "good"), "void": Look("void", "cross", ""),
    # levels
    "debug": Look("debug", "dot", ""), "info": Look("info", "info", "info"),
    "warning": Look("warning", "warning", "warn"), "error": Look("error", "cross", "bad"),
    # roles
    "user": Look("user", "user", ""),
    "viewer": Look("viewer", "eye", ""), "operator": Look("operator", "play", "info"),
    "admin": Look("admin", "shield", "info"),
}  # fmt: skip


def look(state: str) -> Look:
    """How a state is shown; one that nobody foresaw as its own name."""
    return _LOOKS.get(str(state), Look(str(state), "dot", ""))


def number(value: float | None) -> str:
    """``1,204``; a dash for what is not known."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if float(value).is_integer() or abs(value) >= 100 else f"{value:,.1f}"


def plural(count: int, one: str, more: str = "") -> str:
    """``1 row``, ``2 rows``."""
    return f"{count:,} {one if count == 1 else more or one + 's'}"


def span(seconds: float | None) -> str:
    """A length of time in its largest unit: ``3 h``, ``45 s``, ``320 ms``."""
    if seconds is None:
        return "–"
    if 0 < seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    for unit, size in _UNITS:
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s" if seconds >= 10 or float(seconds).is_integer() else f"{seconds:.1f} s"


def milliseconds(value: float | None) -> str:
    """The same, of milliseconds."""
    return span(None if value is None else value / 1000)


def absolute(when: datetime) -> str:
    """``2026-03-31 08:00:00 UTC``."""
    return f"{when.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def relative(when: datetime, now: datetime) -> str:
    """``3 min ago``, ``in 2 h``, ``now``. ``static/js/clock.js`` says the same, and goes on saying it."""
    seconds = (now - when).total_seconds()
    if abs(seconds) < 1:
        return "now"
    words = span(round(abs(seconds)))
    return f"{words} ago" if seconds > 0 else f"in {words}"


def ago(when: datetime | None, otherwise: str = "never") -> Markup:
    """A moment relative to now, with the moment itself on hover."""
    if when is None:
        return escape(otherwise)
    words = relative(when, datetime.now(UTC))
    return Markup('<time datetime="{}" title="{}" data-ago>{}</time>').format(iso(when), absolute(when), words)


def countdown(when: datetime | None, otherwise: str = "–") -> Markup:
    """How long until a moment, as a clock: ``0:42``."""
    if when is None:
        return escape(otherwise)
    left = max(round((when - datetime.now(UTC)).total_seconds()), 0)
    words = f"{left // 3600}:{left % 3600 // 60:02}:{left % 60:02}" if left >= 3600 else f"{left // 60}:{left % 60:02}"
    return Markup('<time datetime="{}" title="{}" data-left>{}</time>').format(iso(when), absolute(when), words)


def coming(when: datetime) -> Markup:
    """When something comes, in long words that go on: ``in 23 hours``."""
    words = ahead((when - datetime.now(UTC)).total_seconds())
    return Markup('<time datetime="{}" title="{}" data-ahead>{}</time>').format(iso(when), absolute(when), words)


def at(when: datetime | None, otherwise: str = "–") -> Markup:
    """A moment on the clock, in UTC: ``Mar 31 08:00``."""
    if when is None:
        return escape(otherwise)
    utc = when.astimezone(UTC)
    return Markup('<time datetime="{}" title="{}">{}</time>').format(iso(when), absolute(when), f"{utc:%b %-d %H:%M}")


def iso(when: datetime) -> str:
    """ISO 8601 in UTC."""
    return when.astimezone(UTC).isoformat().replace("+00:00", "Z")


def words(value: str | None) -> str:
    """``auth-failed`` and ``rate_limit`` as words."""
    return (value or "").replace("-", " ").replace("_", " ")


def pair(value: str) -> tuple[str, str]:
    """An option whose words are its value."""
    return value, value


def state_pair(value: str) -> tuple[str, str]:
    """An option that is called as the state is shown."""
    return value, look(value).words


def address(chosen: Mapping[str, str], **changed: object) -> str:
    """The address of this page with what is chosen, some of it changed; what is empty is left out."""
    values = {name: str(value) for name, value in {**chosen, **changed}.items() if value}
    return f"?{urlencode(values)}"


def as_json(value: Any) -> str:
    """JSON for an attribute."""
    if isinstance(value, Shape):
        value = value.model_dump(mode="json")
    return json.dumps(value, default=str, separators=(",", ":"))


def pretty(value: object) -> str:
    """JSON to read; text that is JSON likewise, other text as it is."""
    if isinstance(value, str):
        try:
            return _indented(json.loads(value))
        except ValueError:
            return value
    return _indented(value)


def _indented(value: object) -> str:
    return json.dumps(value, default=str, indent=2, ensure_ascii=False)


FILTERS: Mapping[str, Callable[..., Any]] = {
    "look": look, "number": number, "plural": plural, "span": span, "milliseconds": milliseconds, "ago": ago,
    "countdown": countdown, "at": at, "iso": iso, "words": words, "json": as_json, "pretty": pretty,
    "absolute": absolute, "pair": pair, "state_pair": state_pair, "ahead": coming, "address": address,
}  # fmt: skip
