"""Workers as commands: processes of their own on one database."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
import pytest

from tests.system.command import Emulator, Keepstep, emulator, keepstep


@pytest.fixture
def command(dsn: str) -> Iterator[Keepstep]:
    """The command on a database of the test's own."""
    with keepstep(DATABASE_URL=dsn, DOORLOOP_PAGE_SIZE="10", DOORLOOP_MAX_CONCURRENCY="1") as command:
        yield command


@contextmanager
def slow(command: Keepstep) -> Iterator[Emulator]:
    """An upstream that takes its time."""
    with emulator(command, "--leases", "300", "--latency-ms", "500") as upstream:
        command.environment |= upstream.environment
        yield upstream


def rows(command: Keepstep, query: str) -> list[object]:
    """The first column of what a query gives."""
    with psycopg.connect(command.environment["DATABASE_URL"]) as connection:
        return [row[0] for row in connection.execute(query.encode()).fetchall()]


def until(condition: Callable[[], object], seconds: float = 60.0) -> None:
    """Wait until something is so; fail when it never is."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.05)


def test_a_worker_that_is_told_to_end_gives_its_run_back_and_another_one_goes_on(command: Keepstep) -> None:
    environment = {"AUTO_SYNC_ENABLED": "true", "SYNC_ENTITIES": "leases"}
    with slow(command) as upstream:
        with command.start("worker", "--json", **environment) as first:
            until(lambda: rows(command, "SELECT 1 FROM keepstep.events WHERE type = 'page'"))
            assert first.send(signal.SIGTERM).code == 143
        assert rows(command, "SELECT state FROM keepstep.runs") == ["queued"]
        assert rows(command, "SELECT count(*) FROM keepstep.locks") == [0]
        upstream.command("switches", latency_ms=0)
        with command.start("worker", "--json", **environment) as second:
            until(lambda: rows(command, "SELECT state FROM keepstep.runs") == ["succeeded"])
            assert second.send(signal.SIGINT).code == 130
    told = rows(command, "SELECT type FROM keepstep.events WHERE type LIKE 'run-%' ORDER BY id")
    assert told == ["run-started", "run-given-back", "run-resumed", "run-finished"]
    assert rows(command, "SELECT count(*) FROM doorloop.leases") == [300]


def test_a_stop_from_the_command_line_ends_the_run_of_a_worker(command: Keepstep) -> None:
    environment = {"AUTO_SYNC_ENABLED": "true", "SYNC_ENTITIES": "leases"}
    with slow(command), command.start("worker", "--json", **environment) as worker:
        until(lambda: rows(command, "SELECT 1 FROM keepstep.events WHERE type = 'page'"))
        ended = command("stop", "--json")
        assert (ended.code, ended.json["stopped"]) == (0, True)
        assert command("stop", "--json").json == {"stopped": False, "runId": None}
        assert worker.send(signal.SIGTERM).code == 143
    assert rows(command, "SELECT state FROM keepstep.runs") == ["stopped"]


def test_a_worker_without_a_database_ends_with_an_error_in_words(command: Keepstep) -> None:
    ended = command("worker", DATABASE_URL="postgresql://nobody@127.0.0.1:1/nowhere")
    assert ended.code == 1
    assert "cannot be reached" in ended.error
