"""The installed command as a person meets it: a process with a home, an exit code, and two places it prints to."""

import json
import os
import queue
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Self
from urllib.request import Request, urlopen

from tests.support.server import fast_place

SCRIPT = Path(sys.executable).with_name("keepstep")
KEY = "dl_api_key_EMULATOR0123456789abcdef"
PATIENCE_S = 90.0


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, which is one JSON document and nothing else."""
        return json.loads(self.out)

    @property
    def error(self) -> str:
        """The error it ended with: at most two lines, the second one the fix."""
        lines = [line for line in self.err.splitlines() if line.startswith(("Error: ", "Fix:   "))]
        assert "Traceback" not in self.err + self.out
        assert [line[:5] for line in lines] in (["Error"], ["Error", "Fix: "]), self.err
        return "\n".join(lines)


class Running:
    """A command that goes on until it ends by itself or by a signal."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self._lines: queue.Queue[tuple[str, str] | None] = queue.Queue()
        self._said = {"out": "", "err": ""}
        assert process.stdout and process.stderr
        self._readers = [
            threading.Thread(target=self._read, args=(name, pipe), daemon=True)
            for name, pipe in (("out", process.stdout), ("err", process.stderr))
        ]
        for reader in self._readers:
            reader.start()

    def until(self, words: str) -> str:
        """The next line that contains these words. Fails when the command ends without it."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            try:
                found = self._lines.get(timeout=max(deadline - time.monotonic(), 0.01))
            except queue.Empty:
                raise AssertionError(f"never said {words!r}: {self._said}") from None
            assert found is not None, f"ended without {words!r}: {self._said}"
            if words in found[1]:
                return found[1]

    def send(self, number: int) -> Ended:
        """End it with a signal."""
        self.process.send_signal(number)
        return self.end()

    def end(self) -> Ended:
        """Wait for its end."""
        code = self.process.wait(PATIENCE_S)
        for reader in self._readers:
            reader.join(PATIENCE_S)
        return Ended(code, self._said["out"], self._said["err"])

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.end()

    def _read(self, name: str, pipe: IO[str]) -> None:
        for line in pipe:
            self._said[name] += line
            self._lines.put((name, line))
        pipe.close()
        self._lines.put(None)


class Keepstep:
    """The command with a home and an environment of its own."""

    def __init__(self, home: Path, **environment: str) -> None:
        self.home = home
        self.environment = {
            "PATH": os.environ["PATH"], "HOME": str(home.parent), "LANG": "C.UTF-8", "KEEPSTEP_HOME": str(home),
            "KEEPSTEP_PORT": "0", "DOORLOOP_RATE_LIMIT_RPS": "100000", **environment,
        }  # fmt: skip

    def __call__(self, *arguments: str, **environment: str) -> Ended:
        """Run it to its end."""
        with self.start(*arguments, **environment) as running:
            return running.end()

    def all(self, *lines: str, **environment: str) -> list[Ended]:
        """Run several at the same time, each to its end."""
        with ThreadPoolExecutor() as pool:
            return list(pool.map(lambda line: self(*line.split(), **environment), lines))

    def start(self, *arguments: str, **environment: str) -> Running:
        """Start it."""
        return Running(
            subprocess.Popen(
                [str(SCRIPT), *arguments],
                env={**self.environment, **environment},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
                cwd=self.home.parent,
                start_new_session=True,
            )
        )

    def rows(self, query: str) -> list[str]:
        """What a query gives, one line a row."""
        ended = self("db", "psql", "-XAtc", query)
        assert ended.code == 0, ended.err
        return ended.out.splitlines()

    def processes(self) -> list[str]:
        """The command lines of every process that works in this home."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                try:
                    words = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
                except OSError:
                    continue
                if str(self.home) in words:
                    found.append(words)
        return found


@contextmanager
def keepstep(**environment: str) -> Iterator[Keepstep]:
    """A command with a fresh home."""
    place = Path(tempfile.mkdtemp(prefix="keepstep-test-", dir=fast_place()))
    try:
        yield Keepstep(place / "home", **environment)
    finally:
        shutil.rmtree(place, ignore_errors=True)


class Emulator:
    """A DoorLoop served by ``keepstep emulate``."""

    def __init__(self, ready: dict[str, str]) -> None:
        self.base_url = ready["baseUrl"]
        self._control = ready["control"]
        self.environment = {"DOORLOOP_BASE_URL": self.base_url, "DOORLOOP_API_KEY": ready["apiKey"]}

    def command(self, name: str, **body: Any) -> Any:
        """Give it a command."""
        request = Request(f"{self._control}/{name}", data=json.dumps(body).encode())  # noqa: S310
        with urlopen(request) as answer:  # noqa: S310
            return json.load(answer)


@contextmanager
def emulator(command: Keepstep, *flags: str) -> Iterator[Emulator]:
    """A DoorLoop in a process of its own."""
    with command.start("emulate", "doorloop", "--json", *flags) as running:
        yield Emulator(json.loads(running.until("baseUrl")))
        ended = running.send(signal.SIGTERM)
    assert (ended.code, ended.err) == (143, "")
