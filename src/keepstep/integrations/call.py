"""What is sent to an upstream system, and what proves who sends it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


class Credentials(Protocol):
    """What proves who asks, where that changes while a client lives."""

    @property
    def secrets(self) -> Sequence[str]:
        """What must never be shown."""
        ...

    async def headers(self) -> Mapping[str, str]:
        """The headers of the next request. Raises ``UpstreamError`` where there are none to be had."""
        ...

    async def renew(self) -> bool:
        """They were refused (401): whether there are better ones now. Raises ``UpstreamError``."""
        ...

    async def aclose(self) -> None:
        """Give back what they hold."""
        ...


@dataclass(frozen=True, slots=True)
class Call:
    """One request: a GET, or a POST of a ``form`` or of a ``body``. ``headers`` go with this one only."""

    path: str
    params: Mapping[str, str | int] = field(default_factory=dict)
    form: Mapping[str, str] | None = field(default=None, repr=False)
    body: bytes | None = field(default=None, repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def method(self) -> str:
        """What HTTP calls it."""
        return "GET" if self.form is None and self.body is None else "POST"
