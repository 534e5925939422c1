"""``keepstep schedule`` beside a Keepstep that serves: what is resumed runs at once, by itself."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.system.command import PATIENCE_S, Keepstep, emulator, keepstep

SMALL = ("--owners", "20", "--properties", "20", "--units", "40", "--leases", "60", "--tenants", "40")


@pytest.fixture
def command() -> Iterator[Keepstep]:
    """A home that does not exist yet."""
    with keepstep() as command:
        yield command


def until(question: Callable[[], Any]) -> Any:
    """Ask until there is an answer."""
    deadline = time.monotonic() + PATIENCE_S
    while not (answer := question()):
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.2)
    return answer


def test_a_schedule_that_is_resumed_runs_at_once_and_one_that_is_paused_no_more(command: Keepstep) -> None:
    with emulator(command, *SMALL) as upstream:
        command.environment |= upstream.environment
        with command.start("up") as up:
            up.until("[auto-sync] disabled via env")
            up.until("serves")
            changed = command("schedule", "set", "doorloop", "--every", "30", "--full-at", "5", "--json").json
            assert (changed["intervalMinutes"], changed["fullAtHourUtc"], changed["nextRun"]) == (30, 5, None)
            assert command("schedule", "resume", "doorloop").code == 0
            [run] = until(lambda: command("runs", "--result", "succeeded", "--json").json)
            assert (run["trigger"], run["mode"], run["actor"]) == ("schedule", "delta", None)
            [view] = command("schedule", "list", "--json").json
            assert (view["enabled"], len(view["upcoming"]), view["envLocked"]) == (True, 5, [])
            paused = command("schedule", "pause", "doorloop")
            assert "doorloop  no" in paused.out
            assert command("schedule", "list", "--json").json[0]["nextRun"] is None


def test_what_the_environment_sets_is_refused_with_where_to_change_it(command: Keepstep) -> None:
    command.environment |= {"AUTO_SYNC_ENABLED": "true", "AUTO_SYNC_INTERVAL_MINUTES": "15"}
    for line in ("schedule pause doorloop", "schedule set doorloop --every 20"):
        ended = command(*line.split(), "--json")
        assert ended.code == 1
        assert "cannot be changed here" in ended.error
        assert "Set by environment: change AUTO_SYNC_" in ended.error
        assert ended.json["status"] == 409
    listed = command("schedule", "list")
    assert "15 min" in listed.out
    assert "Set by environment: enabled, intervalMinutes of doorloop." in listed.err


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("schedule set dorloop --every 5", "Did you mean doorloop?"),
        ("schedule set doorloop", "Nothing is to be changed."),
        ("schedule set doorloop --full-at 5 --no-full", "contradict each other"),
        ("schedule set doorloop --entities ownerz", "Did you mean owners?"),
        ("schedule set doorloop --every often", "Invalid value"),
    ],
)
def test_a_call_that_makes_no_sense_is_refused_before_anything_is_opened(
    command: Keepstep, line: str, words: str
) -> None:
    ended = command(*line.split())
    assert ended.code == 2
    assert words in ended.err
    assert not command.home.exists()
