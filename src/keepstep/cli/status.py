"""``keepstep status``: where everything stands, at a glance."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from keepstep.cli import arguments, render
from keepstep.cli.history import listed
from keepstep.cli.parts import parts_of
from keepstep.cli.session import ask

if TYPE_CHECKING:
    from keepstep.service.core import Service
    from keepstep.service.standing import Problem
    from keepstep.service.status import ActiveRun, SchedulerView, Status

_LAST_RUNS = 5
_POOR = 70
_MARKS = {"error": "✗", "warning": "!", "info": "·"}
_STYLES = {"error": "red", "warning": "yellow", "info": "cyan"}


def status(
    context: typer.Context,
    integration: Annotated[
        str | None, typer.Argument(metavar="[INTEGRATION]", help="Which one; doorloop if left out.")
    ] = None,
    json: arguments.Json = False,
) -> None:
    """Show the active run, the last ones, what waits for a person, and how far each entity is."""
    parts = parts_of(context)
    key = arguments.known_integration(parts, integration or next(iter(parts.registered)))
    found = ask(parts, lambda service: _gather(key, service))
    standing: Status = found.pop("status")
    if json:
        render.emit({**standing.model_dump(), **found})
        return
    _problems(standing.problems)
    _active(standing.active_run)
    if found["runs"]:
        listed(found["runs"])
    else:
        render.say("There are no runs yet. Begin with: keepstep run doorloop --mode backfill")
    read = [e for e in standing.entities if e.last_success or e.last_failure]
    if read:
        render.table(
            ["entity", ">rows", "last success", "last failure", "last error"],
            [[e.entity, e.rows, e.last_success, e.last_failure, render.short(e.last_error or "", 70)] for e in read],
        )
    _schedule(standing.scheduler, standing)
    _trouble(standing)


async def _gather(key: str, service: "Service") -> dict[str, Any]:
    return {
        "status": await service.overview.status(key, configured=await service.connectors.is_configured(key)),
        "held": await service.views.held(),
        "runs": await service.views.runs(limit=_LAST_RUNS),
        "checkpoints": await service.views.checkpoints(),
    }


def _problems(problems: "list[Problem]") -> None:
    """What is wrong, before everything else."""
    for problem in problems:
        where = "" if problem.entity is None else f"{problem.entity}: "
        since = "" if problem.since is None else f" (since {render.cell_text(problem.since)})"
        told = problem.message if problem.message.startswith(where) else where + problem.message
        render.say(f"{_MARKS[problem.severity]} {told}{since}", style=_STYLES[problem.severity])
        render.say(f"  For the data: {problem.impact}")
        render.say(f"  Fix: {problem.fix}")
        render.say(f"  See: {problem.docs}", style="dim")
    if problems:
        render.say()


def _active(run: "ActiveRun | None") -> None:
    if run is None:
        render.say("No run is active.")
    elif run.state == "queued":
        render.say(f"Run {run.run_id} ({run.mode}) is queued.", style="cyan")
    elif run.state == "waiting":
        render.say(f"Run {run.run_id} waits until {render.cell_text(run.due_at)}.", style="yellow")
    else:
        of_total = "" if run.total is None else f" of {run.total:,}"
        where = f"{run.entity}, page {run.page or 1}, {run.rows:,}{of_total} rows, {run.rps:,.0f} rows/s"
        render.say(f"Run {run.run_id} ({run.mode}) is active: {where}.", style="cyan")


def _schedule(scheduler: "SchedulerView", standing: "Status") -> None:
    if not scheduler.enabled:
        words = "The schedule is off"
        if standing.integration == "doorloop":
            words += "; turn it on with: keepstep schedule resume doorloop"
        render.say(words, style="dim")
        return
    nightly = "" if scheduler.full_at_hour_utc is None else f", a full run at {scheduler.full_at_hour_utc:02}:00 UTC"
    render.say(
        f"Every {scheduler.interval_minutes:,} min{nightly}; next run {render.cell_text(standing.next_run)}, "
        f"scheduler last seen {render.cell_text(scheduler.last_tick_at)}."
    )


def _trouble(standing: "Status") -> None:
    if standing.dlq.open:
        letters = "1 dead letter is" if standing.dlq.open == 1 else f"{standing.dlq.open:,} dead letters are"
        render.say(f"{letters} open; see: keepstep dlq list", style="yellow")
    if held := standing.held_deletions.open:
        of = "1 entity" if held == 1 else f"{held:,} entities"
        render.say(f"Deletions of {of} wait for you; see: keepstep held list", style="yellow")
    if standing.breaker.state != "closed":
        until = render.cell_text(standing.breaker.reopens_at)
        render.say(f"The breaker is {standing.breaker.state}; the next request may leave at {until}.", style="yellow")
    health = standing.health
    render.say(f"Health {health.score} of 100", style="green" if health.score >= _POOR else "yellow")
    for deduction in health.deductions:
        render.say(f"  -{deduction.points}  {deduction.reason}")
