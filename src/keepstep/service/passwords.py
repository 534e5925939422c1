"""Passwords: hashed with argon2id, beside the event loop, few at a time."""

import asyncio
import unicodedata

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from keepstep.model.errors import BadRequest

SHORTEST = 8
LONGEST = 1024
AT_ONCE = 2
"""A hash takes 64 MiB and much of a core: a flood of logins must wait in line."""


class Passwords:
    """Hashes and compares."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher()  # argon2id with RFC 9106's second recommended option
        self._line = asyncio.Semaphore(AT_ONCE)
        self._nobodys = ""

    async def hash(self, password: str) -> str:
        """What is stored of a password."""
        async with self._line:
            return await asyncio.to_thread(self._hasher.hash, _bytes(password))

    async def matches(self, stored: str | None, password: str) -> bool:
        """Whether this is the password. It takes as long where there is none: nobody learns who exists."""
        if not self._nobodys:
            self._nobodys = await self.hash("nobody's")
        async with self._line:
            return await asyncio.to_thread(self._verify, stored or self._nobodys, password) and stored is not None

    def is_outdated(self, stored: str) -> bool:
        """Whether a hash was made with other parameters than today's."""
        return self._hasher.check_needs_rehash(stored)

    def _verify(self, stored: str, password: str) -> bool:
        try:
            return self._hasher.verify(stored, _bytes(password))
        except (VerificationError, InvalidHashError):
            return False


def check_password(password: str, *, name: str) -> None:
    """Raises ``BadRequest`` for a password that is too short, too long, or the user's name."""
    if len(password) < SHORTEST:
        raise BadRequest(
            f"The password has fewer than {SHORTEST} characters.",
            fix="Take a longer one; a few words are easy to keep.",
        )
    if len(password) > LONGEST:
        raise BadRequest(f"The password has more than {LONGEST} characters.", fix="Take a shorter one.")
    if password.casefold() == name.casefold():
        raise BadRequest("The password is the user's name.", fix="Take another one.")


def _bytes(password: str) -> bytes:
    # The same letters come in different code points from different keyboards.
    return unicodedata.normalize("NFKC", password).encode("utf-8", "surrogatepass")
