"""``keepstep checkpoint``: how far each entity is."""

from typing import TYPE_CHECKING, Annotated

import typer

from keepstep.cli import arguments, render
from keepstep.cli.exits import Usage
from keepstep.cli.parts import parts_of
from keepstep.cli.session import ask

if TYPE_CHECKING:
    from keepstep.service.core import Service
    from keepstep.service.shapes import CheckpointView


def group() -> typer.Typer:
    """The commands of ``checkpoint``."""
    app = typer.Typer(name="checkpoint", no_args_is_help=True, help="See how far each entity is, or begin anew.")
    app.command("list")(list_)
    app.command()(reset)
    return app


def list_(context: typer.Context, owner: arguments.Owner = None, json: arguments.Json = False) -> None:
    """List every entity that was ever read, with its unfinished readings: what all share, or one owner has."""

    async def work(service: "Service") -> "list[CheckpointView]":
        whose = None if owner is None else await service.owners.named(owner)
        return await service.views.checkpoints(whose)

    found = ask(parts_of(context), work)
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
    owner: arguments.Owner = None,
    json: arguments.Json = False,
) -> None:
    """Make the next run of these entities read them from the start."""
    parts = parts_of(context)
    key, owner = arguments.connection(parts, integration, owner)
    if owner is not None and not (parts.known[key].per_owner or parts.known[key].agents):
        raise Usage(f"{parts.known[key].title} has one connection for all.", fix="Leave out --owner.")
    names = arguments.known_entities(parts, key, entities)

    async def work(service: "Service") -> None:
        whose = None if owner is None else await service.owners.connected(key, owner)
        for name in names:
            await service.commands.reset_checkpoint(key, name, owner=whose, by=arguments.actor())

    ask(parts, work)
    if json:
        render.emit({"integration": key, "entities": names, **({} if owner is None else {"owner": owner})})
    else:
        render.say(f"The next run{f' of {owner}' if owner else ''} reads {', '.join(names)} from the start.")
