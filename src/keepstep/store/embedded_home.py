"""What the first and every later user does to a home before it meets the keeper: directories, socket path, lock."""

import contextlib
import fcntl
import hashlib
import os
import pwd
import shutil
import stat
import tempfile
from pathlib import Path

from keepstep.store.embedded_layout import PORT, Layout, Unusable

SOCKET_PATH_LIMIT = 107
"""Bytes; struct sockaddr_un leaves no more."""


def settle(home: Path) -> Layout:
    """Creates what is missing of a home and says where its files are. Raises Unusable."""
    home = _resolved(home)
    name = "keepstep-" + hashlib.sha256(os.fsencode(home)).hexdigest()[:12]
    layout = Layout(home, Path(), name)
    for directory in (layout.home, layout.postgres, layout.log.parent):
        _make(directory, home)
    if not os.access(layout.postgres, os.W_OK | os.X_OK):
        raise _unwritable(layout.postgres, home)
    return layout._replace(sockets=_sockets(layout))


def lock(layout: Layout) -> int | None:
    """The right to run a server for this home, as an open file that holds the lock; None when somebody has it."""
    try:
        fd = os.open(layout.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except PermissionError:
        raise _unwritable(layout.lock, layout.home) from None
    _give_to_owner(layout.lock, layout.home)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    except OSError as error:
        os.close(fd)
        raise Unusable(
            f"The file system of {layout.home} cannot lock files ({error.strerror}).",
            "Set KEEPSTEP_HOME to a directory on a local disk.",
        ) from None
    return fd


def lock_holder(layout: Layout) -> str:
    """Words for whoever holds the lock, with the process id that it left."""
    with contextlib.suppress(OSError):
        pid = layout.lock.read_text("utf-8", "replace").strip()
        if pid.isdigit() and Path(f"/proc/{pid}").exists():
            return f"process {pid}"
    return "another process"


def open_log(layout: Layout) -> int:
    fd = os.open(layout.log, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    _give_to_owner(layout.log, layout.home)
    return fd


def make_sockets_directory(layout: Layout) -> None:
    """A fresh, private directory for the sockets; the caller holds the lock, so whatever is in it is stale."""
    directory = layout.sockets
    if not shares_sockets_place(layout):
        if directory.is_symlink() or not directory.is_dir():
            directory.unlink(missing_ok=True)
        else:
            shutil.rmtree(directory)
    if directory.is_symlink() or directory.exists():
        check_sockets_directory(layout)
        for leftover in directory.iterdir():
            leftover.unlink()
    else:
        directory.mkdir(mode=0o700)
        directory.chmod(0o700)
        _give_to_owner(directory, layout.home)


def shares_sockets_place(layout: Layout) -> bool:
    """Whether the sockets' directory lies where other users could make one too, because the home's path is long."""
    return layout.sockets.parent != layout.postgres


def check_sockets_directory(layout: Layout) -> None:
    """Raises Unusable for a directory that another user could have prepared: it might not be our database inside."""
    found = layout.sockets.lstat()
    if stat.S_ISDIR(found.st_mode) and found.st_uid == _owner(layout.home) and not found.st_mode & 0o077:
        return
    raise Unusable(
        f"{layout.sockets}, where the database socket belongs, is not a private directory of user id "
        f"{_owner(layout.home)}: it belongs to user id {found.st_uid} and has mode {stat.S_IMODE(found.st_mode):04o}.",
        f"Remove {layout.sockets}, or set KEEPSTEP_HOME to a shorter path (the socket then lies inside it).",
    )


def _sockets(layout: Layout) -> Path:
    inside = layout.postgres / "run"
    # A comma would read as a list of hosts in a connection string.
    if len(os.fsencode(inside / f".s.PGSQL.{PORT}")) <= SOCKET_PATH_LIMIT and "," not in str(inside):
        return inside
    # Not TMPDIR: it differs between users of the same home, who would then miss each other.
    shared = Path("/tmp")  # noqa: S108 - the directory in it is private and verified
    base = shared if shared.is_dir() else Path(tempfile.gettempdir())
    return base / f"{layout.name}-{_owner(layout.home)}"


def _resolved(home: Path) -> Path:
    try:
        resolved = home.expanduser().resolve()
    except (OSError, RuntimeError) as error:
        raise Unusable(f"KEEPSTEP_HOME {home} cannot be found: {error}.", "Set it to an ordinary directory.") from None
    if any(ord(character) < 32 for character in str(resolved)):
        raise Unusable(
            f"KEEPSTEP_HOME {str(home)!r} contains a line break or another control character.",
            "Set it to a directory with an ordinary name.",
        )
    return resolved


def _make(directory: Path, home: Path) -> None:
    try:
        if directory == home:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            return
        directory.mkdir(mode=0o700, exist_ok=True)
        _give_to_owner(directory, home)
        if directory.stat().st_mode & 0o077 and os.access(directory, os.W_OK):
            directory.chmod(0o700)
    except (FileExistsError, NotADirectoryError):
        raise Unusable(
            f"{directory} is needed as a directory, but a file is in the way.",
            "Move the file away, or set KEEPSTEP_HOME to another directory.",
        ) from None
    except PermissionError:
        raise _unwritable(directory, home) from None
    except OSError as error:
        raise Unusable(
            f"{directory} cannot be created: {error.strerror}.",
            "Set KEEPSTEP_HOME to a directory on a disk that can be written and has space.",
        ) from None


def _unwritable(path: Path, home: Path) -> Unusable:
    with contextlib.suppress(OSError):
        if os.statvfs(path.parent).f_flag & os.ST_RDONLY:
            return Unusable(
                f"{path} lies on a read-only file system.", "Set KEEPSTEP_HOME to a directory that can be written."
            )
    return Unusable(
        f"User id {os.geteuid()} may not write {path}.",
        f"Give that user the directory {home}, or set KEEPSTEP_HOME to one that it owns.",
    )


def _owner(home: Path) -> int:
    """Whose the files are to be. Root working in the home of a known user leaves them to that user."""
    if os.geteuid() != 0:
        return os.geteuid()
    owner = home.stat().st_uid
    try:
        return pwd.getpwuid(owner).pw_uid
    except KeyError:
        return 0


def _give_to_owner(path: Path, home: Path) -> None:
    owner = _owner(home)
    if os.geteuid() == 0 and path.lstat().st_uid != owner:
        os.chown(path, owner, -1, follow_symlinks=False)
