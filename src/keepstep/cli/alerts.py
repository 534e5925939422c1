"""``keepstep alerts``: what somebody must look at, and whether messages arrive."""

from typing import TYPE_CHECKING, Annotated

import typer

from keepstep.cli import arguments, exits, render
from keepstep.cli.parts import parts_of
from keepstep.cli.session import ask

if TYPE_CHECKING:
    from keepstep.service.alerts import AlertList

_COLOURS = {"critical": "red", "warning": "yellow"}


def group() -> typer.Typer:
    """The commands of ``alerts``."""
    app = typer.Typer(name="alerts", no_args_is_help=True, help="What somebody must look at; test where messages go.")
    app.command("list")(list_)
    app.command()(test)
    return app


def list_(
    context: typer.Context,
    every: Annotated[bool, typer.Option("--all", help="Ended ones too.")] = False,
    json: arguments.Json = False,
) -> None:
    """List open alerts: what happened, since when, what it means, what to do."""
    found = ask(parts_of(context), lambda service: service.alerts.list(state=None if every else "open"))
    if json:
        render.emit(found)
    else:
        _show(found)


def _show(found: "AlertList") -> None:
    for alert in found.items:
        ended = f", over {render.cell_text(alert.ended_at)}" if alert.ended_at else ""
        style = "dim" if alert.ended_at else _COLOURS[alert.severity]
        render.say(f"{alert.title} (since {render.cell_text(alert.since)}{ended})", style=style)
        render.say(f"  {alert.detail}")
        if not alert.ended_at:
            render.say(f"  Means: {alert.impact}")
            render.say(f"  Fix:   {alert.fix}")
    if not found.items:
        render.say("No alert is open.")
    for channel in found.channels:
        if channel.waiting:
            words = f"{channel.waiting:,} messages to {channel.name} have not arrived: {channel.last_failure or ''}"
            render.say(words.rstrip(": ") + ("" if words.endswith(".") else "."), style="yellow")
    for warning in found.webhook.warnings:
        render.note(warning)


def test(context: typer.Context, json: arguments.Json = False) -> None:
    """Send a test message to where alerts go."""
    done = ask(parts_of(context), lambda service: service.alerts.test(by=arguments.actor()))
    if json:
        render.emit(done)
    else:
        render.say(done.message, style="green" if done.delivered else "yellow")
        if done.fix:
            render.say(f"Fix: {done.fix}")
    raise typer.Exit(exits.OK if done.delivered else exits.FAILED)
