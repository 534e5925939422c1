"""What ``keepstep doctor`` makes of the facts, and what becomes of an error that nobody foresaw."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from keepstep.cli.main import run
from keepstep.model.integration import Ping
from keepstep.service import doctor
from keepstep.service.setup import Advice

NOW = datetime(2026, 5, 6, 7, 8, 9, tzinfo=UTC)
SERVER: dict[str, Any] = {"version": "16.4 (Debian)", "now": NOW, "bytes": 1, "read_only": False, "may_create": True}


def states(*findings: doctor.Finding) -> list[str]:
    return [finding.state for finding in findings]


def test_an_old_python_fails_and_another_system_is_only_doubtful() -> None:
    assert states(doctor.program((3, 10, 4), "Linux"), doctor.program((3, 11, 0), "Linux")) == ["failed", "ok"]
    assert states(doctor.program((3, 12, 0), "Darwin")) == ["warning"]


def test_a_disk_is_doubtful_before_it_is_full() -> None:
    sizes = (50 << 20, 500 << 20, 5 << 30)

    assert states(*(doctor.space(Path("/home"), free) for free in sizes)) == ["failed", "warning", "ok"]


@pytest.mark.parametrize(
    ("changed", "state", "words"),
    [
        ({"read_only": True}, "failed", "read-only"),
        ({"may_create": False}, "failed", "may not create"),
        ({"now": NOW + timedelta(minutes=5)}, "warning", "differ by 300 s"),
        ({"now": NOW - timedelta(minutes=5)}, "warning", "differ by 300 s"),
    ],
)
def test_a_database_that_cannot_be_written_or_lives_in_another_time_is_told(
    changed: dict[str, Any], state: str, words: str
) -> None:
    good, bad = doctor.database({**SERVER, **changed}, embedded=False, now=NOW)

    assert (good.state, good.message.startswith("PostgreSQL 16.4 ")) == ("ok", True)
    assert (bad.state, words in bad.message, bool(bad.fix)) == (state, True, True)
    assert len(doctor.database(SERVER, embedded=True, now=NOW)) == 1


def test_what_waits_for_a_person_is_told_with_the_command_that_shows_it() -> None:
    found = doctor.runs(stuck=[7], letters=3, held=1)

    assert states(*found) == ["warning"] * 3
    assert ["keepstep" in finding.fix for finding in found[1:]] == [True, True]
    assert states(*doctor.runs(stuck=[], letters=0, held=0)) == ["ok"]


def test_a_ping_counts_as_failed_only_when_upstream_is_of_no_use() -> None:
    def ping(state: str) -> Ping:
        return Ping(state != "failing", state, "words", "http://x.test", True, 1, 5)

    assert states(*(doctor.upstream("DoorLoop", ping(s)) for s in ("ok", "degraded", "failing"))) == [
        "ok",
        "warning",
        "failed",
    ]


def test_a_diagnosis_is_good_when_nothing_failed() -> None:
    doubtful = doctor.settings([Advice(about="X", message="X is odd.", fix="Mend it.")])
    failed = doctor.space(Path("/home"), 0)

    assert doctor.diagnosis(doubtful).ok
    assert not doctor.diagnosis([*doubtful, failed]).ok
    assert doctor.migrations(2).state == "warning"


def test_an_unforeseen_error_is_two_lines_and_its_details_are_in_the_log(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    class Broken(SimpleNamespace):
        def setup(self) -> None:
            raise ZeroDivisionError("nobody foresaw s3cr3t")

    code = run(lambda: Broken(home=tmp_path, secrets=("s3cr3t",)), ["config", "show"])  # type: ignore[arg-type]
    said = capfd.readouterr()
    log = tmp_path / "logs" / "errors.log"

    assert code == 1
    assert said.err.splitlines() == [
        "Error: Keepstep met an unexpected error: ZeroDivisionError: nobody foresaw ••••.",
        f"Fix:   Please report it with the details in {log}.",
    ]
    assert "Traceback" in log.read_text()
    assert "s3cr3t" not in log.read_text()
    assert log.stat().st_mode & 0o077 == 0
