"""``keepstep runs``, ``logs`` and ``stop``: what runs did and do."""

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated

import typer

from keepstep.cli import arguments, render, report
from keepstep.cli.parts import parts_of
from keepstep.cli.session import ask
from keepstep.model.errors import BadRequest

if TYPE_CHECKING:
    from keepstep.service.core import Service
    from keepstep.service.shapes import LoggedEvent, RunSummary

_STYLES = {"warning": "yellow", "error": "red"}


def runs(
    context: typer.Context,
    run: Annotated[int | None, typer.Argument(metavar="[RUN]", min=1, help="Show this one in full.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="How many.")] = 20,
    entity: Annotated[str | None, typer.Option("--entity", help="Only runs of this entity.")] = None,
    result: Annotated[str | None, typer.Option("--result", help="Only runs that ended so, e.g. failed.")] = None,
    before: Annotated[int | None, typer.Option("--before", metavar="RUN", help="Only runs older than this.")] = None,
    json: arguments.Json = False,
) -> None:
    """List the runs, newest first, or show one in full."""
    parts = parts_of(context)
    if run is not None:
        if json:
            render.emit(ask(parts, lambda service: service.views.run_detail(run)))
        else:
            report.show(ask(parts, lambda service: service.views.run(run)))
        return
    found = ask(parts, lambda service: service.views.runs(limit=limit, entity=entity, result=result, before=before))
    if json:
        render.emit(found)
    elif not found:
        render.say("There are no runs yet. Begin with: keepstep run doorloop --mode backfill")
    else:
        listed(found)


def listed(found: "list[RunSummary]") -> None:
    """A line for each run."""
    render.table(
        [">run", "started", "mode", "result", "entities", ">rows", ">inserted", ">updated", ">unchanged", ">deleted",
         ">dead-lettered", ">took"],
        [
            [str(r.run_id), r.started_at, f"{r.mode}, dry" if r.dry_run else r.mode, r.result, r.entity, r.rows,
             r.inserted, r.updated, r.unchanged, r.deleted, r.dead_lettered, render.duration(r.duration_ms)]
            for r in found
        ],
    )  # fmt: skip


def stop(
    context: typer.Context,
    integration: Annotated[
        str | None, typer.Argument(metavar="[INTEGRATION]", help="Whose run; every integration's if none is named.")
    ] = None,
    json: arguments.Json = False,
) -> None:
    """Stop the active run. What is committed stays; the next run goes on from there."""
    parts = parts_of(context)
    keys = [arguments.known_integration(parts, integration)] if integration else list(parts.registered)

    async def work(service: "Service") -> list[int]:
        ended = [await service.commands.stop(key) for key in keys]
        of_agents = await service.agents.stop() if any(parts.registered[key].agents for key in keys) else []
        return [*(run for run in ended if run is not None), *of_agents]

    ended = ask(parts, work)
    if json:
        render.emit({"stopped": bool(ended), "runId": ended[0] if ended else None})
    elif not ended:
        render.say("No run is active.")
    else:
        for run in ended:
            render.say(f"Run {run} is stopped; the next one goes on from there.")


def logs(
    context: typer.Context,
    run: Annotated[
        int | None, typer.Argument(metavar="[RUN]", min=1, help="Which run; the newest if left out.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on until the run ends.")] = False,
    json: arguments.Json = False,
) -> None:
    """Print what happened in a run. With --follow and --json: one JSON document a line."""

    def show(event: "LoggedEvent") -> None:
        render.emit(event, one_line=True) if json else _print(event)

    async def work(service: "Service") -> "list[LoggedEvent]":
        from keepstep.service import following

        run_id = (await service.views.run(run) if run is not None else await _newest(service)).run_id
        events = following.follow(service.database, service.views, run_id) if follow else _past(service, run_id)
        kept: list[LoggedEvent] = []
        async for event in events:
            kept.append(event) if json and not follow else show(event)
        return kept

    kept = ask(parts_of(context), work)
    if json and not follow:
        render.emit(kept)


async def _newest(service: "Service") -> "RunSummary":
    newest = await service.views.runs(limit=1)
    if not newest:
        raise BadRequest("There are no runs yet.", fix="Begin with: keepstep run doorloop --mode backfill")
    return newest[0]


async def _past(service: "Service", run_id: int) -> "AsyncIterator[LoggedEvent]":
    """A run's events so far, in order."""
    last = 0
    while events := await service.views.events(run_id, after=last):
        last = events[-1].id
        for event in events:
            yield event


def _print(event: "LoggedEvent") -> None:
    render.say(f"{render.moment(event.ts)}  {event.msg}", style=_STYLES.get(event.level, ""))
