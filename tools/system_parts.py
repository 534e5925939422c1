"""Programs that the tests need and that no Python package brings: found on this machine, or unpacked under .venv.

``python tools/system_parts.py`` sees to it that all of them are there. What the machine has counts. What it lacks comes
from Debian's or Ubuntu's packages and is unpacked, not installed: that needs no root, starts no server, and changes
nothing outside .venv. Where that cannot be done it says what to install, and fails. Standard library only.
"""

import contextlib
import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from shlex import quote

PLACE = Path(__file__).parents[1] / ".venv/parts"
FONTS = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig><dir>{root}/usr/share/fonts</dir><cachedir>{root}/var/cache/fontconfig</cachedir></fontconfig>
"""
WRAPPER = """#!/bin/sh
LD_LIBRARY_PATH={libraries}${{LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}}
[ -e /etc/fonts/fonts.conf ] || export FONTCONFIG_FILE={root}/fonts.conf
export LD_LIBRARY_PATH
exec {program} "$@"
"""


class Missing(Exception):
    """A part is not there, and why it could not be had."""


@dataclass(frozen=True)
class Part:
    """One thing that the tests need.

    ``programs``: what must be there, the first one to be asked for its version. ``on_machine``: the directories that
    have all of them. ``packages``: of Debian. ``unpacked``: where they lie in those. ``by_hand``: how people elsewhere
    get it.
    """

    name: str
    programs: tuple[str, ...]
    on_machine: Callable[["Part"], Iterator[Path]]
    packages: Callable[[], tuple[str, ...]]
    unpacked: str
    by_hand: str

    def directory(self) -> Path | None:
        """Where its programs are, or None."""
        return next((place for place in (*self.on_machine(self), PLACE / self.name / "bin") if self.is_in(place)), None)

    def is_in(self, place: Path) -> bool:
        """Whether a directory has all of its programs."""
        return all(os.access(place / program, os.X_OK) for program in self.programs)


def _on_path(part: Part) -> Iterator[Path]:
    return (Path(place) for place in os.get_exec_path() if place)


def _servers_with_cron(_: Part) -> Iterator[Path]:
    """The directories of PostgreSQL servers that have pg_cron: on PATH, and where Debian hides them."""
    hidden = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda place: place.parent.name, reverse=True)
    for place in (*(Path(place) for place in os.get_exec_path() if place), *hidden):
        if not all(os.access(place / program, os.X_OK) for program in ("postgres", "pg_config")):
            continue
        with contextlib.suppress(Missing):
            if (Path(_run(str(place / "pg_config"), "--sharedir").strip()) / "extension/pg_cron.control").exists():
                yield place.resolve()


def _postgres_packages() -> tuple[str, ...]:
    """The server of the release's own major version, whatever it is."""
    told = _apt("apt-cache", "depends", "--important", "postgresql")
    found = re.search(r"Depends: (postgresql-\d+)$", told, re.MULTILINE)
    if found is None:
        raise Missing("the package postgresql names no version")
    return (found[1], f"{found[1]}-cron")


def _in_sbin(_: Part) -> Iterator[Path]:
    """PATH, and where servers lie that are not on the PATH of ordinary users."""
    return (Path(place) for place in (*os.get_exec_path(), "/usr/local/sbin", "/usr/sbin") if place)


PARTS = (
    Part(
        "pgbouncer", ("pgbouncer",), _on_path, lambda: ("pgbouncer",), "usr/sbin",
        "pgbouncer (Debian, Ubuntu, Fedora, Homebrew: the package pgbouncer)",
    ),
    Part(
        "postgres", ("postgres", "initdb"), _servers_with_cron, _postgres_packages, "usr/lib/postgresql/*/bin",
        "PostgreSQL with pg_cron (Debian, Ubuntu: postgresql-NN-cron; Fedora: pg_cron; elsewhere from its sources)",
    ),
    Part(
        "chromium", ("chromium",), _on_path, lambda: ("chromium",), "usr/lib/chromium",
        "chromium (Debian, Fedora, Homebrew: the package chromium; it must be on PATH under this name)",
    ),
    Part(
        "dovecot", ("dovecot",), _in_sbin, lambda: ("dovecot-imapd",), "usr/sbin",
        "Dovecot 2.3 (Debian 12, Ubuntu 24.04: the package dovecot-imapd; Fedora: dovecot)",
    ),
)  # fmt: skip


def places() -> list[Path]:
    """The directories of what was unpacked: for PATH."""
    return [PLACE / part.name / "bin" for part in PARTS]


def needed(program: str) -> Path:
    """Where a program is. Raises ``Missing`` with what to do."""
    for part in PARTS:
        if program in part.programs and (place := part.directory()) is not None:
            return place / program
    raise Missing(f"{program} is not here. To get what the tests need: python tools/system_parts.py")


