"""``keepstep doctor``: is everything as it should be, and what to do where it is not."""

from typing import TYPE_CHECKING

import typer

from keepstep.cli import arguments, exits, render
from keepstep.cli.parts import Parts, parts_of
from keepstep.cli.session import opened
from keepstep.cli.signals import drive
from keepstep.model.errors import KeepstepError

if TYPE_CHECKING:
    from keepstep.service.doctor import Finding

_MARKS = {"ok": "✓", "warning": "!", "failed": "✗"}


def doctor(context: typer.Context, json: arguments.Json = False) -> None:
    """Look at everything that a run needs, and say what to do where something is amiss."""
    from keepstep.service.doctor import diagnosis

    found = diagnosis(drive(_examine(parts_of(context))))
    if json:
        render.emit(found)
    else:
        _show(found.checks)
    raise typer.Exit(exits.OK if found.ok else exits.FAILED)


async def _examine(parts: Parts) -> "list[Finding]":
    from keepstep.service import checkup, doctor

    found = checkup.look_around(parts.home, parts.setup().warnings)
    seen: set[str] = set()
    try:
        async with opened(parts, migrated=False) as service:
            looked = await checkup.look_at_database(service)
            found += looked
            if all(finding.state == "ok" for finding in looked if finding.name in ("database", "migrations")):
                for key in parts.registered:
                    if await service.connectors.is_configured(key):
                        seen.add(key)
                        async with service.connectors.lent(key) as (integration, _):
                            found += await checkup.look_at_upstream(integration, _asked(parts, key))
    except KeepstepError as error:
        found.append(doctor.failure("database", error))
    for key in parts.registered:
        if key not in seen and parts.configured(key):
            integration = parts.connector(key)
            try:
                found += await checkup.look_at_upstream(integration, _asked(parts, key))
            finally:
                await integration.aclose()
    return found


def _asked(parts: Parts, key: str) -> tuple[str, ...]:
    """What is asked for: what belongs to owners is theirs."""
    owned = {entity.name for entity in parts.registered[key].entities if entity.owned}
    return tuple(name for name in parts.default_entities(key) if name not in owned)


def _show(found: "list[Finding]") -> None:
    width = max(len(finding.name) for finding in found)
    for finding in found:
        style = render.COLOURS[finding.state]
        render.say(f"{_MARKS[finding.state]} {finding.name:<{width}}  {finding.message}", style=style)
        if finding.state != "ok" and finding.impact:
            render.say(f"  {'':<{width}}  For the data: {finding.impact}")
        if finding.fix:
            render.say(f"  {'':<{width}}  Fix: {finding.fix}")
        if finding.state != "ok" and finding.docs:
            render.say(f"  {'':<{width}}  See: {finding.docs}", style="dim")
    bad = sum(finding.state == "failed" for finding in found)
    doubtful = sum(finding.state == "warning" for finding in found)
    render.say()
    render.say(f"{bad} failed, {doubtful} to look at." if bad or doubtful else "All is well.")
