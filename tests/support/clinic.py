"""``keepstep doctor`` within the test's own process."""

import json
from typing import Any

import pytest

from keepstep.app import App
from keepstep.cli.main import run
from keepstep.config import Settings


def examine(capfd: pytest.CaptureFixture[str], **environment: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """The exit code, and what is not as it should be, by code."""
    capfd.readouterr()
    code = run(lambda: App(Settings.load(environment)), ["doctor", "--json"])
    told = json.loads(capfd.readouterr().out)
    assert told["ok"] is (code == 0)
    bad = [check for check in told["checks"] if check["state"] != "ok"]
    found = {check["code"]: check for check in bad if "DOORLOOP_API_KEY is empty" not in check["message"]}
    for name, check in found.items():
        assert check["fix"], check
        assert check["docs"] == f"docs/diagnosis.md#{name}"
        assert check["impact"]
    return code, found


def command(capfd: pytest.CaptureFixture[str], *arguments: str, **environment: str) -> tuple[int, str]:
    """Any command: its exit code, and all that it printed."""
    capfd.readouterr()
    code = run(lambda: App(Settings.load(environment)), arguments)
    said = capfd.readouterr()
    return code, said.out + said.err
