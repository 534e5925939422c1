"""One embedded PostgreSQL for a whole test session, and databases that are copies of a migrated one."""

import asyncio
import contextlib
import itertools
import os
import shutil
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg

from keepstep.store.db import Database
from keepstep.store.embedded import EmbeddedPostgres
from keepstep.store.migrate import migrate

TEMPLATE = "migrated"
MEMORY = Path("/dev/shm")  # noqa: S108 - a server without a disk starts and copies databases faster
NEEDED = 2 << 30


def fast_place() -> Path | None:
    """Where a data directory costs no disk, or None where there is no such place with room."""
    roomy = MEMORY.is_dir() and os.access(MEMORY, os.W_OK) and shutil.disk_usage(MEMORY).free > NEEDED
    return MEMORY if roomy else None


def eventually(condition: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait until something is so; fail when it never is."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


class TestServer:
    """The server, and the databases on it."""

    __test__ = False

    def __init__(self, postgres: EmbeddedPostgres) -> None:
        self._postgres = postgres
        self._numbers = itertools.count(1)
        self.create(TEMPLATE, template="template0")
        asyncio.run(_migrate(self.dsn(TEMPLATE)))

    def dsn(self, database: str) -> str:
        """How to get to a database."""
        return urlunsplit(urlsplit(self._postgres.dsn)._replace(path=f"/{database}"))

    def create(self, name: str, *, template: str = TEMPLATE) -> None:
        """Make a database."""
        self._run(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY file_copy')

    @contextlib.contextmanager
    def database(self, *, template: str = TEMPLATE) -> Iterator[str]:
        """The DSN of a fresh database that is gone afterwards."""
        name = f"test_{next(self._numbers)}"
        self.create(name, template=template)
        try:
            yield self.dsn(name)
        finally:
            self._run(f'DROP DATABASE "{name}" WITH (FORCE)')

    def kill(self) -> None:
        """kill -9 of the server; its keeper starts it again."""
        pid = int((self._postgres.data_directory / "postmaster.pid").read_text().split()[0])
        os.kill(_outside(pid, self._postgres.data_directory), signal.SIGKILL)

    def await_answer(self) -> None:
        """Wait until the server takes connections."""

        def answers() -> bool:
            with contextlib.suppress(psycopg.OperationalError), psycopg.connect(self._postgres.dsn):
                return True
            return False

        eventually(answers)

    def _run(self, statement: str) -> None:
        with psycopg.connect(self._postgres.dsn, autocommit=True) as connection:
            connection.execute(statement.encode())


def _outside(pid: int, data: Path) -> int:
    """The server's pid as this process sees it: in a namespace of its own it may know itself by another one."""
    wanted = str(data).encode()
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if wanted in words and words[0].endswith(b"postgres"):
                return int(entry.name)
    return pid


async def _migrate(dsn: str) -> None:
    async with Database(dsn).connection() as connection:
        await migrate(connection)