def provide(part: Part) -> None:
    """Unpack a part. Raises ``Missing``."""
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        raise Missing("this machine has no apt-get, which it would come by")
    sys.stdout.write(f"Unpacking {part.name} under .venv (this changes nothing elsewhere).\n")
    sys.stdout.flush()
    PLACE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f"{part.name}-", dir=PLACE) as draft:
        root = Path(draft) / "root"
        root.mkdir()
        for package in _download(part.packages()):
            _run("dpkg-deb", "--extract", str(package), str(root))
        _wrap(part, root, PLACE / part.name / "root")
        Path(draft).chmod(0o755)
        shutil.rmtree(PLACE / part.name, ignore_errors=True)
        Path(draft).rename(PLACE / part.name)
        Path(draft).mkdir()  # for who made it to take away
    try:
        _run(str(PLACE / part.name / "bin" / part.programs[0]), "--version")
    except Missing:
        shutil.rmtree(PLACE / part.name)
        raise


def _download(packages: tuple[str, ...]) -> list[Path]:
    """The packages and what they depend on, as far as this machine lacks it."""
    told = _apt("apt-get", "--simulate", "--no-install-recommends", "install", *packages)
    lacking = {match[1]: match[2] for match in re.finditer(r"^Inst (\S+) (?:\[\S+\] )?\((\S+) ", told, re.MULTILINE)}
    there = [package for package in packages if package not in lacking]
    store = Path(_lists().place.name) / "packages"
    _apt("apt-get", "download", *(f"{name}={version}" for name, version in lacking.items()), *there, directory=store)
    return [found for name in (*lacking, *there) for found in store.glob(f"{name.partition(':')[0]}_*.deb")]


@dataclass(frozen=True)
class Lists:
    """Package lists of our own until the program ends: so no rights are needed, and the machine's may be old.

    ``trouble``: what could not be fetched. That may be a source which has nothing to do with us.
    """

    place: "tempfile.TemporaryDirectory[str]"
    trouble: str


@cache
def _lists() -> Lists:
    place = tempfile.TemporaryDirectory(prefix="keepstep-parts-")
    for name in ("lists/partial", "cache/archives/partial", "packages"):
        (Path(place.name) / name).mkdir(parents=True)
    done = _call(*_words(place.name, "apt-get", "update"))
    return Lists(place, done.stderr.strip().split("\n")[0])


def _apt(program: str, *words: str, directory: Path | None = None) -> str:
    lists = _lists()
    try:
        return _run(*_words(lists.place.name, program, *words), directory=directory)
    except Missing as error:
        raise Missing(f"{error} {lists.trouble}".strip()) from None


def _words(place: str, program: str, *words: str) -> list[str]:
    settings = (
        f"Dir::State={place}", f"Dir::State::lists={place}/lists", f"Dir::Cache={place}/cache",
        "Dir::State::status=/var/lib/dpkg/status", "APT::Sandbox::User=root", "Acquire::Retries=3",
    )  # fmt: skip
    return [program, *(word for setting in settings for word in ("-o", setting)), "--quiet=2", *words]


def _wrap(part: Part, root: Path, final: Path) -> None:
    """Small scripts that start the programs where they have come to lie, with the libraries that came along."""
    inside = next(root.glob(part.unpacked), None)
    if inside is None:
        raise Missing(f"its packages have no {part.unpacked} (where chromium is a snap, they only pretend to have it)")
    (root / "fonts.conf").write_text(FONTS.format(root=final))
    folders = sorted({found.parent.relative_to(root) for found in root.rglob("lib*.so*")})
    libraries = ":".join(str(final / folder) for folder in folders if "postgresql" not in folder.parts)
    (root.parent / "bin").mkdir()
    for program in part.programs:
        script = root.parent / "bin" / program
        where = final / inside.relative_to(root) / program
        script.write_text(WRAPPER.format(libraries=quote(libraries), root=quote(str(final)), program=quote(str(where))))
        script.chmod(script.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)


def _run(*command: str, directory: Path | None = None) -> str:
    """What a command says. Raises ``Missing`` when it fails."""
    done = _call(*command, directory=directory)
    if done.returncode:
        said = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise Missing(f"{Path(command[0]).name} failed: {' '.join(said[:2]) or f'exit code {done.returncode}'}")
    return done.stdout


def _call(*command: str, directory: Path | None = None) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=directory, env=environment)  # noqa: S603


def main() -> int:
    """Provide what is not there; 1 when something cannot be had."""
    failed: dict[Part, str] = {}
    for part in PARTS:
        try:
            if part.directory() is None:
                provide(part)
        except (Missing, OSError) as error:
            failed[part] = str(error)
    if not failed:
        return 0
    why = "\n".join(f"  {part.name}: {reason}" for part, reason in failed.items())
    how = "\n".join(f"  - {part.by_hand}" for part in failed)
    sys.stderr.write(
        f"\nThe tests cannot run: not all that they need is here, and it could not be fetched.\n{why}\n"
        f"Install this by hand, then try again:\n{how}\n"
        "Tests that need none of it run all the same: .venv/bin/python -m pytest tests/unit\n"
    )
    return 1


if __name__ == "__main__":
    sys.exit(main())
