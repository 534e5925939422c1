"""``keepstep up``: the process that is always on."""

import asyncio
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import typer

from keepstep.cli import arguments, render
from keepstep.cli.parts import Parts, Site, parts_of
from keepstep.cli.session import opened
from keepstep.cli.signals import drive

if TYPE_CHECKING:
    from structlog.typing import FilteringBoundLogger


def up(context: typer.Context, json: arguments.Json = False) -> None:
    """Serve: the database, and so far the health check on the web, until Ctrl-C."""
    parts = parts_of(context)
    with place(parts) as site:
        drive(_serve(parts, site, json=json))


@contextmanager
def place(parts: Parts) -> Iterator[Site]:
    """The right to serve this home, and the port to do it on. Raises ``BadRequest`` where either is taken."""
    from keepstep.service.home import Serving

    with closing(Serving(parts.home)) as right, closing(parts.site()) as site:
        right.announce(f"process {os.getpid()}, {site.url}")
        yield site


async def _serve(parts: Parts, site: Site, *, json: bool) -> None:
    log = journal()
    for advice in parts.setup().warnings:
        log.warning(advice.message, about=advice.about, fix=advice.fix)
    async with opened(parts) as service, site.serving():
        if json:
            render.emit(
                {"url": site.url, "healthz": f"{site.url}/healthz", "embedded": service.embedded}, one_line=True
            )
        else:
            render.say(f"Keepstep serves {site.url}/healthz; Ctrl-C ends it.")
        log.info("up", url=site.url, database="embedded" if service.embedded else "yours", home=str(parts.home))
        try:
            await asyncio.Event().wait()
        finally:
            log.info("stopping")


def journal() -> "FilteringBoundLogger":
    """The log, on stderr: for people on a terminal, else one line of JSON for each event."""
    import structlog

    terminal = sys.stderr.isatty()
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.dev.ConsoleRenderer() if terminal else structlog.processors.JSONRenderer(ensure_ascii=False),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    log: FilteringBoundLogger = structlog.get_logger()
    return log
