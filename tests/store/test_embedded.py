"""The embedded database on its good days, and when processes are killed: a real server, real kill -9."""

import contextlib
import os
import shutil
import signal
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest
from embedded_homes import (
    User,
    ask,
    eventually,
    keeper_of,
    kill_all,
    layout_of,
    open_files,
    processes,
    remember,
    remembered,
    server_of,
)

from keepstep.model.errors import StoreError
from keepstep.store.embedded import EmbeddedPostgres
from keepstep.store.embedded_layout import last_lines

pytest_plugins = ["embedded_homes"]


def test_a_fresh_home_becomes_a_database_with_the_settings_that_keepstep_relies_on(fresh: Path) -> None:
    with EmbeddedPostgres.open(fresh) as database:
        settings = ("data_checksums", "fsync", "jit", "listen_addresses", "TimeZone", "server_encoding")
        found = {name: ask(database.dsn, f"SELECT current_setting('{name}')") for name in settings}
        assert found == {
            "data_checksums": "on",
            "fsync": "on",
            "jit": "off",
            "listen_addresses": "",
            "TimeZone": "UTC",
            "server_encoding": "UTF8",
        }
        assert ask(database.dsn, "SELECT current_database() || current_user") == "keepstepkeepstep"
        locale = "SELECT datlocprovider::text || datlocale FROM pg_database WHERE datname = current_database()"
        assert ask(database.dsn, locale) == "bC.UTF-8"
        assert ask(database.dsn, "SHOW server_version") == database.server_version
        assert database.data_directory.is_dir()
        assert database.log_path.is_file()


def test_the_last_close_leaves_no_process_and_the_data_is_there_at_the_next_start(used: Path) -> None:
    with EmbeddedPostgres.open(used) as database:
        remember(database.dsn, "kept")
    assert processes(used) == {}
    with EmbeddedPostgres.open(used) as database:
        assert remembered(database.dsn) == "kept"
    assert "not properly shut down" not in database.log_path.read_text()


def test_the_first_to_finish_does_not_pull_the_server_from_under_the_others(used: Path) -> None:
    first, second = User(used), User(used)
    dsn = first.says()
    assert second.says() == dsn
    server = server_of(used)
    first.finish()
    with EmbeddedPostgres.open(used) as third:
        second.finish()
        assert ask(third.dsn, "SELECT 1") == 1
        assert server_of(used) == server
    assert processes(used) == {}


def test_processes_that_open_a_fresh_home_at_the_same_time_share_one_server(fresh: Path) -> None:
    users = [User(fresh) for _ in range(4)]
    starts = {ask(user.says(), "SELECT pg_postmaster_start_time()") for user in users}
    assert len(starts) == 1
    assert sum("keepstep.store.keeper" in words for words in processes(fresh).values()) == 1
    for user in users:
        user.finish()
    assert processes(fresh) == {}


def test_opening_while_the_previous_server_stops_gives_a_living_server(used: Path) -> None:
    for _ in range(5):
        leaving = User(used)
        leaving.says()
        leaving.start_to_finish()
        with EmbeddedPostgres.open(used) as database:
            leaving.finish()
            assert ask(database.dsn, "SELECT 1") == 1
    assert processes(used) == {}


def test_one_process_may_use_the_same_home_twice_and_close_twice(used: Path) -> None:
    one, two = EmbeddedPostgres.open(used), EmbeddedPostgres.open(used)
    one.close()
    one.close()
    assert ask(two.dsn, "SELECT 1") == 1
    two.close()
    assert processes(used) == {}


def test_interrupting_the_terminal_reaches_the_user_but_not_the_server(used: Path) -> None:
    user = User(used)
    dsn = user.says()
    os.killpg(user.process.pid, signal.SIGINT)
    assert user.says() == "interrupted"
    assert ask(dsn, "SELECT 1") == 1
    user.finish()


