"""``keepstep schedule``: when integrations are synced by themselves."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from keepstep.cli import arguments, render
from keepstep.cli.exits import Usage
from keepstep.cli.parts import parts_of
from keepstep.cli.session import ask

if TYPE_CHECKING:
    from keepstep.service.schedules import ScheduleView


def group() -> typer.Typer:
    """The commands of ``schedule``."""
    app = typer.Typer(name="schedule", no_args_is_help=True, help="See and change what runs by itself, and when.")
    app.command("list")(list_)
    app.command("set")(set_)
    app.command()(pause)
    app.command()(resume)
    return app


def list_(context: typer.Context, json: arguments.Json = False) -> None:
    """List every schedule with its next runs."""
    found = ask(parts_of(context), lambda service: service.schedules.all())
    if json:
        render.emit(found)
    else:
        _table(found)


def set_(
    context: typer.Context,
    integration: arguments.IntegrationName,
    every: Annotated[int | None, typer.Option("--every", metavar="MINUTES", help="Minutes between two runs.")] = None,
    full_at: Annotated[
        int | None, typer.Option("--full-at", metavar="HOUR", help="Hour (UTC) of the nightly full run.")
    ] = None,
    no_full: Annotated[bool, typer.Option("--no-full", help="No nightly full run.")] = False,
    entities: Annotated[
        str | None, typer.Option("--entities", metavar="NAMES", help="What it reads, with commas between.")
    ] = None,
    json: arguments.Json = False,
) -> None:
    """Change a schedule, at once."""
    parts = parts_of(context)
    key = arguments.known_integration(parts, integration)
    if no_full and full_at is not None:
        raise Usage("--full-at and --no-full contradict each other.", fix="Give one of them.")
    changes: dict[str, Any] = {}
    if every is not None:
        changes["interval_minutes"] = every
    if full_at is not None or no_full:
        changes["full_at_hour_utc"] = full_at
    if entities is not None:
        changes["entities"] = arguments.known_entities(parts, key, [entities])
    if not changes:
        raise Usage("Nothing is to be changed.", fix="Give --every, --full-at, --no-full or --entities.")
    changed = ask(parts, lambda service: service.schedules.set(key, changes, by=arguments.actor()))
    _show(changed, json=json)


def pause(context: typer.Context, integration: arguments.IntegrationName, json: arguments.Json = False) -> None:
    """Let nothing more start by itself. A run under way goes on."""
    parts = parts_of(context)
    key = arguments.known_integration(parts, integration)
    _show(ask(parts, lambda service: service.schedules.pause(key, by=arguments.actor())), json=json)


def resume(context: typer.Context, integration: arguments.IntegrationName, json: arguments.Json = False) -> None:
    """Start by itself again, at once."""
    parts = parts_of(context)
    key = arguments.known_integration(parts, integration)
    _show(ask(parts, lambda service: service.schedules.resume(key, by=arguments.actor())), json=json)


def _show(view: "ScheduleView", *, json: bool) -> None:
    if json:
        render.emit(view)
    else:
        _table([view])


def _table(views: "list[ScheduleView]") -> None:
    render.table(
        ["schedule", "enabled", "every", "full at (UTC)", "entities", "next run", "then"],
        [[_name(v), v.enabled, f"{v.interval_minutes:g} min", _hour(v.full_at_hour_utc), ",".join(v.entities),
          _next(v), ", ".join(f"{render.moment(run.at)} {run.mode}" for run in v.upcoming[1:]) or None] for v in views],
    )  # fmt: skip
    for view in views:
        if view.env_locked:
            render.note(f"Set by environment: {', '.join(view.env_locked)} of {_name(view)}.", style="dim")


def _name(view: "ScheduleView") -> str:
    return ".".join(part for part in (view.integration, view.owner, view.name) if part)


def _hour(hour: int | None) -> str | None:
    return None if hour is None else f"{hour:02}:00"


def _next(view: "ScheduleView") -> str | None:
    if view.idle:
        return "idle: no credentials"
    return f"{render.moment(view.upcoming[0].at)} {view.upcoming[0].mode}" if view.upcoming else None
