"""Who the PostgreSQL server runs as: it refuses to be root, and root is who runs in most containers.

As root there are two ways, tried in this order. A user namespace in which root's id shows as an unprivileged one: the
files stay root's, and parents with mode 0700 are no obstacle. Where namespaces are off (Docker's default), dropping to
``nobody`` with a single capability kept, that of reaching files: so no parent directory has to be opened up, and the
directory above the data can stay root's alone, out of reach of other processes that run as ``nobody``.
Standard library only: see ``embedded_layout``.
"""

import contextlib
import ctypes
import os
import pwd
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

CLONE_NEWUSER = 0x10000000
PR_SET_PDEATHSIG, PR_SET_KEEPCAPS, PR_SET_SECUREBITS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE = 1, 8, 28, 47, 2
SECBIT_NO_SETUID_FIXUP = 4
CAP_DAC_OVERRIDE = 1
LINUX_CAPABILITY_VERSION_3 = 0x20080522

_libc = ctypes.CDLL(None, use_errno=True)


class Itself(NamedTuple):
    """The user that runs Keepstep."""

    owner: int

    def enter(self) -> None:
        """Nothing to change."""

    def __str__(self) -> str:
        return f"user id {self.owner}"


class Namespace(NamedTuple):
    """A user namespace that shows the caller's ids as ``uid`` and ``gid``; on disk they stay the caller's."""

    owner: int
    uid: int
    gid: int

    def enter(self) -> None:
        outside_uid, outside_gid = os.geteuid(), os.getegid()
        _check(_libc.unshare(CLONE_NEWUSER), "unshare")
        for name, text in (
            ("setgroups", "deny"),
            ("uid_map", f"{self.uid} {outside_uid} 1"),
            ("gid_map", f"{self.gid} {outside_gid} 1"),
        ):
            with open(f"/proc/self/{name}", "wb", buffering=0) as file:  # noqa: PTH123
                file.write(text.encode())

    def __str__(self) -> str:
        return "a user namespace"


class Dropped(NamedTuple):
    """Another user; with ``reaches_all`` it keeps the capability to pass directories that are closed to it."""

    owner: int
    gid: int
    reaches_all: bool

    def enter(self) -> None:
        if self.reaches_all:
            _check(_libc.prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0), "prctl")
            # Else access(2), by which PostgreSQL looks at its own files, would leave the capability out of account.
            # Not allowed everywhere; then it takes paths that are open.
            _libc.prctl(PR_SET_SECUREBITS, SECBIT_NO_SETUID_FIXUP, 0, 0, 0)
        os.setgroups([])
        os.setresgid(self.gid, self.gid, self.gid)
        os.setresuid(self.owner, self.owner, self.owner)
        if self.reaches_all:
            # Without the capability (a container may have taken it away) the paths may still be passable.
            with contextlib.suppress(OSError):
                _keep_only(CAP_DAC_OVERRIDE)

    def __str__(self) -> str:
        return f"user id {self.owner} in place of root"


Identity = Itself | Namespace | Dropped


def candidates(home_owner: int, *, namespaces: bool = True) -> Iterator[Identity]:
    """The identities worth trying for a home that belongs to ``home_owner``, best first."""
    caller = os.geteuid()
    inside = _unprivileged_entry()
    if caller != 0:
        if namespaces and inside and not _entry(caller):  # initdb insists on an entry in /etc/passwd
            yield Namespace(caller, inside.pw_uid, inside.pw_gid)
        yield Itself(caller)
        return
    owner = _entry(home_owner)
    if owner and home_owner != 0:  # "sudo keepstep" in somebody's home: what it writes must stay theirs
        yield Dropped(home_owner, owner.pw_gid, reaches_all=False)
        yield Dropped(home_owner, owner.pw_gid, reaches_all=True)
    elif inside:
        if namespaces:
            yield Namespace(0, inside.pw_uid, inside.pw_gid)
        yield Dropped(inside.pw_uid, inside.pw_gid, reaches_all=True)


def start(
    command: list[str],
    identity: Identity,
    *,
    directory: Path,
    text: int | None = None,
    output: int | None = None,
) -> int:
    """Starts a program as that identity; it gets a fast-shutdown signal if this process dies. Returns its id."""
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}  # none of ours: it may hold secrets
    if "LD_LIBRARY_PATH" in os.environ:
        environment["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
    parent = os.getpid()
    pid = os.fork()
    if pid:
        return pid
    try:
        for source, target in ((text, 0), (output, 1), (output, 2)):
            if source is not None:
                os.dup2(source, target)
        for ignored in (signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(ignored, signal.SIG_DFL)
        identity.enter()
        os.chdir(directory)
        _die_with_parent(parent, signal.SIGINT)
        os.execve(command[0], command, environment)  # noqa: S606 - no shell is the point
    except BaseException as error:
        os.write(2, f"{error}\n".encode("utf-8", "replace"))
    finally:
        os._exit(126)


def _die_with_parent(parent: int, with_signal: signal.Signals) -> None:
    """Asks the kernel for a signal when the parent dies, however it dies. Call it last before exec: a change of ids
    clears it."""
    _check(_libc.prctl(PR_SET_PDEATHSIG, int(with_signal), 0, 0, 0), "prctl")
    if os.getppid() != parent:
        os._exit(1)


def _keep_only(capability: int) -> None:
    header = (ctypes.c_uint32 * 2)(LINUX_CAPABILITY_VERSION_3, 0)
    mask = 1 << capability
    sets = (ctypes.c_uint32 * 6)(mask, mask, mask, 0, 0, 0)  # effective, permitted, inheritable; then the high halves
    _check(_libc.capset(header, sets), "capset")
    _check(_libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, capability, 0, 0), "prctl")


def _check(result: int, call: str) -> None:
    if result != 0:
        code = ctypes.get_errno()
        raise OSError(code, f"{call}: {os.strerror(code)}")


def _entry(uid: int) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwuid(uid)
    except KeyError:
        return None


def _unprivileged_entry() -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam("nobody")
    except KeyError:
        return next((entry for entry in pwd.getpwall() if entry.pw_uid != 0), None)
