"""The programs that the tests need: what is said where they are not there and cannot be had."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tools import system_parts
from tools.system_parts import Missing, needed

SCRIPT = Path(system_parts.__file__)


def test_a_machine_without_a_package_manager_is_told_what_to_install_and_the_tests_do_not_begin(tmp_path: Path) -> None:
    copy = tmp_path / "tools" / SCRIPT.name
    copy.parent.mkdir()
    copy.write_bytes(SCRIPT.read_bytes())
    done = subprocess.run([sys.executable, str(copy)], env={"PATH": str(tmp_path)}, capture_output=True, text=True)
    assert done.returncode == 1
    assert "The tests cannot run" in done.stderr
    assert "pgbouncer: this machine has no apt-get" in done.stderr
    for words in ("the package pgbouncer", "the package chromium"):
        assert words in done.stderr
    assert "Traceback" not in done.stderr


def test_packages_that_cannot_be_fetched_are_a_failure_with_the_reason(tmp_path: Path) -> None:
    copy = tmp_path / "tools" / SCRIPT.name
    copy.parent.mkdir()
    copy.write_bytes(SCRIPT.read_bytes())
    for name in ("apt-get", "dpkg-deb"):
        tool = tmp_path / name
        tool.write_text("#!/bin/sh\necho 'E: nobody answers' >&2\nexit 100\n")
        tool.chmod(0o755)
    done = subprocess.run([sys.executable, str(copy)], env={"PATH": str(tmp_path)}, capture_output=True, text=True)
    assert done.returncode == 1
    assert "pgbouncer: apt-get failed: E: nobody answers" in done.stderr
    assert not [*(tmp_path / ".venv/parts").iterdir()]


def test_every_part_is_here_and_runs() -> None:
    for part in system_parts.PARTS:
        for program in part.programs:
            done = subprocess.run([needed(program), "--version"], capture_output=True, text=True)
            assert done.returncode == 0, done
            assert done.stdout


def test_a_test_that_lacks_a_program_fails_with_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", os.devnull)
    monkeypatch.setattr(system_parts, "PLACE", tmp_path)
    with pytest.raises(Missing, match=r"pgbouncer is not here.*python tools/system_parts\.py"):
        needed("pgbouncer")


def test_a_postgresql_that_cannot_say_where_it_lies_is_no_obstacle(tmp_path: Path) -> None:
    for name in ("postgres", "pg_config"):
        (tmp_path / name).write_text("#!/bin/sh\nexit 1\n")
        (tmp_path / name).chmod(0o755)
    path = f"{tmp_path}:{os.environ['PATH']}"
    done = subprocess.run([sys.executable, SCRIPT], env={**os.environ, "PATH": path}, capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
