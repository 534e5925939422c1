"""What may happen between a mail client and its server: ways that break or fall silent, servers that are none."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Way:
    """A way to a server. ``cut_after``: so many bytes of the server's are let through, once; ``silent``: none are."""

    def __init__(self, port: int) -> None:
        self.there = port
        self.port = 0
        self.cut_after: int | None = None
        self.silent = False
        self.open = 0
        self.sessions = 0
        self._ends: set[asyncio.StreamWriter] = set()

    def cut(self) -> None:
        """Break every connection."""
        for writer in self._ends:
            writer.transport.abort()

    async def _client(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.open += 1
        self.sessions += 1
        there, back = await asyncio.open_connection("127.0.0.1", self.there)
        self._ends |= {writer, back}
        ways = [asyncio.ensure_future(self._up(reader, back)), asyncio.ensure_future(self._down(there, writer))]
        try:
            await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for way in ways:
                way.cancel()
            await asyncio.gather(*ways, return_exceptions=True)
            writer.transport.abort()
            back.transport.abort()
            self._ends -= {writer, back}
            self.open -= 1

    async def _up(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()

    async def _down(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(65536):
            if self.cut_after is not None:
                if len(data) >= self.cut_after:
                    writer.write(data[: self.cut_after])
                    await writer.drain()
                    self.cut_after = None
                    return
                self.cut_after -= len(data)
            if not self.silent:
                writer.write(data)
                await writer.drain()


@asynccontextmanager
async def way_to(port: int) -> AsyncIterator[Way]:
    """A way to a server on this machine, until the end of the block."""
    way = Way(port)
    server = await asyncio.start_server(way._client, "127.0.0.1", 0)
    way.port = server.sockets[0].getsockname()[1]
    try:
        yield way
    finally:
        server.close()


@asynccontextmanager
async def says(*answers: bytes) -> AsyncIterator[int]:
    """The port of a server that answers this: first to the connection, then to each line. ``TAG`` is the line's."""

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answers[0])
        for answer in answers[1:]:
            line = await reader.readline()
            if not line:
                break
            writer.write(answer.replace(b"TAG", line.split()[0]))
            await writer.drain()
        await reader.read()
        writer.close()

    server = await asyncio.start_server(client, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
