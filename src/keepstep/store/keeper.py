"""The small process that owns the embedded PostgreSQL server of one home.

It is started by the first user of the home, which passes it the locked lock file (so there is never a second one) and
the first connection. Every user holds a connection to it for as long as it needs the database; the kernel closes that
one even for a user killed with -9. When the last has gone, the keeper stops the server and ends. The server in turn
gets a signal from the kernel if the keeper dies, and is started again if it dies itself.

One thread and one poll: a new user is either taken in before the decision to stop, or finds the door closed.
Standard library only: see ``embedded_layout``. Run as ``python -P -S -s -m keepstep.store.keeper``, by ``embedded``.
"""

import contextlib
import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

from keepstep.store import embedded_cluster as cluster
from keepstep.store import embedded_identity as identities
from keepstep.store.embedded_layout import (
    BYE,
    FAILED,
    OTHERS,
    READY,
    STARTING,
    Layout,
    Unusable,
    fix_for,
    last_lines,
)

HOUR_S = 3600.0
BEAT_S = 1.0
GRACE_FOR_USERS_S = 5.0
RESTART_PAUSES_S = (0.1, 0.5, 2.0, 5.0, 10.0)
# After so many seconds, so firm a request to stop. SIGINT rolls back what is open and writes everything to disk;
# SIGQUIT leaves the rest to the recovery at the next start.
STOP_STEPS = ((0.0, signal.SIGINT), (30.0, signal.SIGQUIT), (35.0, signal.SIGKILL))
ORPHAN_STEPS = ((2.0, signal.SIGINT), (32.0, signal.SIGQUIT), (37.0, signal.SIGKILL))
HEADLESS_STEPS = ((0.5, signal.SIGTERM), (3.0, signal.SIGQUIT), (6.0, signal.SIGKILL))


