"""What is said of one thing that can go wrong."""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning", "info"]
"""``error``: something is not kept in step until somebody, or upstream, acts. ``warning``: it is, but look at it."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One entry of the table. ``message`` and ``fix`` may have places for facts; ``impact`` is about the data."""

    code: str
    severity: Severity
    title: str
    message: str
    impact: str
    fix: str
