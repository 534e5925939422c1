"""``keepstep ping`` and ``check``: does upstream answer, and what? Neither needs the database."""

from typing import TYPE_CHECKING, Annotated

import typer

from keepstep.cli import arguments, exits, render
from keepstep.cli.exits import Usage
from keepstep.cli.parts import Parts, parts_of
from keepstep.cli.signals import drive
from keepstep.model.errors import BadRequest

if TYPE_CHECKING:
    from keepstep.model.integration import Check, Integration, Ping


def ping(context: typer.Context, integration: arguments.IntegrationName, json: arguments.Json = False) -> None:
    """Ask upstream one cheap question: does it answer, and take the key?"""
    from keepstep.service.upstream import ping_answer

    connector = _connector(parts_of(context), integration)
    answer = ping_answer(drive(_ping(connector)))
    if json:
        render.emit(answer)
    else:
        render.say(
            f"{connector.title} at {answer.base_url}: {answer.state}", style=render.COLOURS.get(answer.state, "")
        )
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
    json: arguments.Json = False,
) -> None:
    """Ask one endpoint for one page and say what came back."""
    from keepstep.service.upstream import check_answer

    parts = parts_of(context)
    endpoint = entity if entity.startswith("/") else _one_entity(parts, integration, entity)
    answer = check_answer(drive(_check(_connector(parts, integration), endpoint, page_size)))
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


def _one_entity(parts: Parts, integration: str, name: str) -> str:
    names = arguments.known_entities(parts, arguments.known_integration(parts, integration), [name])
    if len(names) != 1:
        raise Usage("Name one entity.", fix="For example: keepstep check doorloop leases")
    return names[0]


def _connector(parts: Parts, name: str) -> "Integration":
    key = arguments.known_integration(parts, name)
    require_key(parts, key)
    return parts.connector(key)


def require_key(parts: Parts, key: str) -> None:
    """Raises ``BadRequest`` for an integration without credentials."""
    if not parts.configured(key):
        raise BadRequest(
            f"{parts.registered[key].title} has no API key.",
            fix=f"Set {key.upper()}_API_KEY, or try it without an account: keepstep demo",
        )


async def _ping(connector: "Integration") -> "Ping":
    try:
        return await connector.ping()
    finally:
        await connector.aclose()


async def _check(connector: "Integration", endpoint: str, page_size: int) -> "Check":
    try:
        return await connector.check(endpoint, page_size=page_size)
    finally:
        await connector.aclose()
