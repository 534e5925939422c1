"""The log: who it is about, and no secret in it."""

import asyncio
import io
import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from keepstep.model.run import Event
from keepstep.reliability.journal import about, configure, tell

SECRET = "s3cr3t-key-of-somebody"


@pytest.fixture
def out() -> Iterator[io.StringIO]:
    """Where the log goes; afterwards everything is as it was."""
    root = logging.getLogger()
    before = (root.handlers[:], root.level)
    yield io.StringIO()
    root.handlers[:], root.level = before[0], before[1]
    structlog.reset_defaults()


def lines(out: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_a_line_off_a_terminal_is_json_with_level_and_time(out: io.StringIO) -> None:
    configure(out, terminal=False).info("up", url="http://127.0.0.1:8787")
    [line] = lines(out)
    assert line["event"] == "up"
    assert line["level"] == "info"
    assert line["url"] == "http://127.0.0.1:8787"
    assert line["timestamp"].endswith("Z")


async def test_lines_say_which_run_they_are_about_however_many_go_on_at_once(out: io.StringIO) -> None:
    log = configure(out, terminal=False)

    async def run(number: int) -> None:
        with about(run=number, connection=1):
            await asyncio.sleep(0)
            with about(entity="owners"):
                await asyncio.create_task(page())

    async def page() -> None:
        log.info("page")

    await asyncio.gather(run(7), run(8))
    log.info("after")
    found = [(line.get("run"), line.get("connection"), line.get("entity")) for line in lines(out)]
    assert sorted(found[:2]) == [(7, 1, "owners"), (8, 1, "owners")]
    assert found[2] == (None, None, None)


def test_no_secret_is_written_wherever_it_stands(out: io.StringIO) -> None:
    log = configure(out, terminal=False, secrets=lambda: (SECRET,))
    try:
        raise ValueError(f"refused {SECRET}")
    except ValueError:
        log.exception(
            "failed", url=f"http://x/?k={SECRET}", nested={"list": [SECRET]}, api_key="another", password=12345
        )
    logging.getLogger("some.library").warning("sent %s", SECRET)
    log.info("postgresql://ann:hunter2222@db/x")
    text = out.getvalue()
    for secret in (SECRET, "another", "12345", "hunter2222"):
        assert secret not in text
    first, second, _ = lines(out)
    assert "ValueError" in first["exception"]
    assert second["library"] == "some.library"


def test_a_secret_that_becomes_known_later_is_masked_from_then_on(out: io.StringIO) -> None:
    known: list[str] = []
    log = configure(out, terminal=False, secrets=lambda: known)
    known.append(SECRET)
    log.info(SECRET)
    assert SECRET not in out.getvalue()


def test_a_terminal_gets_words_and_no_control_characters_of_other_people(out: io.StringIO) -> None:
    configure(out, terminal=True).warning("upstream says \x1b]0;owned\x07", fix="none")
    assert "\x1b]0;owned" not in out.getvalue()
    assert "upstream says" in out.getvalue()


def test_libraries_are_heard_from_warnings_on(out: io.StringIO) -> None:
    configure(out, terminal=False)
    logging.getLogger("uvicorn.error").info("started")
    logging.getLogger("asyncio").error("lost %d", 3)
    assert [(line["level"], line["event"]) for line in lines(out)] == [("error", "lost 3")]


def test_a_log_that_cannot_be_written_ends_nothing(out: io.StringIO) -> None:
    log = configure(out, terminal=False)
    out.close()
    log.info("nobody reads this")
    logging.getLogger("x").error("nor this")


def test_the_events_of_a_run_are_told_at_their_level_and_pages_are_not(out: io.StringIO) -> None:
    configure(out, terminal=False)
    with about(run=7):
        tell(Event("page", "owners: page 3", entity="owners", page=3))
        tell(Event("run-failed", "Run 7 failed.", level="error", data={"fix": "Check the key."}))
        tell(Event("run-finished", "Run 7 succeeded."))
    assert [(line["level"], line["event"], line.get("fix"), line["run"]) for line in lines(out)] == [
        ("error", "Run 7 failed.", "Check the key.", 7),
        ("info", "Run 7 succeeded.", None, 7),
    ]


def test_what_json_cannot_say_is_written_as_it_looks(out: io.StringIO) -> None:
    configure(out, terminal=False).info("odd", when=object(), number=float("nan"), text="\ud800")
    assert "odd" in out.getvalue()
