"""What ``keepstep doctor`` makes of the facts, and what becomes of an error that nobody foresaw."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from keepstep.cli.main import run
from keepstep.model.integration import Check, Ping
from keepstep.service import doctor
from keepstep.service.setup import Advice
from keepstep.service.shapes import HeldDeletions

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


def held(deleted: int) -> HeldDeletions:
    return HeldDeletions(
        run_id=1, integration="doorloop", entity="leases", state="open", live_rows=100, delete_rows=deleted,
        percent=deleted, sample=[], created_at=NOW, decided_at=None, decided_by=None, reason=None,
    )  # fmt: skip


def life(tick: datetime | None, workers: int, *, wanted: bool) -> list[str | None]:
    return [finding.code for finding in doctor.life(doctor.Life(NOW, tick, workers, wanted))]


def test_silence_is_a_fault_only_where_somebody_counts_on_a_worker() -> None:
    alive, long_ago = NOW - timedelta(seconds=5), NOW - timedelta(hours=1)

    assert life(alive, 2, wanted=True) == [None]
    assert life(long_ago, 0, wanted=True) == ["scheduler-silent", "worker-missing"]
    assert life(None, 2, wanted=True) == ["scheduler-silent"]
    assert life(long_ago, 0, wanted=False) == [None]


@pytest.mark.parametrize(
    ("address", "code"),
    [
        ("", None),
        ("https://prod-01.example.test/workflows/a?sig=b", None),
        ("http://127.0.0.1:9000/hook", None),
        ("http://prod-01.example.test/workflows/a?sig=b", "webhook-malformed"),
        ("https://prod-01.example.test/", "webhook-malformed"),
        ("hooks/a?sig=b", "webhook-malformed"),
    ],
)
def test_an_address_for_alerts_is_judged_without_sending_to_it(address: str, code: str | None) -> None:
    finding = doctor.webhook(address)

    assert finding.code == code
    assert "sig=b" not in finding.message + finding.fix


def test_a_key_that_opens_nothing_is_told_with_what_it_was_for() -> None:
    finding = doctor.secret_key(["doorloop"], 2)

    assert (finding.state, finding.code) == ("failed", "secret-key-changed")
    assert "doorloop" in finding.message
    assert states(doctor.secret_key([], 2), doctor.secret_key([], 0)) == ["ok", "ok"]


def test_an_entity_that_the_key_may_not_read_is_named() -> None:
    good = Check(200, "owners", ("id",), 3, "There are 3.", True)
    bad = Check(405, "leases", (), None, "The role may not.", False, "Give it a role.", "role-refused")

    assert [(f.name, f.code) for f in doctor.entities("DoorLoop", {"owners": good, "leases": bad})] == [
        ("DoorLoop leases", "role-refused")
    ]
    assert states(*doctor.entities("DoorLoop", {"owners": good})) == ["ok"]


def test_what_waits_for_a_person_is_told_with_the_command_that_shows_it() -> None:
    found = doctor.runs(stuck=[7], letters=3, held=[held(90), held(100)])

    assert [finding.code for finding in found] == [
        "lock-orphaned", "poison-records", "deletions-held", "source-emptied",
    ]  # fmt: skip
    assert states(*found) == ["warning", "warning", "warning", "failed"]
    assert ["keepstep" in finding.fix for finding in found] == [True] * 4
    assert states(*doctor.runs(stuck=[], letters=0, held=[])) == ["ok"]


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
