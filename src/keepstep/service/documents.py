"""Documents kept for people to look at: encrypted at rest, found by their content."""

import asyncio
import contextlib
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from cryptography.fernet import Fernet, InvalidToken

from keepstep.model.document import Document
from keepstep.model.errors import NotFound, StoreError
from keepstep.service.vault import Vault
from keepstep.store import documents
from keepstep.store.db import Database
from keepstep.store.documents import SealedContent

_KEYS_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Documents:
    """Every document has a key of its own, which the vault seals."""

    database: Database
    vault: Vault

    async def keep(self, integration: str, document: Document) -> int:
        """Keep a document, or note that it came again; gives its id."""
        async with self.database.connection() as connection, connection.transaction():
            known = await documents.known(connection, document.hash)
            content = None if known else await asyncio.to_thread(self._sealed, document)
            return await documents.put(connection, integration, document, content)

    async def newest(
        self, *, integration: str | None = None, report: str | None = None, state: str | None = None, limit: int = 50
    ) -> list[dict[str, Any]]:
        """What came last, newest first, without its bytes."""
        async with self.database.connection() as connection:
            return await documents.newest(connection, integration=integration, report=report, state=state, limit=limit)

    async def one(self, document_id: int) -> dict[str, Any]:
        """What came under this id, without its bytes. Raises ``NotFound``."""
        async with self.database.connection() as connection:
            found = await documents.one(connection, document_id)
        if found is None:
            raise NotFound(f"There is no document {document_id}.", fix="It was too old, or it never came.")
        return found

    async def open(self, hash_: str) -> bytes:
        """A document's bytes, proven to be those that came. Raises ``NotFound``, ``StoreError``."""
        async with self.database.connection() as connection:
            content = await documents.content(connection, hash_)
        if content is None:
            raise NotFound("This document is not kept.", fix="It was too old, or it never came.")
        return await asyncio.to_thread(self._opened, hash_, content)

    async def rotate(self) -> int:
        """Put the keys of all documents under the first secret key; gives how many were not. Those that no secret key
        opens stay as they are.
        """
        renewed, after = 0, ""
        while True:
            async with self.database.connection() as connection:
                found = await documents.keys(connection, after=after, limit=_KEYS_AT_ONCE)
                for hash_, old, new in await asyncio.to_thread(self._renewed, found):
                    renewed += await documents.renew_key(connection, hash_, old=old, new=new)
            if len(found) < _KEYS_AT_ONCE:
                return renewed
            after = found[-1][0]

    def _sealed(self, document: Document) -> SealedContent:
        key = Fernet.generate_key()
        return SealedContent(
            Fernet(key).encrypt(document.body), self.vault.seal({"key": key.decode()}, owner=_owner(document.hash))
        )

    def _opened(self, hash_: str, content: SealedContent) -> bytes:
        key = self.vault.unseal(content.key, owner=_owner(hash_))["key"]
        try:
            body = Fernet(key).decrypt(content.sealed)
        except InvalidToken:
            raise _spoiled() from None
        if hashlib.sha256(body).hexdigest() != hash_:
            raise _spoiled()
        return body

    def _renewed(self, found: Sequence[tuple[str, bytes]]) -> list[tuple[str, bytes, bytes]]:
        renewed = []
        for hash_, old in found:
            with contextlib.suppress(StoreError):
                if (new := self.vault.renewed(old, owner=_owner(hash_))) is not None:
                    renewed.append((hash_, old, new))
        return renewed


def _owner(hash_: str) -> str:
    """What a document's key is sealed for."""
    return f"document {hash_}"


def _spoiled() -> StoreError:
    return StoreError("The kept document is not what came.", fix="Somebody altered the table; fetch the report anew.")
