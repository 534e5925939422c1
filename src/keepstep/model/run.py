"""What a run is, how it can end, and what it counted."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from keepstep.model.integration import ANOTHER_ACCOUNT, Json, Mode
from keepstep.model.schema import SchemaPolicies


class State(StrEnum):
    """The states of a run; docs/state_machine.md draws them. ``pending`` is only for an entity of a run."""

    PENDING = "pending"
    QUEUED = "queued"
    RUNNING = "running"
    WAITING = "waiting"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    HELD = "held"
    STOPPED = "stopped"
    CRASHED = "crashed"


class Trigger(StrEnum):
    """Who started a run."""

    MANUAL = "manual"
    SCHEDULE = "schedule"
    NIGHTLY = "nightly"


@dataclass(frozen=True, slots=True)
class Counts:
    """What became of the records. Every record read is exactly one of inserted, updated, unchanged or dead-lettered.

    ``skipped``: by reason, records that came and are none of the entity's; they do not count as read.
    """

    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    deleted: int = 0
    dead_lettered: int = 0
    skipped: Mapping[str, int] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """How many records were read."""
        return self.inserted + self.updated + self.unchanged + self.dead_lettered

    def __add__(self, other: "Counts") -> "Counts":
        numbers = [f.name for f in fields(self) if f.name != "skipped"]
        sums = {name: getattr(self, name) + getattr(other, name) for name in numbers}
        return Counts(**sums, skipped=dict(Counter(self.skipped) + Counter(other.skipped)))


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What somebody asks for. ``since`` replaces the watermark of a delta."""

    entities: tuple[str, ...]
    mode: Mode
    since: datetime | None = None
    dry_run: bool = False
    trigger: Trigger = Trigger.MANUAL
    actor: str | None = None


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened in a run, as stored and as told to whoever listens. ``data`` is plain JSON."""

    type: str
    msg: str
    level: str = "info"
    entity: str | None = None
    page: int | None = None
    rows: int | None = None
    data: Json = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A record that could not be applied. ``kind`` groups reasons; ``key`` is None where it has no usable one."""

    key: str | None
    kind: str
    reason: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Policy:
    """The numbers that a run follows. Times in seconds, ``drop_percent`` 0 to 100."""

    drop_percent: int = 50
    drop_floor: int = 20
    lease: float = 60.0
    flush_rows: int = 1000
    flush_seconds: float = 0.25
    stale_scan_hours: int = 24
    schema: SchemaPolicies = field(default_factory=SchemaPolicies)

    def knowing(self, facts: Json) -> "Policy":
        """The numbers for an entity of which this is known: nobody is asked about what another account never had."""
        return replace(self, drop_percent=100) if facts == ANOTHER_ACCOUNT else self


def error_json(error: BaseException) -> dict[str, Any]:
    """An error as the tables keep it: code, message, fix and the first 2 KB of the answer where there was one.

    ``code`` is that of ``model/diagnosis.py``, ``kind`` the coarser one of the error's class.
    """
    answer = getattr(error, "answer", None)
    return {
        "code": getattr(error, "code", "internal"),
        "kind": getattr(error, "kind", "internal"),
        "message": getattr(error, "message", None) or f"{type(error).__name__}: {error}",
        "fix": getattr(error, "fix", ""),
        "answer": None
        if answer is None
        else {
            "method": answer.method,
            "path": answer.path,
            "status": answer.status,
            "contentType": answer.content_type,
            "snippet": answer.snippet,
        },
    }
