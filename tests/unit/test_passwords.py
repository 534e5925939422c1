"""Passwords: what is kept of them, and who learns what."""

import asyncio
import threading
from types import SimpleNamespace

import pytest

from keepstep.model.errors import BadRequest
from keepstep.service.passwords import AT_ONCE, Passwords, check_password


async def test_only_the_same_password_matches() -> None:
    passwords = Passwords()
    stored = await passwords.hash("a few good words")
    assert stored.startswith("$argon2id$")
    assert stored != await passwords.hash("a few good words")
    assert await passwords.matches(stored, "a few good words")
    assert not await passwords.matches(stored, "a few good words ")
    assert not await passwords.matches("no hash at all", "a few good words")


async def test_without_a_user_a_hash_is_compared_all_the_same_and_nothing_matches(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    passwords = Passwords()
    compared: list[str] = []
    verify = passwords._verify
    monkeypatch.setattr(passwords, "_verify", lambda stored, given: compared.append(stored) or verify(stored, given))
    assert not await passwords.matches(None, "nobody's")
    assert not await passwords.matches(None, "something else")
    assert [stored.rsplit("$", 2)[0] for stored in compared] == ["$argon2id$v=19$m=65536,t=3,p=4"] * 2


async def test_few_hashes_are_made_at_once_and_none_on_the_event_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    passwords = Passwords()
    running, most, threads, lock = 0, 0, set(), threading.Lock()
    both = threading.Barrier(AT_ONCE, timeout=30)

    def slow(_password: bytes) -> str:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
            threads.add(threading.current_thread())
        both.wait()
        with lock:
            running -= 1
        return ""

    monkeypatch.setattr(passwords, "_hasher", SimpleNamespace(hash=slow))
    await asyncio.gather(*(passwords.hash("x") for _ in range(3 * AT_ONCE)))
    assert most == AT_ONCE
    assert threading.main_thread() not in threads


@pytest.mark.parametrize("password", ["", "1234567", "x" * 1025, "Anaanaana"])
def test_a_password_that_is_too_easy_or_endless_is_refused(password: str) -> None:
    with pytest.raises(BadRequest) as refused:
        check_password(password, name="anaanaana")
    assert refused.value.fix


def test_a_good_one_is_not() -> None:
    check_password("12345678", name="ana")
    check_password("x" * 1024, name="ana")
