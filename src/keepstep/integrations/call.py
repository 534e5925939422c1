"""What is sent to an upstream system."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Call:
    """One request: a GET, or a POST of a ``form``. ``headers`` go with this one only."""

    path: str
    params: Mapping[str, str | int] = field(default_factory=dict)
    form: Mapping[str, str] | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def method(self) -> str:
        """What HTTP calls it."""
        return "GET" if self.form is None else "POST"
