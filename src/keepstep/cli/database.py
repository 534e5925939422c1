"""``keepstep migrate`` and ``db``: the database in use."""

import asyncio
import os
import signal
import subprocess
from typing import TYPE_CHECKING, Annotated

import typer

from keepstep.cli import arguments, render
from keepstep.cli.parts import parts_of
from keepstep.cli.session import ask

if TYPE_CHECKING:
    from keepstep.service.core import Service
    from keepstep.store.migrate import Migration


def group() -> typer.Typer:
    """The commands of ``db``."""
    app = typer.Typer(name="db", no_args_is_help=True, help="Get at the database itself.")
    app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})(psql)
    app.command()(url)
    return app


def migrate(context: typer.Context, json: arguments.Json = False) -> None:
    """Bring Keepstep's own tables up to date. Every other command does so too."""
    applied = ask(parts_of(context), _migrate, migrated=False)
    if json:
        render.emit({"applied": [{"version": step.version, "name": step.name} for step in applied]})
    elif not applied:
        render.say("The tables are up to date.")
    for step in applied if not json else []:
        render.say(f"Applied {step.version:04} {step.name}.")


async def _migrate(service: "Service") -> "list[Migration]":
    from keepstep.store.migrate import migrate

    async with service.database.connection() as connection:
        return await migrate(connection)


def psql(
    context: typer.Context,
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[ARGS]...", help="Handed to psql, e.g. -c 'select 1'.")
    ] = None,
) -> None:
    """Open psql on the database in use."""
    handed = [*(words or []), *context.args]
    raise typer.Exit(ask(parts_of(context), lambda service: _psql(service, handed)))


async def _psql(service: "Service", words: list[str]) -> int:
    """Run psql in the foreground; gives its exit code. The password is in its environment, not where ``ps`` looks."""
    from keepstep.store.psql import environment, program

    child = subprocess.Popen([program(), *words], env={**os.environ, **environment(service.dsn)})  # noqa: S603, ASYNC220
    # Ctrl-C is for psql, which cancels its query with it.
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, lambda: None)
    try:
        return await asyncio.to_thread(child.wait)
    finally:
        child.terminate()
        child.wait()


def url(context: typer.Context, json: arguments.Json = False) -> None:
    """Print the address of the database in use, without its password."""
    parts = parts_of(context)
    address = ask(parts, _address, migrated=False)
    if json:
        render.emit({"url": address, "embedded": parts.embedded})
        return
    render.say(address)
    if parts.embedded:
        render.note("It answers while a Keepstep runs on this home, for example: keepstep up", style="dim")


async def _address(service: "Service") -> str:
    from keepstep.store.psql import without_password

    return without_password(service.dsn)
