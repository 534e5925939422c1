"""The answers of the API and of ``--json``: one class per shape, camelCase on the wire."""

from datetime import datetime
from typing import Any

import msgspec


class Shape(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    """A JSON object with camelCase names."""


class EntityRun(Shape, frozen=True, kw_only=True):
    """One entity of a run."""

    entity: str
    state: str
    rows: int
    inserted: int
    updated: int
    unchanged: int
    deleted: int
    dead_lettered: int
    pages: int
    requests: int
    total: int | None
    resumed: bool
    completeness: str | None
    error: dict[str, Any] | None
    report: dict[str, Any] | None


class RunSummary(Shape, frozen=True, kw_only=True):
    """A run with its counts. ``entity`` names all its entities; ``result`` is its state."""

    run_id: int
    integration: str
    started_at: datetime
    finished_at: datetime | None
    due_at: datetime | None
    entity: str
    mode: str
    rows: int
    inserted: int
    updated: int
    unchanged: int
    deleted: int
    dead_lettered: int
    requests: int
    duration_ms: int | None
    result: str
    error: dict[str, Any] | None
    dry_run: bool
    trigger: str
    entities: list[EntityRun]


class LoggedEvent(Shape, frozen=True, kw_only=True):
    """An event of a run."""

    id: int
    ts: datetime
    type: str
    level: str
    entity: str | None
    page: int | None
    rows: int | None
    msg: str
    data: dict[str, Any]


class DeadLetterSummary(Shape, frozen=True, kw_only=True):
    """A dead letter without its payload."""

    id: int
    entity: str
    record_key: str | None
    kind: str
    reason: str
    payload_hash: str
    created_at: datetime
    last_seen_at: datetime
    run_id: int
    attempts: int
    state: str


class DeadLetterDetail(DeadLetterSummary, frozen=True, kw_only=True):
    """A dead letter with its payload as text; bytes that are no UTF-8 are shown as ``\\xNN``."""

    payload: str
    note: str | None


class DeadLetterPage(Shape, frozen=True, kw_only=True):
    """Some dead letters, and how many there are in all."""

    items: list[DeadLetterSummary]
    count: int


class Requeued(Shape, frozen=True, kw_only=True):
    """What a requeue or discard did to one dead letter: requeued, resolved, discarded or failed."""

    id: int
    result: str
    reason: str


class HeldDeletions(Shape, frozen=True, kw_only=True):
    """Deletions of one entity that wait, or waited, for a decision."""

    run_id: int
    integration: str
    entity: str
    state: str
    live_rows: int
    delete_rows: int
    percent: float
    sample: list[str]
    created_at: datetime
    decided_at: datetime | None
    decided_by: str | None
    reason: str | None


class CheckpointView(Shape, frozen=True, kw_only=True):
    """Where an entity stands: its watermark, and its unfinished reading if there is one (``mode`` and ``cursor``)."""

    integration: str
    entity: str
    watermark: datetime | None
    last_full_at: datetime | None
    last_delta_at: datetime | None
    mode: str | None
    cursor: dict[str, Any] | None
    run_id: int | None
    updated_at: datetime | None
