"""``keepstep dlq``: records that could not be applied."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from keepstep.cli import arguments, exits, render
from keepstep.cli.exits import Usage
from keepstep.cli.parts import parts_of
from keepstep.cli.session import ask

if TYPE_CHECKING:
    from keepstep.service.core import Service
    from keepstep.service.shapes import Requeued

Ids = Annotated[
    list[int] | None, typer.Argument(metavar="[ID]...", min=1, help="Their numbers, from keepstep dlq list.")
]
OfEntity = Annotated[str | None, typer.Option("--entity", help="All open ones of this entity.")]


def group() -> typer.Typer:
    """The commands of ``dlq``."""
    app = typer.Typer(name="dlq", no_args_is_help=True, help="Look after records that could not be applied.")
    app.command("list")(list_)
    app.command()(show)
    app.command()(requeue)
    app.command()(discard)
    return app


def list_(
    context: typer.Context,
    entity: Annotated[str | None, typer.Option("--entity", help="Only those of this entity.")] = None,
    state: Annotated[str, typer.Option("--state", metavar="open|resolved|discarded|all", help="Which ones.")] = "open",
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, max=1000, help="How many.")] = 100,
    json: arguments.Json = False,
) -> None:
    """List dead letters, newest first."""
    if state not in ("open", "resolved", "discarded", "all"):
        raise Usage(f"There is no state {state!r}.", fix="Known are: open, resolved, discarded, all.")
    wanted = None if state == "all" else state
    page = ask(parts_of(context), lambda service: service.views.dead_letters(entity=entity, state=wanted, limit=limit))
    if json:
        render.emit(page)
        return
    if not page.items:
        render.say("There are no dead letters." if wanted is None else f"There are no {wanted} dead letters.")
        return
    render.table(
        [">id", "entity", "record", "state", ">seen", "last seen", "reason"],
        [[str(letter.id), letter.entity, letter.record_key or "(no id)", letter.state, letter.attempts,
          letter.last_seen_at, render.short(letter.reason, 110)] for letter in page.items],
    )  # fmt: skip
    if page.count > len(page.items):
        render.note(f"{page.count - len(page.items):,} more; see them with --limit or --entity.")


def show(
    context: typer.Context,
    id_: Annotated[int, typer.Argument(metavar="ID", min=1, help="Its number.")],
    json: arguments.Json = False,
) -> None:
    """Show one dead letter with its payload."""
    letter = ask(parts_of(context), lambda service: service.views.dead_letter(id_))
    if json:
        render.emit(letter)
        return
    render.say(
        f"Dead letter {letter.id}: {letter.entity} {letter.record_key or '(no id)'}, {letter.state}", style="bold"
    )
    render.say(letter.reason)
    render.say(
        f"Seen {letter.attempts} times, first {render.moment(letter.created_at)}, last "
        f"{render.moment(letter.last_seen_at)} by run {letter.run_id}."
    )
    if letter.note:
        render.say(f"Note: {letter.note}")
    render.say()
    render.say(letter.payload)


def requeue(
    context: typer.Context,
    ids: Ids = None,
    entity: OfEntity = None,
    reason: Annotated[
        str | None, typer.Option("--reason", help="With --entity: only those with this reason, or kind of reason.")
    ] = None,
    json: arguments.Json = False,
) -> None:
    """Apply dead letters again, by number or all of an entity."""
    _act(
        context, ids, entity, reason, json,
        lambda service, chosen: service.commands.requeue(chosen, by=arguments.actor()),
    )  # fmt: skip


def discard(
    context: typer.Context,
    reason: arguments.Reason,
    ids: Ids = None,
    entity: OfEntity = None,
    json: arguments.Json = False,
) -> None:
    """Close dead letters for good, by number or all of an entity."""
    _act(
        context, ids, entity, None, json,
        lambda service, chosen: service.commands.discard(chosen, by=arguments.actor(), reason=reason),
    )  # fmt: skip


def _act(
    context: typer.Context,
    ids: Sequence[int] | None,
    entity: str | None,
    reason: str | None,
    json: bool,
    act: "Callable[[Service, Sequence[int]], Awaitable[list[Requeued]]]",
) -> None:
    if bool(ids) == (entity is not None):
        raise Usage("Name dead letters by number, or all of an entity.", fix="Write ID..., or --entity ENTITY.")

    async def work(service: "Service") -> "list[Requeued]":
        chosen = ids or await service.commands.matching_letters(entity=entity, reason=reason)
        return await act(service, list(dict.fromkeys(chosen))) if chosen else []

    answers = ask(parts_of(context), work)
    if json:
        render.emit(answers)
    elif not answers:
        render.say("There are no such open dead letters.")
    else:
        render.table([">id", "result", "reason"], [[str(a.id), a.result, a.reason] for a in answers])
    raise typer.Exit(exits.FAILED if any(answer.result == "failed" for answer in answers) else exits.OK)
