"""The command ``keepstep`` with more integrations: the same upstream under several names, each with its own tables.

So that a soak has several connections which may run at the same time, but not each with itself.
"""

import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from keepstep.app import App
from keepstep.cli.main import run
from keepstep.config import Settings, catalogue
from keepstep.integrations.registry import Registered, Values
from keepstep.service.connectors import InEffect
from keepstep.service.settings import Chosen

CONNECTIONS = "SOAK_CONNECTIONS"


def names(count: int) -> list[str]:
    """The integrations of a soak."""
    return ["doorloop", *(f"doorloop_{number}" for number in range(2, count + 1))]


class ManyApp(App):
    """An App that knows several."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        one, own = self.registered["doorloop"], {key: one for key, one in self.known.items() if one.per_owner}
        self.registered: Mapping[str, Registered] = MappingProxyType(
            {key: _called(one, key) for key in names(int(os.environ.get(CONNECTIONS, "1")))}
        )
        self.known = MappingProxyType({**self.registered, **own})

    def values(self, key: str) -> Values:
        """All of them are configured the same way."""
        return super().values(self._meant(key))

    def in_effect(self, key: str, chosen: Chosen, stored: Mapping[str, str], *, own: bool = False) -> InEffect:
        """The same for what holds now."""
        return super().in_effect(self._meant(key), chosen, stored, own=own)

    def _meant(self, key: str) -> str:
        return "doorloop" if key in self.registered else key

    def with_chosen(self, chosen: Chosen) -> App:
        """The same with what people chose."""
        return ManyApp(catalogue.in_effect(self.settings, chosen))


def _called(one: Registered, key: str) -> Registered:
    def build(*values: Any) -> Any:
        integration = one._build(*values)
        integration.key = key
        return integration

    return replace(one, key=key, _build=build)


if __name__ == "__main__":
    sys.exit(run(lambda: ManyApp(Settings.load()), sys.argv[1:]))
