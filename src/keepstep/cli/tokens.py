"""``keepstep token``: the admin token, and tokens for programs."""

from typing import TYPE_CHECKING, Annotated

import typer

from keepstep.cli import arguments, render
from keepstep.cli.exits import Usage
from keepstep.cli.parts import parts_of
from keepstep.cli.session import ask

if TYPE_CHECKING:
    from keepstep.service.core import Service
    from keepstep.service.tokens import NewToken

Name = Annotated[str, typer.Argument(metavar="NAME", help="What the token is for, for example: nightly-report.")]


def group() -> typer.Typer:
    """The commands of ``token``; without one it prints the admin token."""
    app = typer.Typer(name="token", help="Print the admin token; make and revoke tokens for programs.")
    app.callback(invoke_without_command=True)(token)
    app.command()(create)
    app.command("list")(list_)
    app.command()(revoke)
    return app


def token(context: typer.Context, json: arguments.Json = False) -> None:
    """Print the bearer token with the admin role; it is made on first use."""
    if context.invoked_subcommand is not None:
        return
    value = parts_of(context).token()
    if json:
        render.emit({"token": value})
    else:
        render.say(value)


def create(
    context: typer.Context, name: Name, role: arguments.RoleName = "viewer", json: arguments.Json = False
) -> None:
    """Make a token for a program. It is printed this once."""
    known = arguments.known_role(role)

    async def work(service: "Service") -> "NewToken":
        return await service.accounts.tokens.create(name, known, by=arguments.actor())

    made = ask(parts_of(context), work)
    if json:
        render.emit(made)
    else:
        render.say(made.token)
        render.note(f"It has the role {made.role} and is not shown again. Send it as: Authorization: Bearer TOKEN")


def list_(context: typer.Context, json: arguments.Json = False) -> None:
    """List the tokens by name, without those that were revoked."""
    found = ask(parts_of(context), lambda service: service.accounts.tokens.all())
    if json:
        render.emit(found)
    elif not found:
        render.say("There are no tokens yet. Make one with: keepstep token create NAME")
    else:
        render.table(
            ["name", "role", "since", "made by", "last used"],
            [[one.name, one.role, one.created_at, one.created_by, one.last_used_at] for one in found],
        )


def revoke(context: typer.Context, name: Name, json: arguments.Json = False) -> None:
    """Make a token worthless, at once."""

    async def work(service: "Service") -> str:
        tokens = await service.accounts.tokens.all()
        for one in tokens:
            if one.name.lower() == name.strip().lower():
                return await service.accounts.tokens.revoke(one.id, by=arguments.actor())
        raise Usage(f"There is no token {name!r}.", fix=arguments.suggestion(name, [one.name for one in tokens]))

    revoked = ask(parts_of(context), work)
    if json:
        render.emit({"revoked": revoked})
    else:
        render.say(f"{revoked} is worth nothing now.")
