"""How a command ends: its exit code, and the errors that only the command line knows."""

from keepstep.model.errors import KeepstepError

OK = 0
FAILED = 1
USAGE = 2
NEEDS_A_PERSON = 3
"""It finished, but something is held or dead-lettered."""
BROKEN_PIPE = 141


class Usage(KeepstepError):
    """The command was called wrongly."""

    code = "usage"


class Interrupted(BaseException):
    """A signal ended the command, after it put everything in order."""

    def __init__(self, signal: int) -> None:
        super().__init__(signal)
        self.exit_code = 128 + signal
