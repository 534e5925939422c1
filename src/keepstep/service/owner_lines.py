"""How an owner's connection is told: its state, what it waits for in words, and when the next sync comes."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from keepstep.model.diagnosis import explained
from keepstep.reliability.span import ahead
from keepstep.service.shapes import Shape, one_of

STATES = ("connected", "needs-connecting", "needs-reconnect", "paused")
ConnectionState = Annotated[str, one_of(*STATES)]
WAITS = {
    "needs-connecting": ("waits until it is connected", "Connect the account."),
    "needs-reconnect": ("waits until it is connected again", "Connect the account again."),
    "paused": ("paused", "Ask the administrator who paused it."),
}
"""What a connection that cannot be used waits for, and what to do."""


class OwnerLine(Shape):
    """One owner's connection to an integration. An agent's is ``enabled`` while one of its types is, and next is the
    first of them.

    ``reason``: why it is paused, or why upstream refuses it; ``fix``: what to do then. ``nextSync`` says in words when
    the next one comes, or what it waits for. ``failures``: runs in a row that failed; ``error``: that of the last one.
    """

    id: int
    integration: str
    owner: str
    user: str | None
    workspace: str | None
    state: ConnectionState
    reason: str | None
    fix: str
    paused_by: str | None
    enabled: bool
    interval_minutes: int | None
    next_sync_at: datetime | None
    next_sync: str
    last_sync_at: datetime | None
    last_failure_at: datetime | None
    failures: int
    error: dict[str, Any] | None
    last_run_id: int | None


class OwnerPage(Shape):
    """Some of them. ``next``: give it as ``after`` for those that follow; null at the end. ``counts``: by state."""

    items: list[OwnerLine]
    next: int | None
    counts: dict[str, int]


def line_of(row: Mapping[str, Any]) -> OwnerLine:
    """The line of a row of ``store/owners.sql``."""
    waits, fix = WAITS.get(row["state"], ("", ""))
    due = row["due_at"]
    if not row["enabled"]:
        words = "off"
    elif waits:
        words = waits
    else:
        words = "waits for its integration" if due is None else ahead((due - row["now"]).total_seconds())
    same = ("id", "integration", "owner", "user", "workspace", "state", "reason", "paused_by", "enabled",
            "last_failure_at", "failures", "last_run_id")  # fmt: skip
    return OwnerLine(
        **{name: row[name] for name in same},
        fix=fix,
        interval_minutes=None if row["interval_seconds"] is None else -(-row["interval_seconds"] // 60),
        next_sync_at=due,
        next_sync=words,
        last_sync_at=row["last_success_at"],
        error=None if row["error"] is None else explained(row["error"]),
    )
