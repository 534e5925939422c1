"""The answers of the API and of ``--json``: one class per shape, camelCase on the wire."""

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel

from keepstep.model.diagnosis import docs_of, fault_of
from keepstep.model.faults import Severity

Absent = Field(default=None, exclude_if=lambda value: value is None)
"""For ``name: Annotated[X | None, Absent] = None``: left out of the answer where there is nothing to say."""


def one_of(*values: str) -> Any:
    """For ``Annotated[str, one_of(...)]``: the values that the documentation names. Nothing is checked."""
    return Field(json_schema_extra={"enum": list(values)})


class Diagnosed(BaseModel):
    """What the table of faults says of a thing that is not as it should be; absent where it is, or is not there.

    ``code`` names the fault, ``impact`` says what it means for the data, ``docs`` where it is described.
    """

    code: Annotated[str | None, Absent] = None
    severity: Annotated[Severity | None, Absent] = None
    impact: Annotated[str | None, Absent] = None
    docs: Annotated[str | None, Absent] = None


def diagnosed(code: str | None) -> dict[str, Any]:
    """The members of ``Diagnosed`` for a code."""
    fault = fault_of(code)
    if fault is None:
        return {"code": code} if code else {}
    return {"code": fault.code, "severity": fault.severity, "impact": fault.impact, "docs": docs_of(fault.code)}


_ENDS = ("succeeded", "failed", "held", "stopped", "crashed")
RunState = Annotated[str, one_of("queued", "running", "waiting", *_ENDS)]
EntityState = Annotated[str, one_of("pending", "running", *_ENDS)]
ModeName = Annotated[str, one_of("delta", "backfill")]
TriggerName = Annotated[str, one_of("manual", "schedule", "nightly")]
Level = Annotated[str, one_of("debug", "info", "warning", "error")]
LetterState = Annotated[str, one_of("open", "resolved", "discarded")]
DecisionState = Annotated[str, one_of("open", "approved", "discarded", "void")]


class Shape(BaseModel):
    """A JSON object with camelCase names and times in UTC. In Python its fields have their own names."""

    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, serialize_by_alias=True, frozen=True, extra="forbid"
    )

    @model_validator(mode="before")
    @classmethod
    def _in_utc(cls, values: Any) -> Any:
        """The driver gives instants in the time zone of the session."""
        if not isinstance(values, dict):
            return values
        return {name: v.astimezone(UTC) if isinstance(v, datetime) else v for name, v in values.items()}


class EntityRun(Shape):
    """One entity of a run. ``skipped``: by reason, how many records came that are none of the entity's."""

    entity: str
    state: EntityState
    rows: int
    inserted: int
    updated: int
    unchanged: int
    deleted: int
    dead_lettered: int
    skipped: dict[str, int] = Field(default_factory=dict)
    pages: int
    requests: int
    total: int | None
    resumed: bool
    completeness: str | None
    error: dict[str, Any] | None
    report: dict[str, Any] | None


class RunSummary(Shape):
    """A run with its counts. ``entity`` names all its entities; ``result`` is its state.

    ``plannedAt``: when its schedule wanted it; ``caughtUp``: a nightly full that came after its hour had passed;
    ``dueAt``: until when it waits. ``owner``: whose it is; null for a connection that all share.
    """

    run_id: int
    integration: str
    owner: str | None
    created_at: datetime
    planned_at: datetime | None
    started_at: datetime | None
    finished_at: datetime | None
    due_at: datetime | None
    entity: str
    mode: ModeName
    rows: int
    inserted: int
    updated: int
    unchanged: int
    deleted: int
    dead_lettered: int
    skipped: dict[str, int] = Field(default_factory=dict)
    requests: int
    duration_ms: int | None
    result: RunState
    error: dict[str, Any] | None
    dry_run: bool
    trigger: TriggerName
    caught_up: bool
    actor: str | None
    entities: list[EntityRun]


class LoggedEvent(Shape):
    """An event of a run."""

    id: int
    run_id: int
    ts: datetime
    type: str
    level: Level
    entity: str | None
    page: int | None
    rows: int | None
    msg: str
    data: dict[str, Any]


class PageView(Shape):
    """One flush of pages of an entity: ``rows`` is the whole reading's so far, ``batchRows`` this flush's own."""

    event_id: int
    ts: datetime
    entity: str
    page: int
    rows: int
    batch_rows: int
    inserted: int
    updated: int
    unchanged: int
    dead_lettered: int
    requests: int
    rps: float


class RunDetail(RunSummary):
    """A run with its newest ``events`` in order, and the ``pages`` among them.

    ``eventsBefore``: give it as ``before`` to see older ones; null when there are none. The delta report of a dry run
    stands in its ``entities``, an error with the first 2 KB of the response in ``error`` and there.
    """

    pages: list[PageView]
    events: list[LoggedEvent]
    events_before: int | None


class DeadLetterSummary(Shape):
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
    state: LetterState


class DeadLetterDetail(DeadLetterSummary):
    """A dead letter with its payload as text; bytes that are no UTF-8 are shown as ``\\xNN``."""

    payload: str
    note: str | None


class DeadLetterPage(Shape):
    """Some dead letters, and how many there are in all."""

    items: list[DeadLetterSummary]
    count: int


class LetterCount(Shape):
    """How many dead letters there are of an entity, kind and state."""

    entity: str
    kind: str
    state: LetterState
    n: int


class Requeued(Shape):
    """What a requeue or discard did to one dead letter: requeued, resolved, discarded or failed."""

    id: int
    result: Annotated[str, one_of("requeued", "resolved", "discarded", "failed")]
    reason: str


class HeldDeletions(Shape):
    """Deletions of one entity that wait, or waited, for a decision."""

    run_id: int
    integration: str
    entity: str
    state: DecisionState
    live_rows: int
    delete_rows: int
    percent: float
    sample: list[str]
    created_at: datetime
    decided_at: datetime | None
    decided_by: str | None
    reason: str | None


class CheckpointView(Shape):
    """Where an entity stands: its watermark, and its unfinished reading if there is one (``mode`` and ``cursor``)."""

    integration: str
    owner: str | None
    entity: str
    watermark: datetime | None
    last_full_at: datetime | None
    last_delta_at: datetime | None
    mode: ModeName | None
    cursor: dict[str, Any] | None
    run_id: int | None
    updated_at: datetime | None
