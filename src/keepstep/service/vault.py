"""Credentials at rest: encrypted with KEEPSTEP_SECRET_KEY, readable by whoever has one of its keys.

The first key encrypts, all of them decrypt; ``Credentials.rotate`` puts everything under the first.
"""

import asyncio
import base64
import binascii
import contextlib
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from keepstep.model.errors import BadRequest, Conflict, NotFound, StoreError
from keepstep.service.audit import Audit
from keepstep.service.schedules import Schedules
from keepstep.service.shapes import Shape
from keepstep.store import connections as store
from keepstep.store import sealed
from keepstep.store.db import Connection, Database

LONGEST = 4096
_LOOKED_AT, _AT_ONCE = 20, 500
Values = Mapping[str, str]


class Vault:
    """Encrypts and decrypts. ``keys`` is asked at the first use; the first key that it gives encrypts."""

    def __init__(self, keys: Callable[[], Sequence[str]]) -> None:
        self._keys = keys

    def seal(self, values: Values, *, owner: str) -> bytes:
        """The values, encrypted; only what is opened for the same ``owner`` opens."""
        return self._all.encrypt(json.dumps({"for": owner, "values": dict(values)}).encode())

    def unseal(self, sealed: bytes, *, owner: str) -> dict[str, str]:
        """The values. Raises ``StoreError`` when none of the keys fits."""
        try:
            content = json.loads(self._all.decrypt(sealed))
        except InvalidToken:
            raise _no_key_fits(owner) from None
        if content["for"] != owner:
            raise StoreError(
                f"The stored credentials of {owner} were stored for {content['for']}.", fix="Set them again."
            )
        return dict(content["values"])

    def renewed(self, sealed: bytes, *, owner: str) -> bytes | None:
        """The same under the first key; None where it is already. Raises ``StoreError``."""
        try:
            self._first.decrypt(sealed)
        except InvalidToken:
            return self.seal(self.unseal(sealed, owner=owner), owner=owner)
        return None

    @property
    def has_one_key(self) -> bool:
        """Whether there is nothing to rotate between."""
        return len(self._ciphers) == 1

    @cached_property
    def _ciphers(self) -> list[Fernet]:
        return [Fernet(_cipher_key(key)) for key in self._keys()]

    @property
    def _first(self) -> Fernet:
        return self._ciphers[0]

    @cached_property
    def _all(self) -> MultiFernet:
        return MultiFernet(self._ciphers)


class CredentialsSet(Shape):
    """That an integration has stored credentials: their names, never their values."""

    integration: str
    names: list[str]
    set_at: datetime


