"""``keepstep run``."""

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from keepstep.cli import agent_runs, arguments, render, report
from keepstep.cli.exits import Usage
from keepstep.cli.parts import Parts, parts_of
from keepstep.cli.progress import display
from keepstep.cli.session import opened
from keepstep.cli.signals import drive
from keepstep.model.errors import BadRequest

if TYPE_CHECKING:
    from keepstep.model.run import RunRequest
    from keepstep.service.core import Service
    from keepstep.service.shapes import RunSummary

DEMO_MARK = "demo"
"""The file in a home that says that its tables hold the demo's invented records."""


def run(
    context: typer.Context,
    integration: arguments.IntegrationName,
    entities: Annotated[
        list[str] | None, typer.Argument(metavar="[ENTITY]...", help="Which entities; SYNC_ENTITIES if none is named.")
    ] = None,
    mode: Annotated[
        str, typer.Option("--mode", metavar="delta|backfill", help="What changed since the last run, or everything.")
    ] = "delta",
    since: Annotated[
        str | None, typer.Option("--since", metavar="DATE", help="Read what changed since then (a delta only).")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write nothing; report what would change.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
    agent: arguments.AgentCode = None,
    json: arguments.Json = False,
) -> None:
    """Bring an integration's tables in step with upstream. What agents have of their own is read of each, in turn."""
    parts = parts_of(context)
    key = arguments.known_integration(parts, integration)
    request = _request(parts, key, entities or [], mode, since, dry_run=dry_run)
    _check_allowed(parts, key, request)
    if parts.registered[key].agents:
        named = bool(arguments.known_entities(parts, key, entities or []))
        raise typer.Exit(agent_runs.perform(parts, key, request, agent, named=named, quiet=quiet, json=json))
    if agent is not None:
        raise Usage(f"{parts.registered[key].title} has no agents.", fix="Leave out --agent.")

    async def work() -> "RunSummary":
        async with opened(parts) as service:
            return await perform(service, key, request, shower(json=json), quiet=quiet)

    raise typer.Exit(report.exit_code(drive(work())))


async def perform(
    service: "Service",
    key: str,
    request: "RunRequest",
    show: "Callable[[RunSummary], None]",
    *,
    quiet: bool = False,
    owner: str | None = None,
) -> "RunSummary":
    """Run to the end and show how it ended, interrupted or not."""
    with display(request.entities, quiet=quiet) as progress:
        try:
            ended = await service.commands.run(key, request, progress.hear, owner=owner)
        except asyncio.CancelledError:
            interrupted = await service.views.run(progress.run_id) if progress.run_id else None
            progress.close()
            if interrupted is not None:
                show(interrupted)
            raise
    show(ended)
    return ended


def shower(*, json: bool) -> "Callable[[RunSummary], None]":
    """How the end of a run is shown."""

    def show_json(ended: "RunSummary") -> None:
        render.emit(ended)
        report.errors(ended)

    return show_json if json else report.show


def _request(
    parts: Parts, key: str, names: Sequence[str], mode: str, since: str | None, *, dry_run: bool
) -> "RunRequest":
    from keepstep.model.integration import Mode
    from keepstep.model.run import RunRequest

    entities = arguments.known_entities(parts, key, names) or parts.default_entities(key)
    if not entities:
        raise BadRequest(
            f"SYNC_ENTITIES names no entity of {parts.registered[key].title}.",
            fix=f"Known are: {', '.join(entity.name for entity in parts.registered[key].entities)}.",
        )
    meant = Mode(arguments.known_mode(mode))
    if since is not None and meant is Mode.BACKFILL:
        raise Usage(
            "--since has no meaning for a backfill, which reads everything.", fix="Leave out --since or --mode."
        )
    start = None if since is None else arguments.instant(since)
    return RunRequest(entities, meant, since=start, dry_run=dry_run, actor=arguments.actor())


def _check_allowed(parts: Parts, key: str, request: "RunRequest") -> None:
    """Refuse what needs no database to be refused."""
    title = parts.registered[key].title
    if request.mode == "backfill" and not parts.allow_backfill:
        raise BadRequest(
            "Full runs by hand are turned off (ALLOW_MANUAL_BACKFILL=false).", fix="Run a delta, or set it to true."
        )
    if parts.embedded and (parts.home / DEMO_MARK).exists() and not parts.on_loopback(key):
        raise BadRequest(
            f"The tables in {parts.home} hold the demo's invented records, not those of your {title}.",
            fix="Choose another place for the real ones: set KEEPSTEP_HOME or DATABASE_URL; or remove that directory.",
        )
