"""What several commands take, and how it is read. Every mistake is a ``Usage`` with what to write instead."""

import getpass
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from difflib import get_close_matches
from typing import Annotated

import typer

from keepstep.cli.exits import Usage
from keepstep.cli.parts import Parts

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of words.")]
IntegrationName = Annotated[str, typer.Argument(metavar="INTEGRATION", help="For example: doorloop.")]
RunId = Annotated[int, typer.Argument(metavar="RUN", min=1, help="The number of a run.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; kept in the admin log.")]

MODES = {"delta": "delta", "incremental": "delta", "backfill": "backfill", "full": "backfill"}
"""What ``--mode`` takes, and the mode that is meant."""


def known_integration(parts: Parts, name: str) -> str:
    """The key of an integration."""
    key = name.strip().lower()
    if key not in parts.registered:
        raise Usage(f"There is no integration {name!r}.", fix=_known(key, parts.registered))
    return key


def known_entities(parts: Parts, key: str, names: Sequence[str]) -> tuple[str, ...]:
    """The entities named, each once; commas may stand between them. Empty when none is named."""
    given = dict.fromkeys(part.strip().lower() for name in names for part in name.split(",") if part.strip())
    known = [entity.name for entity in parts.registered[key].entities]
    for name in given:
        if name not in known:
            raise Usage(f"{parts.registered[key].title} has no entity {name!r}.", fix=_known(name, known))
    return tuple(given)


def known_mode(name: str) -> str:
    """``delta`` or ``backfill``."""
    mode = MODES.get(name.strip().lower())
    if mode is None:
        raise Usage(f"There is no mode {name!r}.", fix=_known(name, MODES))
    return mode


def instant(text: str) -> datetime:
    """A date or ISO timestamp, UTC unless it says otherwise, in the past."""
    try:
        given = datetime.fromisoformat(text.strip())
        when = given.replace(tzinfo=UTC) if given.tzinfo is None else given.astimezone(UTC)
    except (ValueError, OverflowError):
        raise Usage(
            f"--since {text!r} is not a date.", fix="Write 2026-03-31 or 2026-03-31T08:00:00Z (UTC unless it says so)."
        ) from None
    if when > datetime.now(UTC):
        raise Usage(f"--since {text!r} lies in the future.", fix="Give a moment that has passed.")
    return when


def actor() -> str:
    """Who acts, for the admin log."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def _known(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name.lower(), list(known), n=1)
    return (f"Did you mean {close[0]}? " if close else "") + f"Known are: {', '.join(known)}."
