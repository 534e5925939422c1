"""Messages to Microsoft Teams: a Workflows webhook takes an Adaptive Card, a legacy connector a card of its own.

Workflows answer 202 when they have taken a message. A connector answers 200, and says in the text when Teams did not
take it (https://learn.microsoft.com/microsoftteams/platform/webhooks-and-connectors/how-to/connectors-using).
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from keepstep.alerts.messages import Message
from keepstep.integrations.http import environment_proxy
from keepstep.reliability.masking import masked_text, secrets_within
from keepstep.reliability.rate_headers import parse_rate_headers

MOST_BYTES = 28 * 1024
"""A larger message is refused: https://learn.microsoft.com/connectors/teams."""
_TIMEOUT = 15.0
_MOST_SHOWN = 300
_CARD = "application/vnd.microsoft.card.adaptive"
_COLOURS = {"attention": "D13438", "warning": "C19C00", "good": "107C10"}


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of a message. ``status``: the answer's, None where there was none; ``fix`` is empty if it arrived.

    ``after``: seconds to wait before another try, where the other side says. ``hopeless``: this message will never be
    taken, whatever becomes of the other side.
    """

    delivered: bool
    status: int | None
    message: str
    fix: str = ""
    after: float | None = None
    hopeless: bool = False


def is_legacy(webhook: str) -> bool:
    """Whether an address is one of an Office 365 connector."""
    parts = urlsplit(webhook)
    host = (parts.hostname or "").lower()
    return host == "outlook.office.com" or host.endswith(".webhook.office.com") or "/webhookb2/" in parts.path


def payload(message: Message, *, legacy: bool) -> bytes:
    """The JSON to post, shortened until Teams takes it."""
    make = _connector_card if legacy else _adaptive_card
    while True:
        body = json.dumps(make(message), ensure_ascii=False).encode("utf-8", "replace")
        if len(body) < MOST_BYTES:
            return body
        message = _shortened(message)


def _shortened(message: Message) -> Message:
    """About half as long, and saying so."""

    def half(text: str) -> str:
        return text if len(text) < 40 else f"{text[: len(text) // 2]} … (shortened)"

    return replace(
        message, title=half(message.title), text=half(message.text),
        facts=tuple((half(name), half(value)) for name, value in message.facts[:20]),
    )  # fmt: skip


def judged(status: int, body: str) -> Delivery:
    """What an answer means."""
    refused = "http error 429" in body.lower()
    if status == 202 or (status == 200 and not refused):
        return Delivery(delivered=True, status=status, message="Teams took the message.")
    if refused or status == 429:
        words, fix = "Teams takes no more messages for now.", "Try again in some minutes."
    elif status in (401, 403, 404, 410):
        words, fix = "Teams does not know this webhook any more.", "Make a new one in Teams and set it."
    elif status == 413:
        words, fix = "The message is too large for Teams.", "Report this, with the message."
    elif 300 <= status < 400:
        words, fix = "The webhook's address leads elsewhere.", "Copy the address again from Teams."
    else:
        words, fix = f"Teams refused the message (HTTP {status}).", "Look at the flow's run history in Teams."
    shown = " ".join(body.split())[:_MOST_SHOWN]
    return Delivery(
        delivered=False, status=status, message=f"{words} {shown}".rstrip(), fix=fix, hopeless=status in (400, 413, 422)
    )


async def deliver(webhook: str, message: Message) -> Delivery:
    """Send a message, once. Never raises for what the other side does; the address is in no answer."""
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT)
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout) as session,
            session.post(
                webhook, data=payload(message, legacy=is_legacy(webhook)), allow_redirects=False,
                headers={"Content-Type": "application/json"}, proxy=environment_proxy(webhook),
            ) as answer,
        ):  # fmt: skip
            body = (await answer.content.read(4096)).decode("utf-8", "replace")
            headers = {name.lower(): value for name, value in answer.headers.items()}
            after = parse_rate_headers(headers, datetime.now(UTC)).retry_after
            return replace(judged(answer.status, masked(body, webhook)), after=after)
    except TimeoutError:
        words = f"The webhook gave no answer within {_TIMEOUT:.0f} s."
        return Delivery(delivered=False, status=None, message=words, fix="Try again in a minute.")
    except (aiohttp.ClientError, OSError, ValueError) as error:
        words = f"The webhook cannot be reached ({type(error).__name__})."
        return Delivery(
            delivered=False, status=None, message=words, fix="Check INTEGRATIONS_TEAMS_WEBHOOK and the way out."
        )


def masked(text: str, webhook: str) -> str:
    """A text without the address and its signature."""
    return masked_text(text, (webhook, urlsplit(webhook).query, *secrets_within(webhook)))


def _adaptive_card(message: Message) -> dict[str, Any]:
    colours = {"attention": "Attention", "warning": "Warning", "good": "Good"}
    body: list[Mapping[str, Any]] = [
        {"type": "TextBlock", "text": message.title, "weight": "Bolder", "size": "Medium", "wrap": True,
         "color": colours[message.mood]},
        {"type": "TextBlock", "text": message.text, "wrap": True},
    ]  # fmt: skip
    if message.facts:
        body.append({"type": "FactSet", "facts": [{"title": name, "value": value} for name, value in message.facts]})
    card: dict[str, Any] = {
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "body": body,
        "msteams": {"width": "full"},
    }
    if message.link:
        card["actions"] = [{"type": "Action.OpenUrl", "title": "Open Keepstep", "url": message.link}]
    return {"type": "message", "attachments": [{"contentType": _CARD, "contentUrl": None, "content": card}]}


def _connector_card(message: Message) -> dict[str, Any]:
    facts = [{"name": name, "value": value} for name, value in message.facts]
    card: dict[str, Any] = {
        "@type": "MessageCard",
        "@context": "http://schema.org/extensions",
        "themeColor": _COLOURS[message.mood],
        "summary": message.title,
        "title": message.title,
        "sections": [{"text": message.text, "facts": facts, "markdown": False}],
    }
    if message.link:
        action = {"@type": "OpenUri", "name": "Open Keepstep", "targets": [{"os": "default", "uri": message.link}]}
        card["potentialAction"] = [action]
    return card
