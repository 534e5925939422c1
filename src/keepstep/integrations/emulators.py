"""The emulators that exist. Light to import: each is loaded when it is started."""

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from keepstep.integrations.doorloop.emulator import options as doorloop
from keepstep.integrations.erp.emulator import options as erp

Serve = Callable[..., Coroutine[Any, Any, None]]
"""``serve(options, host=..., port=..., started=...)``, until cancelled; ``started`` is told the base URL."""


@dataclass(frozen=True, slots=True)
class Emulated:
    """One emulator.

    ``options`` is a flat dataclass of its switches, ``choices`` the values of those that have few. ``api``: the path of
    its base URL. ``credentials``: the variables that let a caller in.
    """

    key: str
    title: str
    options: type[Any]
    choices: Mapping[str, tuple[str, ...]]
    load: Callable[[], Serve]
    api: str
    credentials: Callable[[Any], Mapping[str, str]]


def emulators() -> Mapping[str, Emulated]:
    """Every emulator by its integration's key."""
    return {
        "doorloop": Emulated(
            "doorloop", "DoorLoop", doorloop.EmulatorOptions, doorloop.CHOICES, _doorloop, "/api",
            lambda options: {"DOORLOOP_API_KEY": options.api_key or "any"},
        ),
        "erp": Emulated(
            "erp", "ERP", erp.EmulatorOptions, erp.CHOICES, _erp, "/erp",
            lambda options: {"ERP_USERNAME": options.username, "ERP_PASSWORD": options.password},
        ),
    }  # fmt: skip


def _doorloop() -> Serve:
    from keepstep.integrations.doorloop.emulator.server import serve_forever

    return serve_forever


def _erp() -> Serve:
    from keepstep.integrations.erp.emulator.server import serve_forever

    return serve_forever
