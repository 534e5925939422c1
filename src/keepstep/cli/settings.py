"""``keepstep config``."""

import typer

from keepstep.cli import arguments, render
from keepstep.cli.parts import parts_of


def group() -> typer.Typer:
    """The commands of ``config``."""
    app = typer.Typer(name="config", no_args_is_help=True, help="See the settings.")
    app.command("show")(show)
    return app


def show(context: typer.Context, json: arguments.Json = False) -> None:
    """Show every setting, where it comes from, and what is wrong with it. Secrets are masked."""
    setup = parts_of(context).setup()
    if json:
        render.emit(setup)
        return
    render.table(["setting", "value", "from"], [[line.variable, line.value, line.source] for line in setup.settings])
    for advice in setup.warnings:
        render.say(advice.message, style="yellow")
        render.say(f"  Fix: {advice.fix}")
    if not setup.warnings:
        render.say("Nothing is wrong with them.")
