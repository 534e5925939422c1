"""The processes that are always on: everything in one, or the web and the workers apart."""

import asyncio
import os
import sys
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack, closing, contextmanager, nullcontext
from typing import TYPE_CHECKING, Annotated, Any

import typer

from keepstep.cli import arguments, render
from keepstep.cli.parts import Parts, Site, parts_of
from keepstep.cli.session import opened
from keepstep.cli.signals import drive

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger

    from keepstep.service.core import Service

PATIENCE = 120.0
"""Seconds without a database after which a worker of its own gives up: whoever supervises it starts it again."""
Concurrency = Annotated[int, typer.Option("--concurrency", min=1, max=64, help="Runs at the same time.")]


def up(context: typer.Context, concurrency: Concurrency = 4, json: arguments.Json = False) -> None:
    """Do everything in one process: database, web, schedules and runs, until Ctrl-C."""
    parts = parts_of(context)

    async def serve(site: Site) -> None:
        async with AsyncExitStack() as stack:
            service = await stack.enter_async_context(opened(parts, stays=True))
            log = await _begin(parts, service)
            work = await stack.enter_async_context(parts.working(service, concurrency=concurrency, patience=None))
            await stack.enter_async_context(site.serving(service))
            _announce(service, site, json=json)
            log.info("up", url=site.url, database="embedded" if service.embedded else "yours", home=str(parts.home))
            await work

    with place(parts) as site:
        _until_told(parts, lambda: serve(site))


def web(context: typer.Context, json: arguments.Json = False) -> None:
    """Serve the web only: runs are the business of "keepstep worker" on the same database."""
    parts = parts_of(context)

    async def serve(site: Site) -> None:
        async with AsyncExitStack() as stack:
            service = await stack.enter_async_context(opened(parts, stays=True))
            log = await _begin(parts, service)
            await stack.enter_async_context(parts.looked_after(service))
            await stack.enter_async_context(site.serving(service))
            _announce(service, site, json=json)
            log.info("web", url=site.url)
            await asyncio.Event().wait()

    with closing(parts.site()) as site:
        _until_told(parts, lambda: serve(site))


def worker(context: typer.Context, concurrency: Concurrency = 4, json: arguments.Json = False) -> None:
    """Dispatch schedules and perform runs, without a web server. Ends with 1 when it cannot go on."""
    parts = parts_of(context)

    async def serve() -> None:
        async with AsyncExitStack() as stack:
            service = await stack.enter_async_context(opened(parts, stays=True))
            log = await _begin(parts, service)
            work = await stack.enter_async_context(parts.working(service, concurrency=concurrency, patience=PATIENCE))
            if json:
                render.emit({"pid": os.getpid(), "concurrency": concurrency}, one_line=True)
            log.info("worker", concurrency=concurrency)
            await work

    _until_told(parts, serve)


@contextmanager
def place(parts: Parts) -> Iterator[Site]:
    """The right to serve this home, and the port to do it on. Raises ``BadRequest`` where either is taken, and names
    the home first: a second ``up`` usually wants the same port too.

    On a database of the user's own any number of processes may serve: the home holds no more than secrets then.
    """
    from keepstep.service.home import Serving

    with closing(Serving(parts.home)) if parts.embedded else nullcontext() as right, closing(parts.site()) as site:
        if right is not None:
            right.announce(f"process {os.getpid()}, {site.url}")
        yield site


def journal(parts: Parts) -> "FilteringBoundLogger":
    """The log, on stderr: for people on a terminal, else one line of JSON for each event."""
    from keepstep.reliability.journal import configure

    return configure(sys.stderr, terminal=sys.stderr.isatty(), secrets=lambda: parts.secrets)


def _until_told(parts: Parts, serve: Callable[[], Coroutine[Any, Any, None]]) -> None:
    journal(parts)
    with parts.traced():  # around the event loop: a collector that is away blocks at the end
        drive(serve())


async def _begin(parts: Parts, service: "Service") -> "FilteringBoundLogger":
    """Say what is wrong with the settings and with the way to the database; gives the log."""
    import structlog

    from keepstep.service.checkup import ways

    log: FilteringBoundLogger = structlog.get_logger()
    for advice in (await service.preferences.setup()).warnings:
        log.warning(advice.message, about=advice.about, fix=advice.fix)
    for finding in await ways(service.database):
        log.warning(finding.message, about=finding.name, fix=finding.fix)
    return log


def _announce(service: "Service", site: Site, *, json: bool) -> None:
    told: dict[str, Any] = {"url": site.url, "healthz": f"{site.url}/healthz", "embedded": service.embedded}
    if json:
        render.emit(told, one_line=True)
    else:
        render.say(f"Keepstep serves {site.url} (health: {site.url}/readyz); Ctrl-C ends it.")
