"""``keepstep held``: deletions that wait for a person."""

from typing import Annotated

import typer

from keepstep.cli import arguments, render
from keepstep.cli.parts import parts_of
from keepstep.cli.session import ask


def group() -> typer.Typer:
    """The commands of ``held``."""
    app = typer.Typer(name="held", no_args_is_help=True, help="Decide about deletions that wait for a person.")
    app.command("list")(list_)
    app.command()(approve)
    app.command()(discard)
    return app


def list_(
    context: typer.Context,
    all_: Annotated[bool, typer.Option("--all", help="Those that were decided as well.")] = False,
    json: arguments.Json = False,
) -> None:
    """List held deletions, newest first."""
    found = ask(parts_of(context), lambda service: service.views.held(state=None if all_ else "open"))
    if json:
        render.emit(found)
    elif not found:
        render.say("Nothing is held.")
    else:
        render.table(
            [">run", "entity", "state", ">deletions", ">of rows", ">percent", "since", "for example"],
            [[str(h.run_id), f"{h.integration}.{h.entity}", h.state, h.delete_rows, h.live_rows, f"{h.percent:g}",
              h.created_at, ", ".join(h.sample[:3])] for h in found],
        )  # fmt: skip
        if any(decision.state == "open" for decision in found):
            render.say("Decide with: keepstep held approve RUN, or: keepstep held discard RUN --reason WHY")


def approve(
    context: typer.Context,
    run: arguments.RunId,
    reason: arguments.Reason = "",
    json: arguments.Json = False,
) -> None:
    """Carry out the deletions that a run holds."""
    deleted = ask(
        parts_of(context), lambda service: service.commands.approve(run, by=arguments.actor(), reason=reason)
    )  # fmt: skip
    if json:
        render.emit({"runId": run, "action": "approve", "deleted": deleted})
    else:
        render.say(f"{deleted:,} rows are now marked deleted.")


def discard(
    context: typer.Context,
    run: arguments.RunId,
    reason: arguments.Reason,
    json: arguments.Json = False,
) -> None:
    """Keep the rows that a run would have deleted."""
    kept = ask(
        parts_of(context), lambda service: service.commands.discard_held(run, by=arguments.actor(), reason=reason)
    )  # fmt: skip
    if json:
        render.emit({"runId": run, "action": "discard", "entities": kept})
    else:
        render.say(f"The rows of {', '.join(kept)} stay.")
