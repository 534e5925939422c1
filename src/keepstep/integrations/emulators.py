"""The emulators that exist. Light to import: each is loaded when it is started."""

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any

from keepstep.integrations.doorloop.emulator import options as doorloop
from keepstep.integrations.erp.emulator import options as erp
from keepstep.integrations.google_contacts.emulator import options as google_contacts
from keepstep.integrations.mail.gmail.emulator import options as gmail


@dataclass(frozen=True, slots=True)
class Emulated:
    """One emulator. ``options`` is a flat dataclass of its switches, ``choices`` the values of those that have few.

    ``path``: what its API's address has after the origin. ``environment``: what to set to read from it, given the
    options and the address. ``example``: what to type for a page of data, given the same. ``commands``: control routes
    with a body, to begin with. ``meanings``: what switches of its own do. ``load`` gives its class.
    """

    key: str
    title: str
    options: type[Any]
    choices: Mapping[str, tuple[str, ...]]
    load: Callable[[], type[Any]]
    path: str
    environment: Callable[[Any, str], Mapping[str, str]]
    example: Callable[[Any, str], str]
    commands: tuple[tuple[str, str], ...]
    meanings: Mapping[str, str] = field(default_factory=dict)

    def serve(self, options: Any, **where: Any) -> Coroutine[Any, Any, None]:
        """Serve it until cancelled (see ``serve_forever``)."""
        from keepstep.integrations.emulation.emulator import serve_forever

        return serve_forever(self.load()(options), **where)


def emulators() -> Mapping[str, Emulated]:
    """Every emulator by its name: its integration's key, but for mail, which Gmail is one way to."""
    return {one.key: one for one in (_doorloop(), _google_contacts(), _gmail(), _erp())}


def _doorloop() -> Emulated:
    def load() -> type[Any]:
        from keepstep.integrations.doorloop.emulator.server import DoorLoopEmulator

        return DoorLoopEmulator

    return Emulated(
        "doorloop", "DoorLoop", doorloop.EmulatorOptions, doorloop.CHOICES, load, "/api",
        lambda options, url: {"DOORLOOP_BASE_URL": url, "DOORLOOP_API_KEY": options.api_key or "any"},
        lambda options, url: _with_bearer(options, f"{url}/leases?page_size=2"),
        (
            ("changes", '{"entity": "leases", "create": 3, "update": 10, "delete": 2}'),
            ("faults", '{"kind": "429", "entity": "leases", "retry_after": 5}'),
        ),
    )  # fmt: skip


def _google_contacts() -> Emulated:
    def load() -> type[Any]:
        from keepstep.integrations.google_contacts.emulator.server import GoogleEmulator

        return GoogleEmulator

    query = "personFields=names,emailAddresses&pageSize=2"
    return Emulated(
        "google_contacts", "Google Contacts", google_contacts.EmulatorOptions, google_contacts.CHOICES, load, "",
        lambda options, url: {
            "GOOGLE_CONTACTS_BASE_URL": url, "GOOGLE_CLIENT_ID": options.client_id,
            "GOOGLE_CLIENT_SECRET": options.client_secret,
        },
        lambda options, url: _with_bearer(options, f"{url}/v1/people/me/connections?{query}"),
        (
            ("changes", '{"create": 3, "update": 10, "delete": 2, "strip": 1}'),
            ("expire", "{}"),
            ("faults", '{"kind": "429", "page": 1}'),
        ),
        google_contacts.MEANINGS,
    )  # fmt: skip


def _gmail() -> Emulated:
    def load() -> type[Any]:
        from keepstep.integrations.mail.gmail.emulator.server import GmailEmulator

        return GmailEmulator

    return Emulated(
        "gmail", "Gmail", gmail.EmulatorOptions, gmail.CHOICES, load, "",
        lambda options, url: {
            "GMAIL_BASE_URL": url, "GOOGLE_CLIENT_ID": options.client_id, "GOOGLE_CLIENT_SECRET": options.client_secret,
        },
        lambda options, url: _with_bearer(options, f"{url}/gmail/v1/users/me/messages?maxResults=2"),
        (
            ("changes", '{"create": 3, "label": 10, "trash": 1, "delete": 2}'),
            ("expire", "{}"),
            ("faults", '{"kind": "usage-limit", "path": "batch", "retry_after": 5}'),
        ),
        gmail.MEANINGS,
    )  # fmt: skip


def _erp() -> Emulated:
    def load() -> type[Any]:
        from keepstep.integrations.erp.emulator.server import ErpEmulator

        return ErpEmulator

    return Emulated(
        "erp", "ERP", erp.EmulatorOptions, erp.CHOICES, load, "/erp",
        lambda options, url: {"ERP_BASE_URL": url, "ERP_USERNAME": options.username, "ERP_PASSWORD": options.password},
        lambda _, url: f"curl -s {url.removesuffix('/erp')}/_emulator/document/products.pdf -o products.pdf",
        (
            ("changes", '{"report": "products", "create": 3, "update": 10, "delete": 2}'),
            ("faults", '{"kind": "truncate", "variant": "body", "report": "products"}'),
        ),
        erp.MEANINGS,
    )  # fmt: skip


def _with_bearer(options: Any, address: str) -> str:
    return f"curl -s -H 'Authorization: bearer {options.api_key or 'any'}' '{address}'"
