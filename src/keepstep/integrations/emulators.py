"""The emulators that exist. Light to import: each is loaded when it is started."""

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any

from keepstep.integrations.doorloop.emulator.options import CHOICES, EmulatorOptions

Serve = Callable[..., Coroutine[Any, Any, None]]
"""``serve(options, host=..., port=..., started=...)``, until cancelled; ``started`` is told the base URL."""


@dataclass(frozen=True, slots=True)
class Emulated:
    """One emulator. ``options`` is a flat dataclass of its switches, ``choices`` the values of those that have few."""

    key: str
    title: str
    options: type[EmulatorOptions]
    choices: Mapping[str, tuple[str, ...]]
    load: Callable[[], Serve]


def emulators() -> Mapping[str, Emulated]:
    """Every emulator by its integration's key."""
    return {"doorloop": Emulated("doorloop", "DoorLoop", EmulatorOptions, CHOICES, _doorloop)}


def _doorloop() -> Serve:
    from keepstep.integrations.doorloop.emulator.server import serve_forever

    return serve_forever
