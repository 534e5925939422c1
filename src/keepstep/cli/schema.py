"""``keepstep schema``: what upstream gives against what the tables hold."""

from typing import TYPE_CHECKING, Annotated

import typer

from keepstep.cli import arguments, render
from keepstep.cli.exits import FAILED, Usage
from keepstep.cli.parts import parts_of
from keepstep.cli.session import ask

if TYPE_CHECKING:
    from keepstep.service.schema import SchemaDiff

_POLICIES = ("evolve", "keep", "stop")
_STYLES = {"new": "cyan", "missing": "yellow", "type-changed": "red"}
EntityName = Annotated[str, typer.Argument(metavar="ENTITY", help="For example: leases.")]


def group() -> typer.Typer:
    """The commands of ``schema``."""
    app = typer.Typer(name="schema", no_args_is_help=True, help="Compare what upstream gives with the tables.")
    app.command()(diff)
    app.command()(policy)
    return app


def diff(
    context: typer.Context, integration: arguments.IntegrationName, entity: EntityName, json: arguments.Json = False
) -> None:
    """Show which fields are new, missing or of another type, and how many rows have them."""
    parts = parts_of(context)
    key = arguments.known_integration(parts, integration)
    [name] = arguments.known_entities(parts, key, [entity])
    found = ask(parts, lambda service: service.schemas.diff(key, name))
    if json:
        render.emit(found)
        return
    if not found.upstream.ok:
        render.complain(found.upstream.message, found.upstream.fix)
        raise typer.Exit(FAILED)
    _show(found)


def _show(found: "SchemaDiff") -> None:
    changed = [column for column in found.columns if column.change]
    if changed:
        about = "" if found.exact else " (estimated)"
        render.table(
            ["field", "change", "column", "type", "given", f">rows{about}", "note"],
            [[c.field, c.change, c.column, c.type, ", ".join(f"{n} {t}" for t, n in c.types.items()), c.rows, c.note]
             for c in changed],
        )  # fmt: skip
    else:
        render.say("Upstream gives what the table holds.", style="green")
    render.say(
        f"{found.sampled} records were looked at. New fields of {found.entity}: {found.policy}. Change that with: "
        f"keepstep schema policy {found.integration} {found.entity} evolve, keep or stop"
    )


def policy(
    context: typer.Context,
    integration: arguments.IntegrationName,
    entity: EntityName,
    choice: Annotated[str, typer.Argument(metavar="POLICY", help="evolve, keep, stop, or default.")],
    json: arguments.Json = False,
) -> None:
    """Choose what becomes of an entity's undocumented fields: a column of their own, kept in _extra, or a stop."""
    parts = parts_of(context)
    key = arguments.known_integration(parts, integration)
    [name] = arguments.known_entities(parts, key, [entity])
    word = choice.strip().lower()
    if word not in (*_POLICIES, "default"):
        raise Usage(f"There is no policy {choice!r}.", fix=arguments.suggestion(word, (*_POLICIES, "default")))
    wanted = None if word == "default" else word
    chosen = ask(parts, lambda service: service.schemas.choose(key, name, wanted, by=arguments.actor()))
    if json:
        render.emit(chosen)
    else:
        render.say(f"From its next run on, new fields of {name}: {chosen.policy}.")
