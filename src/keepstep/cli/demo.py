"""``keepstep demo``: everything against an emulated DoorLoop, on the embedded database."""

import os
import secrets
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from keepstep.cli import arguments, render, report
from keepstep.cli.emulate import changing, usage
from keepstep.cli.parts import Parts, Site, parts_of
from keepstep.cli.session import opened
from keepstep.cli.signals import drive
from keepstep.cli.sync import DEMO_MARK, perform, shower
from keepstep.cli.up import journal, place
from keepstep.integrations.emulators import emulators
from keepstep.model.errors import BadRequest, StoreError

if TYPE_CHECKING:
    from keepstep.service.core import Service

KEY = "doorloop"
USER = "demo"
_MARK_WORDS = "The tables of this home hold the invented records of `keepstep demo`.\n"


def demo(
    context: typer.Context,
    once: Annotated[bool, typer.Option("--once", help="Sync, print the summary and exit.")] = False,
    json: arguments.Json = False,
) -> None:
    """See it work: an emulated DoorLoop arrives in a real PostgreSQL, page by page."""
    parts = parts_of(context)
    if once:
        code = drive(_demonstrate(parts, None, json=json))
        raise typer.Exit(code)
    with place(parts) as site:
        drive(_demonstrate(parts, site, json=json))


async def _demonstrate(parts: Parts, site: Site | None, *, json: bool) -> int:
    """Sync everything; with a site to serve, stay until cancelled. Gives the exit code."""
    from keepstep.integrations.doorloop.emulator.server import DoorLoopEmulator
    from keepstep.model.integration import Mode
    from keepstep.model.run import RunRequest

    emulator = DoorLoopEmulator()
    async with AsyncExitStack() as stack:
        base_url = await stack.enter_async_context(emulator.serve())
        emulated = parts.demonstration(base_url, emulator.options.api_key)
        service = await stack.enter_async_context(opened(emulated, stays=site is not None))
        await _claim(parts.home, service)
        if site is not None:
            await stack.enter_async_context(site.serving(service))
        render.note(f"An emulated DoorLoop with invented data answers at {base_url}")
        entities = tuple(entity.name for entity in parts.registered[KEY].entities)
        request = RunRequest(entities, Mode.BACKFILL, actor=arguments.actor())
        ended = await perform(service, KEY, request, shower(json=json))
        if site is not None:
            _suggest(parts, site, base_url, emulator.options)
            await _welcome(service, site)
            journal(emulated)
            await (await stack.enter_async_context(emulated.working(service, concurrency=2, patience=None)))
    return report.exit_code(ended)


async def _claim(home: Path, service: "Service") -> None:
    """Mark the home as the demo's. Raises ``BadRequest`` where its tables hold somebody's own records."""
    mark = home / DEMO_MARK
    if mark.exists():
        return
    if await service.views.runs(limit=1):
        raise BadRequest(
            f"The tables in {home} hold records that are not the demo's.",
            fix="Give the demo a place of its own: KEEPSTEP_HOME=.keepstep-demo keepstep demo",
        )
    try:
        mark.write_text(_MARK_WORDS, encoding="ascii")
    except OSError as error:
        raise StoreError(f"{mark} cannot be written: {error.strerror}.", fix=f"Make {home} writable.") from None


async def _welcome(service: "Service", site: Site) -> None:
    """Say how to get to the page: the demo's user gets a new password with every start, and nobody else knows it."""
    from keepstep.model.schedule import Role

    password, by = secrets.token_urlsafe(9), arguments.actor()
    known = await service.accounts.user_named(USER)
    if known is None:
        await service.accounts.add_user(USER, password, Role.ADMIN, by=by)
    else:
        await service.accounts.change_user(known.id, role=Role.ADMIN, password=password, by=by)
    render.note("")
    render.note(f"The control center: {site.url}/systems/integrations", style="bold")
    render.note(f"  sign in as {USER} with the password {password}")


def _suggest(parts: Parts, site: Site, base_url: str, options: Any) -> None:
    """What to try next, in another terminal."""
    emulated = emulators()[KEY]
    control = base_url.removesuffix(emulated.path) + "/_emulator"
    home = [] if os.environ.get("KEEPSTEP_HOME", "") == "" else [f"export KEEPSTEP_HOME={parts.home}"]
    own_database = [] if parts.embedded else ["unset DATABASE_URL   # the demo leaves yours alone"]
    steps = [
        *own_database, *home, *usage(emulated, base_url, options),
        "keepstep db psql -c 'select name, status, total_balance_due from doorloop.leases limit 5'",
        changing(emulated, control)[1],
        f"keepstep run {KEY} --dry-run",
        f"keepstep run {KEY}",
        f"keepstep run {KEY} --mode backfill   # finds the deleted ones too",
        f"curl -s {site.url}/healthz",
        f'curl -s -H "Authorization: Bearer $(keepstep token)" {site.url}/api/admin/sync/status',
    ]  # fmt: skip
    render.note("")
    render.note("Everything is in step. Try in another terminal:", style="bold")
    for step in steps:
        render.note(f"  {step}")
    render.note("")
    render.note("It goes on by itself every two minutes.")
    render.note("Ctrl-C ends the demo; started again, it goes on with the same data.")
