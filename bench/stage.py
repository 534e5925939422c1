"""Where the measurements take place: one embedded server, one emulator, and a database for each contender."""

import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg
from psycopg import sql

from bench.child import ROOT
from keepstep.store.embedded import EmbeddedPostgres

TICKS = os.sysconf("SC_CLK_TCK")


class Emulator:
    """An emulated DoorLoop in a process of its own. Close it."""

    def __init__(self, leases: int, seed: int) -> None:
        command = [sys.executable, "-m", "bench.emulator_child", str(leases), str(seed)]
        self._process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().strip()
        if not self.url:
            raise RuntimeError("the emulator did not start")

    def command(self, name: str, **body: Any) -> Any:
        """Give a command (docs/emulator.md)."""
        return self._control("POST", name, json.dumps(body).encode())

    def requests(self) -> dict[str, Any]:
        """Its record of requests since the last reset of the record: counts and bytes."""
        counts: dict[str, Any] = self._control("GET", "state")["requests"]
        return counts

    def _control(self, method: str, name: str, body: bytes | None = None) -> Any:
        address = self.url.removesuffix("/api") + "/_emulator/" + name
        asked = urllib.request.Request(address, data=body, method=method)  # noqa: S310 - our own loopback address
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(asked, timeout=600) as answer:
            return json.loads(answer.read())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)


class Server:
    """The embedded PostgreSQL, with the settings it ships with."""

    def __init__(self, embedded: EmbeddedPostgres) -> None:
        self._directory, _, rest = embedded.dsn.partition("?host=")[2].partition("&port=")
        self.port = rest
        self.version = embedded.server_version
        self._data = embedded.data_directory
        self.database = "postgres"
        self._admin = psycopg.connect(embedded.dsn, autocommit=True)

    def dsn(self, database: str) -> str:
        """The address of a database of this server. Its password is never asked for; dlt insists on one."""
        return f"postgresql://keepstep:unused@localhost:{self.port}/{database}?host={self._directory}"

    def create(self, database: str) -> None:
        """Make an empty database; one of that name is dropped."""
        self.drop(database)
        self._admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(database)))

    def drop(self, database: str) -> None:
        """Drop a database."""
        self._admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(database)))

    def settle(self, database: str) -> None:
        """Do what autovacuum and the checkpointer would do later, so that neither falls into a measurement."""
        self._await_none("datname = %s AND backend_type = 'client backend'", database)
        with psycopg.connect(self.dsn(database), autocommit=True) as connection:
            connection.execute("VACUUM (ANALYZE)")
        self._await_none("backend_type = %s", "autovacuum worker")
        self._admin.execute("CHECKPOINT")

    def _await_none(self, condition: str, value: str) -> None:
        """Wait until no process of the server is so. A session counts its work only as it ends."""
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if not self._admin.execute(f"SELECT FROM pg_stat_activity WHERE {condition}".encode(), [value]).fetchall():
                return
            time.sleep(0.05)

    def wal_position(self) -> int:
        """Bytes of WAL written since the server was made."""
        row = self._admin.execute("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn").fetchone()
        assert row is not None
        return int(row[0])

    def cpu_seconds(self) -> float:
        """CPU time of all processes of the server, ended ones included."""
        postmaster = int((self._data / "postmaster.pid").read_text().splitlines()[0])
        return sum(seconds for pid, parent, seconds in processes() if postmaster in (pid, parent))

    def close(self) -> None:
        """Close the session."""
        self._admin.close()


def processes() -> Iterator[tuple[int, int, float]]:
    """Process id, parent, and CPU seconds (its own and those of its ended children) of all processes."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "stat").read_bytes().rpartition(b")")[2].split()
            except OSError:
                continue
            yield int(entry.name), int(words[1]), sum(map(int, words[11:15])) / TICKS


@contextmanager
def server(home: Path) -> Iterator[Server]:
    """The server of a home, started for the block."""
    with EmbeddedPostgres.open(home) as embedded:
        running = Server(embedded)
        try:
            yield running
        finally:
            running.close()
