"""``keepstep status``: where everything stands, at a glance."""

from typing import TYPE_CHECKING, Any

import typer

from keepstep.cli import arguments, render
from keepstep.cli.history import listed
from keepstep.cli.parts import parts_of
from keepstep.cli.session import ask

if TYPE_CHECKING:
    from keepstep.service.core import Service
    from keepstep.service.shapes import CheckpointView, RunSummary

_LAST_RUNS = 5


def status(context: typer.Context, json: arguments.Json = False) -> None:
    """Show the active run, the last ones, what waits for a person, and how far each entity is."""
    found = ask(parts_of(context), _gather)
    if json:
        render.emit(found)
        return
    _active(found["activeRun"])
    if found["runs"]:
        listed(found["runs"])
    else:
        render.say("There are no runs yet. Begin with: keepstep run doorloop --mode backfill")
    if found["entities"]:
        render.table(
            ["entity", "last success", "last failure", "last error"],
            [[e["entity"], e["lastSuccess"], e["lastFailure"], render.short(e["lastError"] or "", 70)]
             for e in found["entities"]],
        )  # fmt: skip
    _waiting(found["dlq"]["open"], len(found["held"]))


async def _gather(service: "Service") -> dict[str, Any]:
    views = service.views
    recent = await views.runs(limit=_LAST_RUNS)
    checkpoints = await views.checkpoints()
    return {
        "activeRun": await _active_run(service, recent),
        "entities": [await _entity(service, name, seen) for name, seen in _by_entity(checkpoints).items()],
        "dlq": {"open": (await views.dead_letters(limit=1)).count},
        "held": await views.held(),
        "runs": recent,
        "checkpoints": checkpoints,
    }


async def _active_run(service: "Service", recent: "list[RunSummary]") -> dict[str, Any] | None:
    """The run under way and how far it is."""
    run = next((run for run in recent if run.result in ("running", "waiting")), None)
    if run is None:
        return None
    last, page = 0, None
    while events := await service.views.events(run.run_id, after=last):
        last = events[-1].id
        page = next((event for event in reversed(events) if event.type == "page"), page)
    entity = next((entity for entity in run.entities if entity.state == "running"), None)
    data = page.data if page else {}
    return {
        "runId": run.run_id, "state": run.result, "mode": run.mode, "dryRun": run.dry_run, "dueAt": run.due_at,
        "entity": entity.entity if entity else None, "page": page.page if page else None,
        "rows": entity.rows if entity else run.rows, "total": data.get("total"), "rps": data.get("rps", 0.0),
        "etaSeconds": data.get("etaSeconds"),
    }  # fmt: skip


def _by_entity(checkpoints: "list[CheckpointView]") -> "dict[str, CheckpointView]":
    return {view.entity: view for view in checkpoints}


async def _entity(service: "Service", name: str, view: "CheckpointView") -> dict[str, Any]:
    failed = await service.views.runs(limit=1, entity=name, result="failed")
    error = next((e.error for e in failed[0].entities if e.entity == name), None) if failed else None
    error = error or (failed[0].error if failed else None)
    ends = [end for end in (view.last_full_at, view.last_delta_at) if end is not None]
    return {
        "entity": name,
        "lastSuccess": max(ends, default=None),
        "lastFailure": failed[0].finished_at if failed else None,
        "lastError": error["message"] if error else None,
    }


def _active(run: dict[str, Any] | None) -> None:
    if run is None:
        render.say("No run is active.")
    elif run["state"] == "waiting":
        render.say(f"Run {run['runId']} waits until {render.cell_text(run['dueAt'])}.", style="yellow")
    else:
        of_total = "" if run["total"] is None else f" of {run['total']:,}"
        where = f"{run['entity']}, page {run['page'] or 1}, {run['rows']:,}{of_total} rows, {run['rps']:,.0f} rows/s"
        render.say(f"Run {run['runId']} ({run['mode']}) is active: {where}.", style="cyan")


def _waiting(letters: int, held: int) -> None:
    if letters:
        render.say(f"{letters:,} dead letters are open; see: keepstep dlq list", style="yellow")
    if held:
        render.say(f"{held:,} held deletions wait for you; see: keepstep held list", style="yellow")
