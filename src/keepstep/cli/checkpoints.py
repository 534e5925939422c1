"""``keepstep checkpoint``: how far each entity is."""

from typing import TYPE_CHECKING, Annotated

import typer

from keepstep.cli import arguments, render
from keepstep.cli.parts import parts_of
from keepstep.cli.session import ask

if TYPE_CHECKING:
    from keepstep.service.core import Service


def group() -> typer.Typer:
    """The commands of ``checkpoint``."""
    app = typer.Typer(name="checkpoint", no_args_is_help=True, help="See how far each entity is, or begin anew.")
    app.command("list")(list_)
    app.command()(reset)
    return app


def list_(context: typer.Context, json: arguments.Json = False) -> None:
    """List every entity that was ever read, with its unfinished readings."""
    found = ask(parts_of(context), lambda service: service.views.checkpoints())
    if json:
        render.emit(found)
    elif not found:
        render.say("Nothing has been read yet.")
    else:
        render.table(
            ["entity", "watermark", "last backfill", "last delta", "unfinished", "at"],
            [[f"{c.integration}.{c.entity}", c.watermark, c.last_full_at, c.last_delta_at,
              f"{c.mode} of run {c.run_id}" if c.mode else None,
              render.short(", ".join(f"{k} {v}" for k, v in c.cursor.items())) if c.cursor else None] for c in found],
        )  # fmt: skip


def reset(
    context: typer.Context,
    integration: arguments.IntegrationName,
    entities: Annotated[list[str], typer.Argument(metavar="ENTITY...", help="For example: leases.")],
    json: arguments.Json = False,
) -> None:
    """Make the next run of these entities read them from the start."""
    parts = parts_of(context)
    key = arguments.known_integration(parts, integration)
    names = arguments.known_entities(parts, key, entities)

    async def work(service: "Service") -> None:
        for name in names:
            await service.commands.reset_checkpoint(key, name, by=arguments.actor())

    ask(parts, work)
    if json:
        render.emit({"integration": key, "entities": names})
    else:
        render.say(f"The next run reads {', '.join(names)} from the start.")
