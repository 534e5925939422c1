"""Servers that refuse to run as root, for the length of a test: a pgbouncer, and a PostgreSQL with pg_cron."""

import contextlib
import os
import shutil
import signal
import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
from tools.system_parts import needed

from keepstep.store import embedded_identity as identities
from keepstep.store.embedded import NO_NAMESPACES
from keepstep.store.embedded_identity import Identity
from tests.support.server import eventually, fast_place

POOLER = """\
[databases]
* = host={sockets} port={port} user={user}
[pgbouncer]
listen_addr =
listen_port = 6432
unix_socket_dir = {place}
auth_type = any
pool_mode = {mode}
default_pool_size = {size}
admin_users = keepstep
ignore_startup_parameters = extra_float_digits
"""


class Ordinary:
    """A directory that belongs to a user who is not root, and programs that run as that user while the block lasts."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self._running: list[tuple[int, signal.Signals]] = []
        self._identity = self._choose()

    def _choose(self) -> Identity:
        """The first identity that this machine lets us take."""
        for identity in identities.candidates(os.geteuid(), namespaces=os.environ.get(NO_NAMESPACES, "") in ("", "0")):
            os.chown(self.place, identity.owner, -1)
            if self._end_of(identities.start([shutil.which("true") or "/bin/true"], identity, directory=self.place)):
                continue
            return identity
        raise AssertionError("nobody whom a server may run as")

    def run(self, *command: str | Path) -> None:
        """To its end, which must be a good one."""
        with self._log() as log:
            code = self._end_of(
                identities.start([*map(str, command)], self._identity, directory=self.place, output=log)
            )
        assert code == 0, self.said

    def start(self, *command: str | Path, ends_on: signal.Signals) -> None:
        """Until the block ends, or this process does."""
        with self._log() as log:
            pid = identities.start([*map(str, command)], self._identity, directory=self.place, output=log)
        self._running.append((pid, ends_on))

    def write(self, name: str, text: str) -> Path:
        """A file that the programs can read."""
        path = self.place / name
        path.write_text(text)
        os.chown(path, self._identity.owner, -1)
        return path

    @property
    def said(self) -> str:
        """What the programs have written."""
        return (self.place / "log").read_text()

    def end(self) -> None:
        """End what runs."""
        for pid, number in self._running:
            os.kill(pid, number)
            self._end_of(pid)

    @contextlib.contextmanager
    def _log(self) -> Iterator[int]:
        descriptor = os.open(self.place / "log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        try:
            yield descriptor
        finally:
            os.close(descriptor)

    @staticmethod
    def _end_of(pid: int) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


@contextlib.contextmanager
def ordinary() -> Iterator[Ordinary]:
    """A place for programs, gone afterwards."""
    place = Path(tempfile.mkdtemp(prefix="ks-", dir=fast_place()))
    try:
        user = Ordinary(place)
        try:
            yield user
        finally:
            user.end()
    finally:
        shutil.rmtree(place, ignore_errors=True)


@contextlib.contextmanager
def pooled(dsn: str, *, mode: str = "transaction", size: int = 3) -> Iterator[str]:
    """The way to a database through a pgbouncer of its own. Only who may enter its directory gets at it."""
    to = psycopg.conninfo.conninfo_to_dict(dsn)
    with ordinary() as user:
        settings = POOLER.format(
            sockets=to["host"], port=to["port"], user=to["user"], place=user.place, mode=mode, size=size
        )
        user.start(needed("pgbouncer"), user.write("pgbouncer.ini", settings), ends_on=signal.SIGTERM)
        eventually(lambda: _listens(user.place / ".s.PGSQL.6432"))
        yield f"postgresql://{to['user']}@/{to['dbname']}?host={user.place}&port=6432"


def _listens(place: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        return client.connect_ex(str(place)) == 0


@contextlib.contextmanager
def cluster(**settings: str) -> Iterator[str]:
    """A PostgreSQL of the machine, the one with pg_cron, with these settings; gives the way to its empty database.

    ``{sockets}`` in a setting stands for the directory of its socket.
    """
    with ordinary() as user:
        data = user.place / "data"
        user.run(
            needed("initdb"), f"--pgdata={data}", "--username=keepstep", "--auth=trust", "--encoding=UTF8",
            "--locale=C", "--no-sync",
        )  # fmt: skip
        given = {"listen_addresses": "", "unix_socket_directories": str(user.place), "fsync": "off", **settings}
        options = [
            word for name, value in given.items() for word in ("-c", f"{name}={value.format(sockets=user.place)}")
        ]
        user.start(needed("postgres"), "-D", data, *options, ends_on=signal.SIGINT)
        dsn = f"postgresql://keepstep@/keepstep?host={user.place}&port=5432"

        def made() -> bool:
            with contextlib.suppress(psycopg.OperationalError):
                with psycopg.connect(dsn, dbname="postgres", autocommit=True) as connection:
                    connection.execute("CREATE DATABASE keepstep")
                return True
            return False

        try:
            eventually(made)
        except AssertionError:
            raise AssertionError(user.said) from None
        yield dsn
