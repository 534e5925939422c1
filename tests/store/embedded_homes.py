"""Homes of embedded databases and processes that use them: helpers and fixtures of the tests beside this file.

PYTEST_DONT_REWRITE: the tests import it by name as well.
"""

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import psycopg
import pytest

import keepstep
from keepstep.store import embedded_home
from keepstep.store.embedded import EmbeddedPostgres, binaries
from keepstep.store.embedded_layout import Layout

SOURCES = Path(keepstep.__path__[0]).parent
SITE_PACKAGES = binaries().parents[2]
NOBODY = pwd.getpwnam("nobody").pw_uid
MEMORY = Path("/dev/shm")  # noqa: S108 - each home in it is private
FAST_PLACE = (
    MEMORY if MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > 2**30 and os.access(MEMORY, os.W_OK) else None
)
# The one reason to skip a test here: it is about what root does, and only root can become somebody else and back. CI is
# root. Nothing that is installed would make up for it; all other tests show what an ordinary user does, run by one.
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")

USER_PROGRAM = """
import os, signal, sys
from pathlib import Path
from keepstep.model.errors import StoreError
from keepstep.store.embedded import EmbeddedPostgres

signal.signal(signal.SIGINT, lambda *_: os.write(1, b"interrupted\\n"))
try:
    database = EmbeddedPostgres.open(Path(sys.argv[1]))
except StoreError as error:
    print("refused", error, error.fix, flush=True)
    sys.exit(1)
print(database.dsn, flush=True)
sys.stdin.readline()
database.close()
"""


class User:
    """A process of its own that uses the database of a home until it is told to finish."""

    def __init__(
        self,
        home: Path,
        *,
        python: str = sys.executable,
        uid: int | None = None,
        inherits: int | None = None,
        environment: dict[str, str] | None = None,
    ) -> None:
        self.process = subprocess.Popen(
            [python, "-c", USER_PROGRAM, str(home)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            user=uid,
            group=uid,
            extra_groups=None if uid is None else [],
            pass_fds=[] if inherits is None else [inherits],
            start_new_session=True,
            cwd="/",
            env={"PATH": os.defpath, "PYTHONPATH": f"{SOURCES}:{SITE_PACKAGES}", **(environment or {})},
        )

    def says(self) -> str:
        assert self.process.stdout
        return self.process.stdout.readline().decode().strip()

    def start_to_finish(self) -> None:
        assert self.process.stdin
        self.process.stdin.write(b"\n")
        self.process.stdin.flush()

    def finish(self) -> None:
        self.process.communicate(timeout=60)
        assert self.process.returncode == 0

    def kill(self) -> None:
        self.process.kill()
        self.process.communicate(timeout=60)


def eventually(condition: Callable[[], object], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def processes(home: Path) -> dict[int, str]:
    """Every living process that names the home, or its server, in its command line; not the users."""
    name = layout_of(home).name
    found = {}
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            if entry.name.isdigit() and (name in words or f"{home}/postgres" in words):
                found[int(entry.name)] = words
    return found


def kill_all(home: Path) -> None:
    """The newest first, so that nobody has time to shut down when its parent dies."""
    for pid in sorted(processes(home), reverse=True):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def no_processes(home: Path) -> bool:
    return not processes(home)


def open_files(pid: int) -> set[str]:
    return {str(path.readlink()) for path in Path(f"/proc/{pid}/fd").iterdir()}


def keeper_of(home: Path) -> int:
    return next(pid for pid, words in processes(home).items() if "keepstep.store.keeper" in words)


def server_of(home: Path) -> int:
    return int((home / "postgres/data/postmaster.pid").read_text().splitlines()[0])


def layout_of(home: Path) -> Layout:
    return embedded_home.settle(home)


def ask(dsn: str, query: str) -> object:
    with psycopg.connect(dsn) as connection:
        row = connection.execute(query.encode()).fetchone()
    assert row
    return row[0]


def remember(dsn: str, text: str) -> None:
    with psycopg.connect(dsn) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS memory (text text)")
        connection.execute("INSERT INTO memory VALUES (%s)", [text])


def remembered(dsn: str) -> object:
    return ask(dsn, "SELECT string_agg(text, ' ') FROM memory")


@contextlib.contextmanager
def home_directory(owner: int | None = None) -> Iterator[Path]:
    """A directory with a short path, gone at the end with every process that lives on it."""
    parent = Path(tempfile.mkdtemp(prefix="ks-", dir=FAST_PLACE))
    if owner is not None:
        os.chown(parent, owner, -1)
    try:
        yield parent / "home"
    finally:
        for home in [path.parent for path in parent.rglob("postgres") if path.parent.joinpath("logs").is_dir()]:
            kill_all(home)
            eventually(partial(no_processes, home))
            layout = layout_of(home)
            if embedded_home.shares_sockets_place(layout):
                shutil.rmtree(layout.sockets, ignore_errors=True)
        shutil.rmtree(parent)


@pytest.fixture
def fresh() -> Iterator[Path]:
    with home_directory() as home:
        yield home


@pytest.fixture(scope="session")
def template() -> Iterator[Path]:
    with home_directory() as home:
        EmbeddedPostgres.open(home).close()
        yield home


@pytest.fixture
def used(template: Path, fresh: Path) -> Path:
    """A home whose database exists already and is not running."""
    shutil.copytree(template, fresh)
    return fresh