class Keeper:
    """Runs the server of ``layout`` while it has users; ``first_user`` is the connection of the one that starts it."""

    def __init__(self, layout: Layout, binaries: Path, first_user: socket.socket, *, namespaces: bool) -> None:
        self._layout = layout
        self._binaries = binaries
        self._namespaces = namespaces
        self._users: dict[int, socket.socket] = {}
        self._leaving: list[socket.socket] = []
        self._exits: dict[int, int] = {}
        self._server: int | None = None
        self._ready = False
        self._version = ""
        self._stop_at: float | None = None
        self._last_beat = time.monotonic()
        self._log_start = 0
        self._poll = select.poll()
        self._bell = _signal_bell(self._ask_to_stop)
        self._poll.register(self._bell, select.POLLIN)
        self._door = _open_door(layout)
        self._poll.register(self._door, select.POLLIN)
        self._admit(first_user)

    def run(self) -> int:
        """Returns the exit status."""
        try:
            self._identity = self._choose_identity()
            self._prepare_data()
            self._launch()
            self._serve()
        except Unusable as error:
            return self._give_up(error)
        except OSError as error:
            return self._give_up(Unusable(f"{error}.", fix_for(str(error), self._layout.home)))
        finally:
            self._close_door()
            self._stop_server()
            self._tidy()
        return 0

    # What must be true before the server starts

    def _choose_identity(self) -> identities.Identity:
        refusals = []
        owner = self._layout.home.stat().st_uid
        for identity in identities.candidates(owner, namespaces=self._namespaces):
            status, output = self._try_out(identity)
            if status == 0:
                self._version = output.split()[2]
                return identity
            refusals.append(f"as {identity}: {output.strip() or f'exit status {status}'}")
        raise Unusable(
            f"PostgreSQL cannot be run here ({'; '.join(refusals) or 'there is no user but root'}).",
            "Run Keepstep as an ordinary user with a KEEPSTEP_HOME of its own, or set DATABASE_URL.",
        )

    def _try_out(self, identity: identities.Identity) -> tuple[int, str]:
        """Whether that identity reaches both the binaries and the data, shown by doing it."""
        reader, writer = os.pipe()
        command = [str(self._binaries / "postgres"), "--version"]
        pid = identities.start(command, identity, directory=self._layout.postgres, output=writer)
        os.close(writer)
        with open(reader, encoding="utf-8", errors="replace") as pipe:  # noqa: PTH123
            output = pipe.read()
        return self._wait_for(pid), output

    def _prepare_data(self) -> None:
        owner = self._identity.owner
        if cluster.needs_initdb(self._layout):
            directory = self._layout.unfinished_data
            cluster.make_unfinished(self._layout, owner)
            self._run(cluster.initdb_command(self._binaries, directory))
            self._run(cluster.create_database_command(self._binaries, directory), cluster.CREATE_DATABASE)
            cluster.finish_initdb(self._layout)
        cluster.check_version(self._layout, self._version)
        self._end_leftovers()
        cluster.give_to(self._layout.data, owner)

    def _run(self, command: list[str], text: bytes = b"") -> None:
        start = _size(self._layout.log)
        reader, writer = os.pipe()
        os.write(writer, text)
        os.close(writer)
        pid = identities.start(command, self._identity, directory=self._layout.postgres, text=reader)
        os.close(reader)
        if self._wait_for(pid) != 0:
            said = last_lines(self._layout.log, since=start)
            raise Unusable(
                f"PostgreSQL could not create its data directory in {self._layout.postgres}: {said}",
                fix_for(said, self._layout.home),
            )

    def _end_leftovers(self) -> None:
        """Waits for a server whose keeper was killed; the kernel has told it to stop, we insist after a while."""
        start, done = time.monotonic(), 0
        while pids := cluster.leftover_processes(self._layout):
            head = cluster.postmaster_of(self._layout, pids)
            if head:
                cluster.refuse_kept_server(self._layout, head)
            if not self._wanted():
                return
            steps = ORPHAN_STEPS if head else HEADLESS_STEPS
            if done < len(steps) and time.monotonic() - start >= steps[done][0]:
                cluster.signal_all([head] if head and done < 2 else pids, steps[done][1])
                done += 1
            self._pump(0.05, note="waiting for the previous PostgreSQL server to stop")
        cluster.remove_stale_files(self._layout)

    # The server

    def _launch(self) -> None:
        """Starts the server and waits for as long as it makes its way (crash recovery has no fixed limit)."""
        if not self._wanted():
            return
        cluster.write_settings(self._layout, self._identity.owner)
        cluster.trim_log(self._layout)
        start = self._log_start = _size(self._layout.log)
        command = cluster.server_command(self._layout, self._binaries)
        self._server = pid = identities.start(command, self._identity, directory=self._layout.postgres)
        self._exits.clear()  # process ids come round again
        while self._wanted() and not cluster.is_ready(self._layout, pid):
            if self._has_exited(pid):
                self._server = None
                said = last_lines(self._layout.log, since=start)
                raise Unusable(f"PostgreSQL did not start: {said}", fix_for(said, self._layout.home))
            self._pump(0.01, note="PostgreSQL is starting")
        if not self._wanted():
            return
        self._ready = True
        for user in list(self._users.values()):
            self._greet(user)

    def _serve(self) -> None:
        while self._wanted():
            if self._stop_at is None and self._server is not None and self._has_exited(self._server):
                self._relaunch()
            self._pump(HOUR_S)
            cluster.trim_log(self._layout)

    def _relaunch(self) -> None:
        """The server died under its users: starts it again, as often as is reasonable."""
        self._server, self._ready = None, False
        failure = Unusable("PostgreSQL stopped.")
        for pause in RESTART_PAUSES_S:
            self._pump_for(pause)
            if not self._wanted():
                return
            if not (self._layout.data / "PG_VERSION").exists():
                raise Unusable(f"{self._layout.data} was taken away while it was in use.", "Put it back.")
            try:
                self._end_leftovers()
                self._launch()
            except Unusable as error:
                failure = error
            else:
                return
        raise failure

    def _stop_server(self) -> None:
        if self._server is None:
            return
        start = time.monotonic()
        for after, firmness in STOP_STEPS:
            while time.monotonic() - start < after and not self._has_exited(self._server):
                self._ring(after - (time.monotonic() - start))
            if self._has_exited(self._server):
                break
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._server, firmness)
        while not self._has_exited(self._server):
            self._ring(HOUR_S)

    # The users

    def _wanted(self) -> bool:
        """Whether anybody uses the server; whoever knocks at this moment counts."""
        if self._stop_at is not None and time.monotonic() >= self._stop_at:
            return False
        if not self._users:
            self._answer_door()
            self._answer_leavers()
        return bool(self._users)

    def _answer_door(self) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                self._admit(self._door.accept()[0])

    def _admit(self, user: socket.socket) -> None:
        user.setblocking(False)
        self._users[user.fileno()] = user
        self._poll.register(user, select.POLLIN)
        self._greet(user)

    def _answer_leavers(self) -> None:
        """After everything that has happened is known; whoever gets no answer waits for the end of the server."""
        while self._users and self._leaving:
            leaver = self._leaving.pop()
            _say(leaver, OTHERS)
            leaver.close()

    def _greet(self, user: socket.socket) -> None:
        if self._ready:
            _say(user, READY, version=self._version)
        else:
            _say(user, STARTING, note="")

    def _hear(self, user: socket.socket) -> None:
        try:
            said = user.recv(64)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        if said and BYE not in said:
            return
        self._poll.unregister(user)
        del self._users[user.fileno()]
        if said:
            self._leaving.append(user)
        else:
            user.close()

    def _give_up(self, error: Unusable) -> int:
        for user in self._users.values():
            _say(user, FAILED, message=error.message, fix=error.fix)
        print(f"keepstep: {error.message} {error.fix}", file=sys.stderr, flush=True)  # noqa: T201
        return 1

    def _close_door(self) -> None:
        """From here on a new user finds nobody, and waits for the lock to start a keeper of its own."""
        self._layout.keeper_socket.unlink(missing_ok=True)
        self._poll.unregister(self._door)
        self._door.close()

    def _tidy(self) -> None:
        if self._layout.sockets.parent != self._layout.postgres:  # lies in a directory that everybody uses
            with contextlib.suppress(OSError):
                self._layout.sockets.rmdir()

    # Waiting

    def _pump(self, seconds: float, note: str = "") -> None:
        """Lets at most so many seconds pass, and answers whatever happens meanwhile."""
        if self._stop_at is not None and self._stop_at > time.monotonic():
            seconds = min(seconds, self._stop_at - time.monotonic())
        for fd, _ in self._poll.poll(seconds * 1000):
            if fd == self._bell:
                os.read(self._bell, 1024)
            elif fd in self._users:
                self._hear(self._users[fd])
            else:
                self._answer_door()
        self._answer_leavers()
        if note and time.monotonic() - self._last_beat >= BEAT_S:
            self._last_beat = time.monotonic()
            latest = last_lines(self._layout.log, since=self._log_start, count=1)
            for user in self._users.values():
                _say(user, STARTING, note=f"{note}: {latest}" if latest else note)

    def _pump_for(self, seconds: float, note: str = "PostgreSQL stopped and is started again") -> None:
        until = time.monotonic() + seconds
        while self._wanted() and (rest := until - time.monotonic()) > 0:
            self._pump(min(rest, BEAT_S), note)

    def _wait_for(self, pid: int) -> int:
        while not self._has_exited(pid):
            self._pump(BEAT_S, note="PostgreSQL creates its data directory")
        return self._exits.pop(pid)

    def _ring(self, seconds: float) -> None:
        waiter = select.poll()
        waiter.register(self._bell, select.POLLIN)
        if waiter.poll(max(0.0, seconds) * 1000):
            os.read(self._bell, 1024)

    def _has_exited(self, pid: int) -> bool:
        with contextlib.suppress(ChildProcessError):
            while (found := os.waitpid(-1, os.WNOHANG))[0]:
                self._exits[found[0]] = os.waitstatus_to_exitcode(found[1])
        return pid in self._exits

    def _ask_to_stop(self) -> None:
        """A service manager may send the same signal to everybody at once: the users get a moment to finish."""
        if self._stop_at is None:
            self._stop_at = time.monotonic() + GRACE_FOR_USERS_S


