"""``keepstep user`` and ``keepstep token``, as a person and a script meet them."""

import os
import pty
import subprocess
from collections.abc import Iterator

import pytest

from tests.system.command import SCRIPT, Keepstep, keepstep


@pytest.fixture(scope="module")
def command() -> Iterator[Keepstep]:
    with keepstep() as command, command.start("up", "--json") as running:  # one server for all of these commands
        running.until('"url"')
        yield command


def fed(command: Keepstep, *arguments: str, stdin: str) -> "subprocess.CompletedProcess[str]":
    """Run it with something on stdin."""
    return subprocess.run(
        [str(SCRIPT), *arguments], input=stdin, env=command.environment, capture_output=True, text=True, timeout=90
    )


def test_a_script_adds_changes_and_removes_a_user(command: Keepstep) -> None:
    added = fed(command, "user", "add", "ana", "--role", "operator", "--json", stdin="a few good words\n")
    assert added.returncode == 0, added.stderr
    assert '"name":"ana","role":"operator"' in added.stdout
    assert command("user", "change", "ANA", "--role", "admin").out == "ana is now admin.\n"
    [user] = command("user", "list", "--json").json
    assert (user["name"], user["role"], user["lastLoginAt"]) == ("ana", "admin", None)
    assert command("user", "remove", "ana").out == "ana is removed.\n"
    assert command("user", "list", "--json").json == []
    log = command.rows("SELECT action, payload FROM keepstep.admin_logs ORDER BY id")
    assert [line.split("|")[0] for line in log] == ["user.add", "user.change", "user.remove"]
    assert "good words" not in "".join(log) + added.stdout + added.stderr


@pytest.mark.parametrize(
    ("arguments", "stdin", "code", "says"),
    [
        (["user", "add", "eve", "--role", "owner"], "a few good words\n", 2, "no role 'owner'"),
        (["user", "add", "eve"], "", 2, "no password on stdin"),
        (["user", "add", "eve"], "short\n", 1, "fewer than 8"),
        (["token", "revoke", "nothing"], "", 2, "no token 'nothing'"),
    ],
)
def test_a_mistake_is_told_with_what_to_do(
    command: Keepstep, arguments: list[str], stdin: str, code: int, says: str
) -> None:
    ended = fed(command, *arguments, stdin=stdin)
    assert (ended.returncode, ended.stdout) == (code, "")
    assert says in ended.stderr
    assert "Fix:   " in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_person_is_asked_twice_and_sees_nothing_of_it(command: Keepstep) -> None:
    def typed(name: str, first: str, second: str) -> tuple[int, str]:
        child, terminal = pty.fork()
        if child == 0:
            os.execve(SCRIPT, [str(SCRIPT), "user", "add", name], {**command.environment, "TERM": "dumb"})  # noqa: S606
        seen = _until(terminal, "Password: ")
        os.write(terminal, f"{first}\n".encode())
        seen += _until(terminal, "Again: ")
        os.write(terminal, f"{second}\n".encode())
        seen += _until(terminal, None)
        return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), seen

    code, seen = typed("ben", "a few good words", "other words")
    assert (code, "two different passwords" in seen) == (2, True)
    code, seen = typed("ben", "a few good words", "a few good words")
    assert (code, "ben is viewer." in seen) == (0, True)
    assert "good words" not in seen


def test_a_token_is_printed_once_and_listed_without_itself(command: Keepstep) -> None:
    made = command("token", "create", "nightly-report", "--role", "operator")
    assert made.code == 0, made.err
    token = made.out.strip()
    assert token.startswith("keepstep_")
    listed = command("token", "list")
    assert "nightly-report" in listed.out
    assert token not in listed.out + command("token", "list", "--json").out
    assert command("token", "revoke", "Nightly-Report").out == "nightly-report is worth nothing now.\n"
    admin = command("token")
    assert command("token", "--json").json == {"token": admin.out.strip()}


def _until(terminal: int, words: str | None) -> str:
    """What the terminal shows until these words are there, or until its end."""
    seen = ""
    while words is None or words not in seen:
        try:
            part = os.read(terminal, 4096)
        except OSError:  # the other end is closed
            part = b""
        if not part:
            break
        seen += part.decode()
    return seen
