"""Commands where a lot is amiss around them: processes that are killed, streams that are closed."""

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from tests.system.command import SCRIPT, Keepstep, emulator, keepstep


@pytest.fixture
def command() -> Iterator[Keepstep]:
    """A command with a home of its own."""
    with keepstep() as command:
        yield command


def until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait until something is so; fail when it never is."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def keepers(command: Keepstep) -> list[int]:
    """The processes that own the embedded server: one, or none while it is started again."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"keepstep.store.keeper" in words and os.fsencode(command.home) in words:
                found.append(int(entry.name))
    return found


def kill_keeper(command: Keepstep) -> int:
    """Kill -9 the process that owns the embedded server, which takes the server along; gives its id."""
    until(lambda: keepers(command))
    [keeper] = keepers(command)
    os.kill(keeper, signal.SIGKILL)
    return keeper


def readiness(url: str) -> dict[str, Any]:
    """What ``/readyz`` answers, whatever its status."""
    try:
        with urlopen(f"{url}/readyz") as answer:  # noqa: S310
            found: dict[str, Any] = json.load(answer)
    except HTTPError as error:
        found = json.load(error)
    return found


def test_up_starts_its_database_again_when_the_keeper_is_killed(command: Keepstep) -> None:
    with command.start("up", "--json") as up:
        url = json.loads(up.until('"healthz"'))["url"]
        until(lambda: readiness(url)["ok"])
        for _ in range(2):
            gone = kill_keeper(command)
            until(lambda gone=gone: not Path("/proc", str(gone)).exists())  # type: ignore[misc]
            until(lambda: readiness(url)["ok"])
        ended = up.send(signal.SIGTERM)

    assert ended.code == 143
    assert command.processes() == []


def test_a_run_goes_on_when_the_keeper_is_killed_in_its_middle(command: Keepstep) -> None:
    page = {"DOORLOOP_PAGE_SIZE": "10", "DOORLOOP_MAX_CONCURRENCY": "1"}
    with (
        emulator(command, "--leases", "300", "--latency-ms", "100") as upstream,
        command.start("run", "doorloop", "leases", "--json", **upstream.environment, **page) as run,
    ):
        run.until("leases: page")
        kill_keeper(command)
        ended = run.end()

    assert (ended.code, ended.json["result"], ended.json["inserted"]) == (0, "succeeded", 300)
    assert command.rows("SELECT count(*) FROM doorloop.leases") == ["300"]


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_command_works_without_standard_streams(command: Keepstep, closed: str) -> None:
    told = command.home.parent / "told"
    piped = subprocess.run(
        ["sh", "-c", f"{{ {SCRIPT} runs --json {closed}; echo $? >{told}; }}"],
        env=command.environment,
        capture_output=True,
        text=True,
        check=True,
    )

    assert told.read_text().strip() == "0"
    assert "Traceback" not in piped.stderr
    assert piped.stdout.strip() == ("" if ">&-" in closed.replace("2>&-", "") else "[]")
    assert command.processes() == []


def test_a_second_up_hears_that_the_home_is_served_though_the_port_is_taken_too(command: Keepstep) -> None:
    with command.start("up", "--json") as up:
        port = json.loads(up.until('"healthz"'))["url"].rsplit(":", 1)[1]
        second = command("up", KEEPSTEP_PORT=port)
        up.send(signal.SIGTERM)

    assert (second.code, "already serves" in second.error) == (1, True)
