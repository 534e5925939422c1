"""What the options of every emulator can do: be changed from JSON, and be checked."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Self

CONSENT_CHOICES: Mapping[str, tuple[str, ...]] = {
    "consent": ("allow", "deny", "partial"),
    "expires_in_as": ("number", "text", "absent"),
}
CONSENT_MEANINGS: Mapping[str, str] = {
    "client_id": "The application that may ask for consent.",
    "client_secret": "Its secret.",
    "access_token": "An access token that is valid from the start, for ever.",
    "refresh_token": "A refresh token that is valid from the start.",
    "access_token_s": "How long an access token that is issued lasts.",
    "refresh_token_days": "How long a refresh token lasts, as in testing; 0 for ever.",
    "rotate_refresh_tokens": "Give another refresh token with every refresh.",
    "expires_in_as": "How the end of an access token is told.",
    "consent": "What the person does who is asked.",
}
"""The switches of an emulator that has ``Grants``."""


@dataclass(frozen=True, slots=True)
class Switches:
    """The base of an emulator's options: a flat dataclass that flags and JSON map onto."""

    def changed(self, values: Mapping[str, Any]) -> Self:
        """The options with some replaced, from JSON values. Raises ``ValueError`` for unknown names and wrong types."""
        return replace(self, **{name: self._fitting(name, value) for name, value in values.items()})

    def check_choices(self, choices: Mapping[str, tuple[str, ...]]) -> None:
        """Raise ``ValueError`` where one is none of its choices."""
        for name, possible in choices.items():
            if getattr(self, name) not in possible:
                raise ValueError(f"{name} is one of {', '.join(possible)}, not {getattr(self, name)!r}")

    def check_range(self, names: Iterable[str], most: int) -> None:
        """Raise ``ValueError`` where one is below 0 or above the most."""
        for name in names:
            if not 0 <= getattr(self, name) <= most:
                raise ValueError(f"{name} lies between 0 and {most}, not {getattr(self, name)}")

    def check_not_negative(self, names: Iterable[str]) -> None:
        """Raise ``ValueError`` where one is below 0."""
        for name in names:
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is not negative")

    def _fitting(self, name: str, value: Any) -> Any:
        if name not in {f.name for f in fields(self)}:
            raise ValueError(f"there is no switch {name!r}; GET /_emulator/state lists them")
        wanted: type = float if name.endswith(("_ms", "_s")) else type(getattr(self, name))
        if wanted is frozenset and isinstance(value, list | tuple | set | frozenset):
            return frozenset(str(part) for part in value)
        if wanted is float and isinstance(value, int) and not isinstance(value, bool):
            return float(value)
        if type(value) is not wanted:
            raise ValueError(f"{name} takes a {wanted.__name__}, not {value!r}")
        return value


def check_unseeded(values: Mapping[str, Any], seeded: frozenset[str]) -> None:
    """Raise ``ValueError`` where one of the values shapes the seeded data."""
    if shaping := sorted(seeded & set(values)):
        raise ValueError(f"{shaping[0]} shapes the seeded records: change it with a reset")
