"""Serving HTTP inside a process that has other things to do as well."""

import asyncio
import contextlib
import errno
import gc
import logging
import resource
import socket
from collections.abc import AsyncIterator, Iterator

import uvicorn
from fastapi import FastAPI

from keepstep.model.errors import BadRequest

_FILES = 8192
_TICK = 1.0
_YOUNG = 10_000
"""Objects that may come before garbage is looked for. A round of the live feed makes a few thousand and drops them
at once: with Python's 700 a fifth of its time goes into looking at every connection over and over.
"""
_MOST_SILENCE_MS = 60_000
"""A browser that takes nothing of what was sent for so long is cut off: else its place in the live feed stays taken."""

_KEPT_ALIVE = 75
"""Seconds that an idle connection stays: longer than proxies keep theirs (60), which would send into one that ends."""


class Place:
    """A host and a port that are ours; whatever application is ``serving`` is found there."""

    def __init__(self, host: str, port: int) -> None:
        """Takes the place at once. Raises ``BadRequest`` where that is not possible, with what to change."""
        self._listening = _listen(host, port)
        host, port = self._listening.getsockname()[:2]
        self.url = f"http://{f'[{host}]' if ':' in host else host}:{port}"

    @contextlib.asynccontextmanager
    async def answering(self, app: FastAPI) -> AsyncIterator[None]:
        """Answer while the block lasts; requests under way are answered before it ends."""
        logging.getLogger("uvicorn").setLevel(logging.WARNING)
        _look_for_garbage_less()
        config = uvicorn.Config(
            app, log_config=None, access_log=False, lifespan="off", timeout_graceful_shutdown=3,
            timeout_keep_alive=_KEPT_ALIVE,
        )  # fmt: skip
        server = _Server(config)
        serve = asyncio.create_task(server.serve(sockets=[self._listening]))
        try:
            yield
        finally:
            server.end()
            await serve

    def close(self) -> None:
        """Give up the place."""
        self._listening.close()


class Site(Place):
    """A web application and the place where it is found."""

    def __init__(self, app: FastAPI, host: str, port: int) -> None:
        """Takes the place at once. Raises ``BadRequest`` as ``Place`` does."""
        super().__init__(host, port)
        self._app = app

    def serving(self) -> contextlib.AbstractAsyncContextManager[None]:
        """Answer while the block lasts."""
        return self.answering(self._app)


class _Server(uvicorn.Server):
    """Leaves signals to whoever runs it, and the processor to others: as it comes it wakes up ten times a second."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._ended = asyncio.Event()

    def end(self) -> None:
        """Answer what is under way, then nothing more."""
        self.should_exit = True
        self._ended.set()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def main_loop(self) -> None:
        """Until the end, with the time of day in the headers of answers, which has seconds."""
        while not await self.on_tick(0):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_TICK):
                    await self._ended.wait()


def _listen(host: str, port: int) -> socket.socket:
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        listening = socket.create_server(address[:2], family=family, backlog=1024)
    except socket.gaierror:
        raise BadRequest(f"This machine does not know the host {host}.", fix="Correct KEEPSTEP_HOST.") from None
    except OSError as error:
        raise _refusal(error, host, port) from None
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux; what is accepted inherits it
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _MOST_SILENCE_MS)
    _allow_many_connections()
    return listening


def _look_for_garbage_less() -> None:
    """What is there by now, modules and routes, stays for the life of the process: it need not be looked at again."""
    gc.freeze()
    gc.set_threshold(_YOUNG, *gc.get_threshold()[1:])


def _allow_many_connections() -> None:
    """The usual soft limit of 1,024 open files is less than a live feed's browsers need."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _FILES if hard == resource.RLIM_INFINITY else min(_FILES, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _refusal(error: OSError, host: str, port: int) -> BadRequest:
    match error.errno:
        case errno.EADDRINUSE:
            other = port + 1 if port < 65535 else 0
            return BadRequest(
                f"Port {port} on {host} is taken by another program.",
                fix=f"End that program, or take another port, for example: KEEPSTEP_PORT={other}",
            )
        case errno.EACCES:
            return BadRequest(f"This user may not listen on port {port}.", fix="Set KEEPSTEP_PORT to 1024 or more.")
        case errno.EADDRNOTAVAIL:
            return BadRequest(
                f"{host} is not an address of this machine.", fix="Set KEEPSTEP_HOST to one, or to 0.0.0.0 for all."
            )
        case _:
            return BadRequest(
                f"Keepstep cannot listen on {host} port {port}: {error.strerror}.",
                fix="Correct KEEPSTEP_HOST and KEEPSTEP_PORT.",
            )
