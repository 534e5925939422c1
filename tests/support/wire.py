"""A wire to the database that can be cut in the moment of a commit: the server has it, its answer never arrives."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import parse_qs, quote, unquote, urlsplit, urlunsplit

_COMMIT = b"COMMIT\0"
_CHUNK = 1 << 20


class Wire:
    """Passes on every byte, until a transaction that holds certain words commits."""

    def __init__(self, socket: str) -> None:
        self._socket = socket
        self._words: list[bytes] = []
        self.cuts = 0
        self.dsn = ""

    def cut_at(self, word: str, *, times: int = 1) -> None:
        """Cut the connection once the next transactions with this word in them are committed."""
        self._words += [word.encode()] * times

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client, to its end."""
        there, back = await asyncio.open_unix_connection(self._socket)
        answers = asyncio.create_task(_pass_on(there, writer))
        said = bytearray()
        try:
            while chunk := await reader.read(_CHUNK):
                said += chunk
                if said.endswith(_COMMIT):
                    if self._wanted(bytes(said)):
                        await self._cut(there, back, writer, chunk, answers)
                        return
                    said.clear()
                back.write(chunk)
                await back.drain()
        except ConnectionError:
            pass
        finally:
            answers.cancel()
            await asyncio.gather(answers, return_exceptions=True)
            back.close()
            writer.close()

    def _wanted(self, said: bytes) -> bool:
        for word in self._words:
            if word in said:
                self._words.remove(word)
                return True
        return False

    async def _cut(
        self,
        there: asyncio.StreamReader,
        back: asyncio.StreamWriter,
        writer: asyncio.StreamWriter,
        commit: bytes,
        answers: "asyncio.Task[None]",
    ) -> None:
        """Let the server commit, and the client never know."""
        answers.cancel()
        await asyncio.gather(answers, return_exceptions=True)
        back.write(commit)
        await back.drain()
        assert b"COMMIT" in await there.read(_CHUNK)
        self.cuts += 1
        writer.transport.abort()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(ConnectionError):
        while chunk := await reader.read(_CHUNK):
            writer.write(chunk)
            await writer.drain()
    writer.close()


@asynccontextmanager
async def wire_to(dsn: str) -> AsyncIterator[Wire]:
    """A wire to the server of this DSN; ``Wire.dsn`` leads through it."""
    parts = urlsplit(dsn)
    query = parse_qs(parts.query)
    wire = Wire(str(Path(unquote(query["host"][0]), f".s.PGSQL.{query['port'][0]}")))
    with TemporaryDirectory(prefix="wire-") as directory:
        server = await asyncio.start_unix_server(wire.connected, Path(directory, f".s.PGSQL.{query['port'][0]}"))
        wire.dsn = urlunsplit(parts._replace(query=f"host={quote(directory, safe='')}&port={query['port'][0]}"))
        try:
            yield wire
        finally:
            server.close()