@dataclass(frozen=True, slots=True)
class Credentials:
    """Stored credentials of integrations.

    ``names``: what each integration takes. ``locked``: for an integration whose credentials the environment gives, the
    variable that does. ``schedules`` begin when an integration gets credentials, and rest when it loses them.
    """

    database: Database
    vault: Vault
    audit: Audit
    names: Mapping[str, Sequence[str]]
    locked: Mapping[str, str]
    schedules: Schedules

    async def all(self) -> tuple[dict[str, dict[str, str]], dict[str, StoreError]]:
        """The shared connections' credentials by integration, and why those of others could not be decrypted."""
        async with self.database.connection() as connection:
            rows = await store.with_credentials(connection)
        found: dict[str, dict[str, str]] = {}
        failed = {}
        for row in rows:
            if row["owner_id"] is None:
                try:
                    # Beside the event loop: the first use of a key takes a while.
                    found[row["integration"]] = await asyncio.to_thread(
                        self.vault.unseal, bytes(row["credentials"]), owner=row["integration"]
                    )
                except StoreError as error:
                    failed[row["integration"]] = error
        return found, failed

    async def unreadable(self) -> tuple[int, list[str]]:
        """How many secrets were looked at, and the names of those that no key opens. Of owners' the newest few do."""
        async with self.database.connection() as connection:
            stored = await sealed.everything(connection, owners=_LOOKED_AT)
        names = []
        for one in stored:
            try:
                await asyncio.to_thread(self.vault.unseal, one.sealed, owner=one.owner)
            except StoreError:
                names.append(one.owner)
        return len(stored), names

    async def put(self, integration: str, values: Values, *, by: str) -> CredentialsSet:
        """Store credentials in place of those that are there.

        Raises ``NotFound`` for an unknown integration, ``BadRequest`` for values that it does not take, ``Conflict``
        where the environment gives them.
        """
        self._check(integration)
        taken = self._checked(integration, values)
        secret = await asyncio.to_thread(self.vault.seal, taken, owner=integration)
        async with self.database.connection() as connection, connection.transaction():
            row = await store.put_credentials(connection, integration, secret)
            payload = {"integration": integration, "credentials": dict(taken)}
            await self.audit.record(by, "credentials.set", payload, "done", within=connection)
        await self.schedules.awaken(integration)
        return CredentialsSet(integration=integration, names=sorted(taken), set_at=row["credentials_set_at"])

    async def remove(self, integration: str, *, by: str) -> None:
        """Forget credentials. Raises ``NotFound`` when none are stored, else as ``put``."""
        self._check(integration)
        async with self.database.connection() as connection, connection.transaction():
            if not await store.remove_credentials(connection, integration):
                raise NotFound(f"No credentials of {integration} are stored.", fix="There is nothing to remove.")
            await self.audit.record(by, "credentials.remove", {"integration": integration}, "done", within=connection)
        await self.schedules.rest(integration)

    async def rotate(self) -> int:
        """Put everything that other keys encrypt, secret settings too, under the first key; gives how many.

        What no key opens stays as it is: whoever reads it says what is wrong.
        """
        if self.vault.has_one_key:  # what it does not open, no other one does
            return 0
        async with self.database.connection() as connection:
            renewed = await self._renew(connection, await sealed.everything(connection, owners=0))
            after = "0"
            while page := await sealed.owned(connection, after=after, limit=_AT_ONCE):
                renewed += await self._renew(connection, page)
                after = page[-1].id
        return renewed

    async def _renew(self, connection: Connection, stored: Sequence[sealed.Sealed]) -> int:
        renewed = 0
        for one in stored:
            with contextlib.suppress(StoreError):
                new = await asyncio.to_thread(self.vault.renewed, one.sealed, owner=one.owner)
                renewed += new is not None and await sealed.renew(connection, one, new)
        return renewed

    def _check(self, integration: str) -> None:
        if integration not in self.names:
            raise NotFound(f"There is no integration {integration}.", fix=f"Known are: {', '.join(self.names)}.")
        if variable := self.locked.get(integration):
            raise Conflict(
                f"The credentials of {integration} are set by the environment ({variable}).",
                fix=f"Set by environment: change {variable}, or unset it to keep them here.",
            )

    def _checked(self, integration: str, values: Values) -> dict[str, str]:
        known = self.names[integration]
        if set(values) != set(known):
            raise BadRequest(
                f"{integration} takes exactly these credentials: {', '.join(known)}.", fix="Give each of them, once."
            )
        taken = {name: values[name].strip() for name in known}
        for name, value in taken.items():
            if not value or len(value) > LONGEST or not value.isprintable():
                raise BadRequest(
                    f"{name} is empty, longer than {LONGEST} characters, or holds characters that nobody can see.",
                    fix="Copy it again, without line breaks.",
                )
        return taken


def _cipher_key(key: str) -> bytes:
    """A Fernet key as it is; any other text by way of scrypt, as people may take a phrase."""
    try:
        if len(base64.urlsafe_b64decode(key.encode())) == 32 and len(key) == 44:
            return key.encode()
    except (binascii.Error, ValueError):
        pass
    # The salt is fixed: the key alone must do, on every machine.
    derived = hashlib.scrypt(key.encode(), salt=b"keepstep credentials", n=2**14, r=8, p=1, dklen=32)
    return base64.urlsafe_b64encode(derived)


def _no_key_fits(owner: str) -> StoreError:
    return StoreError.named("secret-key-changed", facts={"integration": owner})
