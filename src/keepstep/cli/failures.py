"""Every way a command can fail, as one or two lines with what to do; never a traceback on the terminal."""

import os
import sys
import traceback
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import typer

from keepstep.cli import exits, render
from keepstep.cli.parts import MakeParts
from keepstep.model.errors import KeepstepError
from keepstep.reliability.masking import masked_text


def report(error: KeepstepError, *, json: bool) -> int:
    """Say what is wrong on stderr, with ``--json`` also as a problem document on stdout; gives the exit code."""
    if json:
        from keepstep.service.problems import problem

        render.emit(problem(error))
    render.complain(error.message, error.fix)
    return exits.USAGE if isinstance(error, exits.Usage) else exits.FAILED


def misuse(error: typer.TyperException) -> exits.Usage:
    """What the option parser found, in our words."""
    context = getattr(error, "ctx", None)
    command = context.command_path if context is not None else "keepstep"
    message = error.format_message().strip().replace("Value error, ", "")
    if command.endswith(" emulate") and message.startswith("No such command"):
        message = message.replace("No such command", "There is no emulator")
    return exits.Usage(message if message.endswith((".", "?", ")")) else f"{message}.", fix=f"See: {command} --help")


def unexpected(error: BaseException, make_parts: MakeParts, arguments: Sequence[str]) -> KeepstepError:
    """One line about a fault of ours, and where the rest of it was written."""
    name = f"{type(error).__name__}: {error}".splitlines()[0]
    try:
        parts = make_parts()
        log, secrets = parts.home / "logs" / "errors.log", parts.secrets
    except Exception:
        return KeepstepError(f"Keepstep met an unexpected error ({type(error).__name__}) before it could start.")
    details = "".join(traceback.format_exception(error))
    written = f"{datetime.now(UTC).isoformat()} keepstep {' '.join(arguments)}\n{details}\n"
    try:
        _append(log, masked_text(written, secrets))
    except OSError as failed:
        where = f"The details could not be written to {log} ({failed.strerror})."
    else:
        where = f"Please report it with the details in {log}."
    return KeepstepError(
        f"Keepstep met an unexpected error: {render.short(masked_text(name, secrets), 200).rstrip('.')}.", fix=where
    )


def silence_stdout() -> None:
    """Whoever read the answer has gone: let nothing be written at exit either."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _append(log: Path, text: str) -> None:
    log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "a", encoding="utf-8", errors="backslashreplace") as file:
        file.write(text)