def _open_door(layout: Layout) -> socket.socket:
    layout.keeper_socket.unlink(missing_ok=True)
    door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    door.bind(str(layout.keeper_socket))
    door.listen(128)
    door.setblocking(False)
    return door


def _signal_bell(ask_to_stop: Callable[[], None]) -> int:
    """A file descriptor that becomes readable at each signal; SIGTERM and SIGINT also ask to stop."""
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ask_to_stop())
    return reader


def _say(user: socket.socket, state: str, **words: str) -> None:
    with contextlib.suppress(OSError):  # it has gone; the poll will tell
        user.send((json.dumps({"state": state, **words}) + "\n").encode())


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def main(arguments: list[str]) -> int:
    """``HOME SOCKETS NAME BINARIES LOCK_FD USER_FD [--no-namespaces]``; both descriptors are inherited."""
    home, sockets, name, binaries, lock_fd, user_fd = arguments[:6]
    os.set_inheritable(int(lock_fd), False)
    os.set_inheritable(int(user_fd), False)
    os.umask(0o077)
    os.chdir("/")
    os.ftruncate(int(lock_fd), 0)
    os.pwrite(int(lock_fd), f"{os.getpid()}\n".encode(), 0)
    layout = Layout(Path(home), Path(sockets), name)
    first_user = socket.socket(fileno=int(user_fd))
    return Keeper(layout, Path(binaries), first_user, namespaces="--no-namespaces" not in arguments).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
