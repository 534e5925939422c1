"""What a message says: of one alert, or of many that one rule has found at the same time."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

_MOST_NAMED = 10
_MOST_TEXT = 1500
_LEADS = {
    "connectivity": "connections do not get through",
    "stale": "connections had no successful run for too long",
    "breaker": "connections have an open circuit breaker",
    "nightly": "nightly full runs failed or were missed",
    "held": "connections have deletions that wait for a decision",
    "dead-letters": "connections have many records that cannot be applied",
}


@dataclass(frozen=True, slots=True)
class Message:
    """What is to be said. ``mood``: attention, warning or good; ``facts``: names and values below the text."""

    title: str
    text: str
    mood: str = "good"
    facts: tuple[tuple[str, str], ...] = ()
    link: str = ""

    def as_json(self) -> dict[str, Any]:
        """As the outbox keeps it."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: dict[str, Any]) -> "Message":
        """As the outbox gives it."""
        facts = tuple((name, value) for name, value in content["facts"])
        return cls(content["title"], content["text"], content["mood"], facts, content["link"])


def compose(kind: str, rule: str, alerts: Sequence[dict[str, Any]], *, link: str, now: datetime) -> Message:
    """The message that these alerts begin (``start``), go on (``reminder``) or have ended (``end``)."""
    return _single(kind, alerts[0], link, now) if len(alerts) == 1 else _many(kind, rule, alerts, link, now)


def _single(kind: str, alert: dict[str, Any], link: str, now: datetime) -> Message:
    since = alert["since"]
    if kind == "end":
        lasted = _span(alert["ended_at"] - alert["started_at"])
        facts = (("Was", _cut(alert["detail"])), ("Since", _moment(since)), ("Until", _moment(alert["ended_at"])))
        return Message(f"Over: {alert['title']}", f"It lasted {lasted}. Nothing is left to do.", "good", facts, link)
    title = (
        alert["title"] if kind == "start" else f"Still so after {_span(now - alert['started_at'])}: {alert['title']}"
    )
    facts = (
        ("Since", f"{_moment(since)} ({_span(now - since)} ago)"),
        ("What it means", alert["impact"]),
        ("What to do", _cut(alert["fix"])),
    )
    return Message(_cut(title, 200), _cut(alert["detail"]), _mood(alert), facts, link)


def _many(kind: str, rule: str, alerts: Sequence[dict[str, Any]], link: str, now: datetime) -> Message:
    lead = f"{len(alerts)} {_LEADS.get(rule, f'alerts of the rule {rule}')}"
    named = [_cut(alert["title"], 200) for alert in alerts[:_MOST_NAMED]]
    rest = len(alerts) - len(named)
    text = "\n\n".join([*named, *([f"… and {rest} more."] if rest else [])])
    if kind == "end":
        return Message(f"Over: {lead}", text, "good", (), link)
    title = lead if kind == "start" else f"Still so: {lead}"
    mood = "attention" if any(alert["severity"] == "critical" for alert in alerts) else "warning"
    first = min(alert["since"] for alert in alerts)
    facts = (
        ("Since", f"{_moment(first)} ({_span(now - first)} ago)"),
        ("What it means", alerts[0]["impact"]),
        ("What to do", _cut(alerts[0]["fix"])),
    )
    return Message(title, text, mood, facts, link)


def _mood(alert: dict[str, Any]) -> str:
    return "attention" if alert["severity"] == "critical" else "warning"


def _cut(text: str, most: int = _MOST_TEXT) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _moment(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _span(length: timedelta) -> str:
    seconds = max(length.total_seconds(), 0.0)
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
