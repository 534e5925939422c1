"""What people ask for, checked: names that exist, a mode, a moment that has passed."""

from collections.abc import Sequence
from datetime import UTC, datetime
from difflib import get_close_matches

from keepstep.model.errors import BadRequest, NotAllowed
from keepstep.model.integration import Entity, Mode
from keepstep.model.run import RunRequest

MODES = {"delta": "delta", "incremental": "delta", "backfill": "backfill", "full": "backfill"}
"""What may be said, and the mode that is meant."""


def run_request(
    key: str, known: Sequence[Entity], *, entities: Sequence[str], mode: str, since: str | None, dry_run: bool,
    actor: str, allow_backfill: bool,
) -> RunRequest:  # fmt: skip
    """A run by hand. Raises ``BadRequest`` for what does not exist, ``NotAllowed`` where full runs are turned off."""
    names = tuple(dict.fromkeys(name.strip().lower() for name in entities))
    existing = [entity.name for entity in known]
    for name in names:
        if name not in existing:
            raise BadRequest(f"{key} has no entity {name!r}.", fix=_known(name, existing))
    if not names:
        raise BadRequest("No entity is named.", fix=f"Known are: {', '.join(existing)}.")
    if mode not in MODES:
        raise BadRequest(f"There is no mode {mode!r}.", fix=_known(mode, list(MODES)))
    meant = Mode(MODES[mode])
    if meant is Mode.BACKFILL and not allow_backfill:
        raise NotAllowed(
            "Full runs by hand are turned off (ALLOW_MANUAL_BACKFILL=false).", fix="Run a delta, or set it to true."
        )
    if since is not None and meant is Mode.BACKFILL:
        raise BadRequest(
            "since has no meaning for a backfill, which reads everything.", fix="Leave out since, or run a delta."
        )
    start = None if since is None else instant(since, "since")
    return RunRequest(names, meant, since=start, dry_run=dry_run, actor=actor)


def instant(text: str, name: str) -> datetime:
    """A date or ISO timestamp, UTC unless it says otherwise, in the past. Raises ``BadRequest``."""
    try:
        given = datetime.fromisoformat(text.strip())
        when = given.replace(tzinfo=UTC) if given.tzinfo is None else given.astimezone(UTC)
    except (ValueError, OverflowError):
        raise BadRequest(
            f"{name} {text[:40]!r} is not a date.",
            fix="Write 2026-03-31 or 2026-03-31T08:00:00Z (UTC unless it says so).",
        ) from None
    if when > datetime.now(UTC):
        raise BadRequest(f"{name} {text!r} lies in the future.", fix="Give a moment that has passed.")
    return when


def _known(name: str, known: Sequence[str]) -> str:
    close = get_close_matches(name.lower()[:80], known, n=1)
    return (f"Did you mean {close[0]}? " if close else "") + f"Known are: {', '.join(known)}."
