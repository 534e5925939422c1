"""The ways to people: a Teams webhook, and whatever Apprise knows an address for (mail, Slack, and many more)."""

import asyncio
import importlib.util
from dataclasses import dataclass, field
from typing import Any

from keepstep.alerts import teams
from keepstep.alerts.messages import Message
from keepstep.alerts.teams import Delivery


@dataclass(frozen=True, slots=True)
class Teams:
    """Messages to one webhook."""

    webhook: str = field(repr=False)
    name: str = "teams"

    @property
    def legacy(self) -> bool:
        """Whether the webhook is one of an Office 365 connector."""
        return teams.is_legacy(self.webhook)

    async def deliver(self, message: Message) -> Delivery:
        """Send a message, once."""
        return await teams.deliver(self.webhook, message)


@dataclass(frozen=True, slots=True)
class Apprise:
    """Messages to addresses of Apprise (https://github.com/caronc/apprise); it comes with ``keepstep[apprise]``."""

    addresses: tuple[str, ...] = field(repr=False)
    name: str = "apprise"
    legacy: bool = False

    async def deliver(self, message: Message) -> Delivery:
        """Send a message, once. Apprise says only whether all addresses took it."""
        if not installed():
            return Delivery(
                False, None, "Apprise is not installed.", "pip install 'keepstep[apprise]', or unset the addresses."
            )
        return await asyncio.to_thread(self._notify, message)

    def _notify(self, message: Message) -> Delivery:
        apprise: Any = importlib.import_module("apprise")
        sender = apprise.Apprise()
        unknown = sum(not sender.add(address) for address in self.addresses)
        if unknown:
            which = "One address" if unknown == 1 else f"{unknown} addresses"
            return Delivery(
                False,
                None,
                f"{which} of KEEPSTEP_APPRISE_URLS is none that Apprise knows.",
                "Correct it.",
                hopeless=True,
            )
        lines = [message.text, *(f"{name}: {value}" for name, value in message.facts), message.link]
        kind = {"attention": "failure", "warning": "warning", "good": "success"}[message.mood]
        took = sender.notify(title=message.title, body="\n".join(filter(None, lines)), notify_type=kind)
        if took:
            return Delivery(True, None, "Apprise delivered the message.")
        return Delivery(False, None, "Apprise could not deliver the message.", "Check KEEPSTEP_APPRISE_URLS.")


def installed() -> bool:
    """Whether Apprise is there."""
    return importlib.util.find_spec("apprise") is not None