def test_neither_keeper_nor_server_inherits_the_environment_or_open_files(used: Path) -> None:
    reader, writer = os.pipe()
    user = User(used, inherits=writer, environment={"DOORLOOP_API_KEY": "a-secret-of-the-test", "PGPORT": "1"})
    user.says()
    pipe = f"pipe:[{os.fstat(writer).st_ino}]"
    assert pipe in open_files(user.process.pid)
    assert len(processes(used)) > 2
    for pid in processes(used):
        assert b"a-secret-of-the-test" not in Path(f"/proc/{pid}/environ").read_bytes()
        assert pipe not in open_files(pid)
    user.finish()
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize(
    "name", ["with a space", "größe-データ", "comma,quote'\"$x%41", "l" * 120, "very/" * 30], ids=lambda name: name[:12]
)
def test_any_path_will_do_as_a_home(template: Path, fresh: Path, name: str) -> None:
    home = fresh / name / "home"
    shutil.copytree(template, home)
    with EmbeddedPostgres.open(home) as database:
        assert ask(database.dsn, "SELECT 1") == 1
        sockets = Path(parse_qs(urlsplit(database.dsn).query)["host"][0])
        assert sockets.stat().st_mode & 0o077 == 0
    assert processes(home) == {}
    assert sockets.is_relative_to(home) or not sockets.exists()


def test_a_fresh_home_may_have_an_odd_and_long_path(fresh: Path) -> None:
    home = fresh / ("größe '\" $x " * 8) / "home"
    with EmbeddedPostgres.open(home) as database:
        assert ask(database.dsn, "SELECT 1") == 1


