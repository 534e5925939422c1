"""Small files that Keepstep keeps in its home beside the database: secrets made once, and who serves."""

import contextlib
import errno
import fcntl
import os
import secrets
from pathlib import Path

from keepstep.model.errors import BadRequest, StoreError


def made_once(path: Path) -> str:
    """The secret in a file, made on first use with mode 0600. Raises ``StoreError``."""
    try:
        if kept := _read(path):
            return kept
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        made = secrets.token_urlsafe(32)
        draft = path.with_name(f"{path.name}.{os.getpid()}")
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(made + "\n")
        _leave_to_owner(draft)
        with contextlib.suppress(FileExistsError):  # somebody was faster: theirs counts
            os.link(draft, path)
        draft.unlink()
        return _read(path) or made
    except OSError as error:
        raise _unusable(path, error) from None


class Serving:
    """The right to be the one that serves a home, held until closed or until the process ends."""

    def __init__(self, home: Path) -> None:
        """Raises ``BadRequest`` while another process has it, ``StoreError`` where the home cannot be used."""
        path = home / "serving"
        try:
            home.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._file = path.open("a+", encoding="utf-8")
            _leave_to_owner(path)
        except OSError as error:
            raise _unusable(path, error) from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._file.seek(0)
            who = self._file.read().strip() or "another process"
            self._file.close()
            raise BadRequest(
                f"Keepstep already serves {home} ({who}).", fix="Use that one, end it, or set another KEEPSTEP_HOME."
            ) from None

    def announce(self, words: str) -> None:
        """Leave word of who serves, for whoever finds the place taken."""
        self._file.truncate(0)
        self._file.write(words)
        self._file.flush()

    def close(self) -> None:
        """Let others serve."""
        self._file.truncate(0)
        self._file.close()


def _read(path: Path) -> str:
    with contextlib.suppress(FileNotFoundError):
        return path.read_text("ascii", "replace").strip()
    return ""


def _leave_to_owner(path: Path) -> None:
    """Root working in somebody's home leaves that user what belongs in it."""
    if os.geteuid() == 0:
        owner = path.parent.stat()
        os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)


def _unusable(path: Path, error: OSError) -> StoreError:
    if error.errno == errno.ENOSPC:
        return StoreError.named("disk-full", facts={"count": "Nothing is", "path": path.parent})
    facts = {"path": path, "detail": error.strerror or error, "advice": path.parent}
    return StoreError.named("home-unusable", facts=facts)
