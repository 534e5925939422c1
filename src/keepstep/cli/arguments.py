"""What several commands take, and how it is read. Every mistake is a ``Usage`` with what to write instead."""

import getpass
from collections.abc import Iterable, Sequence
from datetime import datetime
from difflib import get_close_matches
from typing import Annotated

import typer

from keepstep.cli.exits import Usage
from keepstep.cli.parts import Parts
from keepstep.model.errors import BadRequest
from keepstep.model.schedule import Role

Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of words.")]
IntegrationName = Annotated[str, typer.Argument(metavar="INTEGRATION", help="For example: doorloop.")]
Owner = Annotated[
    str | None,
    typer.Option("--owner", "--agent", metavar="NAME", help="Whose: a user's name, an owner's id, or an agent's code."),
]
RunId = Annotated[int, typer.Argument(metavar="RUN", min=1, help="The number of a run.")]
RoleName = Annotated[str, typer.Option("--role", help="user, viewer, operator or admin.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; kept in the admin log.")]


def known_integration(parts: Parts, name: str) -> str:
    """The key of an integration with one connection for all."""
    key = any_integration(parts, name)
    if key not in parts.registered:
        title = parts.known[key].title
        raise Usage(
            f"{title} has no connection for all: each user has their own.", fix="The page and the API show them."
        )
    return key


def any_integration(parts: Parts, name: str) -> str:
    """The key of an integration."""
    key = name.strip().lower()
    if key not in parts.known:
        raise Usage(f"There is no integration {name!r}.", fix=suggestion(key, parts.known))
    return key


def connection(parts: Parts, name: str, owner: str | None) -> tuple[str, str | None]:
    """The key of an integration, and whose connection is meant; None: that for all."""
    key = any_integration(parts, name)
    if parts.known[key].per_owner and owner is None:
        fix = f"For example: --owner ana. keepstep schedule list has the owners of {key}."
        raise Usage(f"Each user has a connection to {parts.known[key].title} of their own: say whose.", fix=fix)
    return key, owner


def known_entities(parts: Parts, key: str, names: Sequence[str]) -> tuple[str, ...]:
    """The entities named, each once; commas may stand between them. Empty when none is named."""
    given = dict.fromkeys(part.strip().lower() for name in names for part in name.split(",") if part.strip())
    known = [entity.name for entity in parts.known[key].entities]
    for name in given:
        if name not in known:
            raise Usage(f"{parts.known[key].title} has no entity {name!r}.", fix=suggestion(name, known))
    return tuple(given)


def known_mode(name: str) -> str:
    """``delta`` or ``backfill``."""
    from keepstep.service.requests import MODES

    mode = MODES.get(name.strip().lower())
    if mode is None:
        raise Usage(f"There is no mode {name!r}.", fix=suggestion(name, MODES))
    return mode


def known_role(name: str) -> Role:
    """What somebody may do."""
    try:
        return Role(name.strip().lower())
    except ValueError:
        raise Usage(f"There is no role {name!r}.", fix=suggestion(name, Role)) from None


def instant(text: str) -> datetime:
    """A date or ISO timestamp, UTC unless it says otherwise, in the past."""
    from keepstep.service.requests import instant

    try:
        return instant(text, "--since")
    except BadRequest as error:
        raise Usage(error.message, fix=error.fix) from None


def actor() -> str:
    """Who acts, for the admin log."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return "unknown"


def suggestion(name: str, names: Iterable[str]) -> str:
    """What to write instead of a name that nothing has."""
    names = list(names)
    close = get_close_matches(name.lower(), names, n=1)
    return (f"Did you mean {close[0]}? " if close else "") + f"Known are: {', '.join(names) or 'none'}."
