"""The command line: every command in its place, and what becomes of those that fail."""

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from keepstep.cli import (
    agents,
    alerts,
    checkpoints,
    database,
    dead_letters,
    demo,
    diagnosis,
    emulate,
    exits,
    failures,
    held,
    history,
    probes,
    schedules,
    schema,
    settings,
    status,
    sync,
    tokens,
    up,
    users,
)
from keepstep.cli.parts import MakeParts, made_at_most_once
from keepstep.model.errors import KeepstepError


def run(make_parts: MakeParts, arguments: Sequence[str]) -> int:
    """Do what the arguments say; gives the exit code. Nothing is printed as a traceback."""
    make_parts = made_at_most_once(make_parts)
    json = "--json" in arguments
    for output in (sys.stdout, sys.stderr):
        output.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    try:
        code = _invoke(make_parts, arguments, json=json)
        sys.stdout.flush()
    except BrokenPipeError:
        failures.silence_stdout()
        return exits.BROKEN_PIPE
    return code


def _invoke(make_parts: MakeParts, arguments: Sequence[str], *, json: bool) -> int:
    try:
        code = build()(list(arguments), prog_name="keepstep", standalone_mode=False, obj=make_parts)
        return code if isinstance(code, int) else exits.OK
    except exits.Interrupted as interrupted:
        return interrupted.exit_code
    except KeyboardInterrupt:
        return exits.Interrupted(2).exit_code
    except KeepstepError as error:
        return failures.report(error, json=json)
    except typer.TyperException as error:
        if not error.format_message():  # a group without a command has printed its help
            return exits.USAGE
        return failures.report(failures.misuse(error), json=json)
    except typer.Abort:
        return exits.FAILED
    except BrokenPipeError:
        raise
    except Exception as error:
        return failures.report(failures.unexpected(error, make_parts, arguments), json=json)


def build() -> typer.Typer:
    """The commands. Each finds the parts it works with in its context."""
    app = typer.Typer(
        name="keepstep", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )  # fmt: skip
    app.callback()(_keepstep)
    for panel, commands in {
        "Start": (up.up, up.web, up.worker, demo.demo, emulate.group()),
        "Sync": (sync.run, history.stop, status.status, history.runs, history.logs, schedules.group(), agents.group()),
        "Decide": (dead_letters.group(), held.group(), checkpoints.group()),
        "Look after": (
            alerts.group(), diagnosis.doctor, probes.ping, probes.check, schema.group(), settings.group(),
            tokens.group(), users.group(), database.migrate, database.group(),
        ),
    }.items():  # fmt: skip
        for command in commands:
            if isinstance(command, typer.Typer):
                app.add_typer(command, rich_help_panel=panel)
            else:
                app.command(rich_help_panel=panel)(command)
    return app


def _show_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        sys.stdout.write(f"keepstep {version('keepstep')}\n")
        raise typer.Exit


def _keepstep(
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_show_version)
    ] = False,
) -> None:
    """Keepstep keeps PostgreSQL tables in step with the SaaS systems a company lives on."""
