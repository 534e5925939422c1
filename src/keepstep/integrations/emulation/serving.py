"""A web server for an emulator: what it answers goes out as it is, or breaks off where it is told to."""

import contextlib
import ipaddress
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable

from aiohttp import web

from keepstep.integrations.emulation.answers import Answer

Handle = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
_RESET_ON_CLOSE = struct.pack("ii", 1, 0)


@contextlib.asynccontextmanager
async def serving(handle: Handle, host: str, port: int) -> AsyncIterator[str]:
    """Serve while the block lasts; gives the origin. Port 0 takes a free one. Raises ``OSError``."""
    server = web.Server(handle, handler_cancellation=True, access_log=None)
    runner = web.ServerRunner(server, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        bound = runner.addresses[0]
        yield f"http://{f'[{host}]' if ':' in host else host}:{bound[1]}"
    finally:
        await runner.cleanup()


async def sent(request: web.BaseRequest, answer: Answer, *, date: str) -> web.StreamResponse:
    """An answer on its way, whole or cut."""
    headers = {"Content-Type": answer.content_type, "Date": date, **answer.headers}
    if answer.cut is None:
        return web.Response(body=answer.body, status=answer.status, headers=headers)
    response = web.StreamResponse(status=answer.status, headers=headers)
    response.content_length = len(answer.body)
    await response.prepare(request)
    await response.write(answer.body[: answer.cut])
    if request.transport is not None:
        request.transport.close()
    return response


async def form_of(request: web.BaseRequest) -> dict[str, str]:
    """The fields of a form; none where a request is no POST."""
    if request.method != "POST":
        return {}
    return {name: value for name, value in (await request.post()).items() if isinstance(value, str)}


def broken(request: web.BaseRequest, *, hard: bool) -> web.StreamResponse:
    """Break the connection instead of answering: with a reset, or by closing it in silence."""
    transport = request.transport
    if transport is not None:
        connection = transport.get_extra_info("socket")
        if hard and connection is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        transport.abort()
    return web.Response()


def is_loopback(remote: str | None) -> bool:
    """Whether a caller is on this machine."""
    try:
        return remote is not None and ipaddress.ip_address(remote).is_loopback
    except ValueError:
        return False
