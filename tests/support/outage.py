"""A way to the database that can be closed: what a client sees of a server that is away."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import parse_qs, quote, unquote, urlsplit, urlunsplit

_CHUNK = 1 << 16


class Bridge:
    """Passes every byte on. ``close`` cuts whoever is connected and lets nobody in until ``open``."""

    def __init__(self, there: str, here: Path) -> None:
        self._there = there
        self._here = here
        self._server: asyncio.Server | None = None
        self._clients: set[asyncio.Task[None]] = set()
        self.refused = 0
        self.dsn = ""

    async def open(self) -> None:
        """Let clients through."""
        self._server = await asyncio.start_unix_server(self._client, self._here)

    async def close(self) -> None:
        """Cut everybody off."""
        assert self._server is not None
        self._server.close()
        self._here.unlink(missing_ok=True)
        for client in tuple(self._clients):
            client.cancel()
        await asyncio.gather(*self._clients, return_exceptions=True)

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._clients.add(task)
        back: asyncio.StreamWriter | None = None
        try:
            there, back = await asyncio.open_unix_connection(self._there)
            ways = [asyncio.ensure_future(_pass_on(reader, back)), asyncio.ensure_future(_pass_on(there, writer))]
            try:
                await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for way in ways:
                    way.cancel()
                await asyncio.gather(*ways, return_exceptions=True)
        except asyncio.CancelledError:
            pass
        finally:
            self._clients.discard(task)
            writer.transport.abort()
            if back is not None:
                back.transport.abort()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(ConnectionError):
        while chunk := await reader.read(_CHUNK):
            writer.write(chunk)
            await writer.drain()


@contextlib.asynccontextmanager
async def bridge_to(dsn: str) -> AsyncIterator[Bridge]:
    """An open bridge to the server of this DSN; ``Bridge.dsn`` leads over it."""
    parts = urlsplit(dsn)
    query = parse_qs(parts.query)
    name = f".s.PGSQL.{query['port'][0]}"
    with TemporaryDirectory(prefix="bridge-") as directory:
        bridge = Bridge(str(Path(unquote(query["host"][0]), name)), Path(directory, name))
        bridge.dsn = urlunsplit(parts._replace(query=f"host={quote(directory, safe='')}&port={query['port'][0]}"))
        await bridge.open()
        try:
            yield bridge
        finally:
            await bridge.close()
