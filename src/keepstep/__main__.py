"""The command ``keepstep``. Only what a command needs is imported, so that ``--help`` is quick."""

import os
import signal
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from keepstep.app import App


def main() -> None:
    """Do what the command line says and exit with its code."""
    for number in (signal.SIGINT, signal.SIGTERM):  # until a command has something to end in order
        signal.signal(number, lambda received, _frame: os._exit(128 + received))
    from keepstep.cli.main import run

    sys.exit(run(_app, sys.argv[1:]))


def _app() -> "App":
    from keepstep.app import App
    from keepstep.config import Settings

    return App(Settings.load())


if __name__ == "__main__":
    main()
