"""What an emulator answers, as facts: status, headers, body."""

from collections.abc import Mapping
from dataclasses import dataclass, field

JSON = "application/json; charset=utf-8"
HTML = "text/html; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer. ``cut``: None, or how many bytes of the body leave before the connection breaks."""

    status: int
    body: bytes
    content_type: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    cut: int | None = None
