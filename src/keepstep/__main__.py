"""The command ``keepstep``. Only what a command needs is imported, so that ``--help`` is quick."""

import os
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keepstep.app import App


def main() -> None:
    """Do what the command line says and exit with its code."""
    _open_standard_streams()
    for number in (signal.SIGINT, signal.SIGTERM):  # until a command has something to end in order
        signal.signal(number, lambda received, _frame: os._exit(128 + received))
    from keepstep.cli.main import run

    sys.exit(run(_app, sys.argv[1:]))


def _open_standard_streams() -> None:
    """Give a process that was started without stdin, stdout or stderr empty ones.

    Otherwise the next file or socket takes the number, and what is printed goes there; uvloop aborts at its end.
    """
    for number, name, mode in ((0, "stdin", "r"), (1, "stdout", "w"), (2, "stderr", "w")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest free number, which is this one
            os.set_inheritable(number, True)
            setattr(sys, name, open(number, mode, encoding="utf-8", closefd=False))  # noqa: SIM115


def _app() -> "App":
    from keepstep.app import App
    from keepstep.config import Settings

    return App(Settings.load())


if __name__ == "__main__":
    main()