def test_a_relative_path_and_a_link_lead_to_the_same_server(used: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    link = used.parent / "link"
    link.symlink_to(used)
    monkeypatch.chdir(used.parent)
    with EmbeddedPostgres.open(Path("home")) as one, EmbeddedPostgres.open(link) as two:
        assert one.dsn == two.dsn


# Kills


def test_killing_every_user_stops_the_server_cleanly(used: Path) -> None:
    users = [User(used), User(used)]
    dsns = [user.says() for user in users]
    remember(dsns[0], "kept")
    for user in users:
        user.kill()
    eventually(lambda: not processes(used))
    with EmbeddedPostgres.open(used) as database:
        assert remembered(database.dsn) == "kept"
    assert "not properly shut down" not in database.log_path.read_text()


def test_killing_the_keeper_takes_the_server_along_and_the_next_start_recovers(used: Path) -> None:
    with EmbeddedPostgres.open(used) as database:
        remember(database.dsn, "kept")
        os.kill(keeper_of(used), signal.SIGKILL)
        eventually(lambda: not database.alive)
        with EmbeddedPostgres.open(used) as again:  # at once, while the orphan is still stopping
            assert remembered(again.dsn) == "kept"
    assert processes(used) == {}


def test_a_user_whose_keeper_was_killed_can_make_sure_of_the_database_again(used: Path) -> None:
    with EmbeddedPostgres.open(used) as database:
        remember(database.dsn, "kept")
        keeper = keeper_of(used)
        database.ensure()
        assert keeper_of(used) == keeper
        os.kill(keeper, signal.SIGKILL)
        eventually(lambda: not database.alive)
        database.ensure()
        assert remembered(database.dsn) == "kept"
    assert processes(used) == {}


def test_a_user_that_could_not_start_the_server_again_can_when_the_obstacle_is_gone(used: Path) -> None:
    with EmbeddedPostgres.open(used) as database:
        remember(database.dsn, "kept")
        os.kill(keeper_of(used), signal.SIGKILL)
        eventually(lambda: not database.alive and not processes(used))
        version = layout_of(used).data / "PG_VERSION"
        right = version.read_text()
        version.write_text("9\n")
        for _ in range(2):
            with pytest.raises(StoreError):
                database.ensure()
            assert not database.alive
        version.write_text(right)
        database.ensure()
        assert remembered(database.dsn) == "kept"
        os.kill(keeper_of(used), signal.SIGKILL)
        eventually(lambda: not database.alive and not processes(used))
        version.write_text("9\n")
        with pytest.raises(StoreError):
            database.ensure()
    assert not processes(used)


def test_what_a_server_died_of_is_told_and_not_what_it_said_on_its_way_out(tmp_path: Path) -> None:
    log = tmp_path / "postgres.log"
    log.write_text(
        "2026-01-31 08:00:00.000 UTC [7] FATAL:  the database system is starting up\n"
        '2026-01-31 08:00:00.001 UTC [8] PANIC:  could not write to file "x": No space left on device\n'
        "2026-01-31 08:00:00.002 UTC [6] LOG:  startup process (PID 8) was terminated\n"
        * 2
        + "2026-01-31 08:00:00.003 UTC [6] LOG:  database system is shut down\n"
    )

    assert last_lines(log).endswith("No space left on device")
    assert last_lines(log, count=1).endswith("database system is shut down")


def test_killing_keeper_and_server_at_once_is_survived(used: Path) -> None:
    with EmbeddedPostgres.open(used) as database:
        remember(database.dsn, "kept")
        os.kill(server_of(used), signal.SIGKILL)
        kill_all(used)
    with EmbeddedPostgres.open(used) as database:
        assert remembered(database.dsn) == "kept"
    assert "not properly shut down" in database.log_path.read_text()


def test_a_server_that_is_killed_is_started_again_under_its_users(used: Path) -> None:
    with EmbeddedPostgres.open(used) as database:
        remember(database.dsn, "kept")
        server = server_of(used)
        os.kill(server, signal.SIGKILL)

        def answers() -> bool:
            with contextlib.suppress(psycopg.OperationalError):
                return ask(database.dsn, "SELECT 1") == 1 and server_of(used) != server
            return False

        eventually(answers)
        assert remembered(database.dsn) == "kept"
        assert database.alive
    assert processes(used) == {}


def test_an_orphaned_server_that_takes_its_time_is_waited_for(used: Path) -> None:
    user = User(used)
    remember(user.says(), "kept")
    server, keeper = server_of(used), keeper_of(used)
    os.kill(server, signal.SIGSTOP)
    os.kill(keeper, signal.SIGKILL)
    notes = []

    def go_on(note: str) -> None:
        notes.append(note)
        os.kill(server, signal.SIGCONT)

    with EmbeddedPostgres.open(used, on_wait=go_on) as database:
        assert remembered(database.dsn) == "kept"
        assert server_of(used) != server
    assert notes[0].startswith("waiting for the previous PostgreSQL server to stop")
    assert "not properly shut down" not in database.log_path.read_text()
    user.finish()


def test_a_busy_process_of_a_killed_server_is_ended_before_the_next_one_starts(used: Path) -> None:
    user = User(used)
    with psycopg.connect(user.says()) as connection:
        backend = connection.info.backend_pid
        connection.pgconn.send_query(b"DO $$ BEGIN LOOP END LOOP; END $$")
        eventually(lambda: b" DO" in Path(f"/proc/{backend}/cmdline").read_bytes())
        keeper = keeper_of(used)
        os.kill(keeper, signal.SIGSTOP)  # else it starts the server again
        for pid in (server_of(used), keeper):  # in this order, or the kernel tells the server to stop cleanly
            os.kill(pid, signal.SIGKILL)
        eventually(lambda: list(processes(used)) == [backend])
        with EmbeddedPostgres.open(used) as database:
            assert ask(database.dsn, "SELECT 1") == 1
            assert backend not in processes(used)
        connection.close()
    user.finish()


def test_a_keeper_told_to_stop_lets_its_users_finish(used: Path) -> None:
    user = User(used)
    dsn = user.says()
    os.kill(keeper_of(used), signal.SIGTERM)
    assert ask(dsn, "SELECT 1") == 1
    user.finish()
    assert processes(used) == {}
    assert "fast shutdown" in layout_of(used).log.read_text()


def test_an_initdb_killed_in_the_middle_is_begun_again(fresh: Path) -> None:
    user = User(fresh)
    eventually((fresh / "postgres/data.unfinished/base").exists)
    kill_all(fresh)
    assert user.says().startswith("refused")
    user.process.communicate()
    assert not (fresh / "postgres/data").exists()
    with EmbeddedPostgres.open(fresh) as database:
        assert ask(database.dsn, "SELECT 1") == 1
    assert not (fresh / "postgres/data.unfinished").exists()


def test_a_user_that_leaves_during_the_first_start_leaves_nothing_running(fresh: Path) -> None:
    user = User(fresh)
    eventually((fresh / "postgres/data.unfinished").exists)
    user.kill()
    eventually(lambda: not processes(fresh))
