"""The tokens of one owner in memory, behind a lock, as a database would have them."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from keepstep.integrations.tokens import TokenSet


class MemoryStore:
    """A ``TokenStore``; ``saved`` is everything that was put into it."""

    def __init__(self, tokens: TokenSet | None) -> None:
        self.tokens = tokens
        self.saved: list[TokenSet] = []
        self._lock = asyncio.Lock()

    async def load(self) -> TokenSet | None:
        return self.tokens

    @asynccontextmanager
    async def locked(self) -> AsyncIterator["MemoryStore"]:
        async with self._lock:
            yield self

    async def save(self, tokens: TokenSet) -> None:
        self.saved.append(tokens)
        self.tokens = tokens
