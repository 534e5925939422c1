"""``keepstep ping`` and ``check``: does upstream answer, and what?

They ask as a run would: with the credentials and settings in the database, and not past the limits and the breaker that
all share. Where the database cannot be used they ask with what the environment says.
"""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from keepstep.cli import arguments, exits, render
from keepstep.cli.exits import Usage
from keepstep.cli.parts import Parts, parts_of
from keepstep.cli.session import opened
from keepstep.cli.signals import drive
from keepstep.model.errors import StoreError

if TYPE_CHECKING:
    from keepstep.model.integration import Integration
    from keepstep.service.inspection import Inspection
    from keepstep.service.upstream import CheckAnswer, PingAnswer

T = TypeVar("T")


def ping(context: typer.Context, integration: arguments.IntegrationName, json: arguments.Json = False) -> None:
    """Ask upstream one cheap question: does it answer, and take the key?"""
    parts = parts_of(context)
    key = arguments.known_integration(parts, integration)
    answer = drive(_asked(parts, key, lambda inspection: inspection.ping(key), _ping))
    if json:
        render.emit(answer)
    else:
        title = parts.registered[key].title
        render.say(f"{title} at {answer.base_url}: {answer.state}", style=render.COLOURS.get(answer.state, ""))
        render.say(f"{answer.reason} ({answer.elapsed_ms:,} ms)")
        limit = answer.rate_limit
        if limit is not None and limit.remaining is not None:
            of_limit = "" if limit.limit is None else f" of {limit.limit:,}"
            render.say(f"{limit.remaining:,}{of_limit} requests are left until {render.cell_text(limit.reset)}.")
        if answer.fix:
            render.say(f"Fix: {answer.fix}")
    raise typer.Exit(exits.OK if answer.ok else exits.FAILED)


def check(
    context: typer.Context,
    integration: arguments.IntegrationName,
    entity: Annotated[
        str, typer.Argument(metavar="ENTITY", help="An entity; or any endpoint of the API, with a slash before it.")
    ],
    page_size: Annotated[int, typer.Option("--page-size", min=1, max=1000, help="Records to ask for.")] = 1,
    agent: arguments.AgentCode = None,
    json: arguments.Json = False,
) -> None:
    """Ask one endpoint for one page and say what came back."""
    parts = parts_of(context)
    key = arguments.known_integration(parts, integration)
    endpoint = entity if entity.startswith("/") else _one_entity(parts, key, entity)

    async def directly(connector: "Integration") -> "CheckAnswer":
        from keepstep.service.upstream import check_answer

        return check_answer(await connector.check(endpoint, page_size=page_size))

    answer = drive(
        _asked(
            parts, key, lambda inspection: inspection.check(key, endpoint, page_size=page_size, agent=agent), directly
        )
    )
    if json:
        render.emit(answer)
    else:
        status = "no answer" if answer.status is None else f"HTTP {answer.status}"
        render.say(f"{answer.endpoint}: {status}", style="green" if answer.ok else "red")
        render.say(answer.message)
        if answer.first_item_keys:
            render.say(f"Keys of the first record: {', '.join(answer.first_item_keys)}")
        if answer.fix:
            render.say(f"Fix: {answer.fix}")
    raise typer.Exit(exits.OK if answer.ok else exits.FAILED)


def _one_entity(parts: Parts, key: str, name: str) -> str:
    names = arguments.known_entities(parts, key, [name])
    if len(names) != 1:
        raise Usage("Name one entity.", fix="For example: keepstep check doorloop leases")
    return names[0]


async def _asked(
    parts: Parts,
    key: str,
    by_service: "Callable[[Inspection], Awaitable[T]]",
    directly: "Callable[[Integration], Awaitable[T]]",
) -> T:
    try:
        async with opened(parts) as service:
            return await by_service(service.inspection)
    except StoreError as error:
        if not parts.configured(key):
            raise
        render.note(f"Asked with the settings of the environment alone: {error.message}", style="dim")
    connector = parts.connector(key)
    try:
        return await directly(connector)
    finally:
        await connector.aclose()


async def _ping(connector: "Integration") -> "PingAnswer":
    from keepstep.service.upstream import ping_answer

    return ping_answer(await connector.ping())
