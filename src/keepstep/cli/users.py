"""``keepstep user``: who may sign in."""

import getpass
import sys
from typing import TYPE_CHECKING, Annotated

import typer

from keepstep.cli import arguments, render
from keepstep.cli.exits import Usage
from keepstep.cli.parts import parts_of
from keepstep.cli.session import ask

if TYPE_CHECKING:
    from keepstep.service.accounts import User
    from keepstep.service.core import Service

Name = Annotated[str, typer.Argument(metavar="NAME", help="The name that the user signs in with.")]


def group() -> typer.Typer:
    """The commands of ``user``."""
    app = typer.Typer(name="user", no_args_is_help=True, help="Say who may sign in, and what they may do.")
    app.command()(add)
    app.command("list")(list_)
    app.command()(change)
    app.command()(remove)
    return app


def add(context: typer.Context, name: Name, role: arguments.RoleName = "viewer", json: arguments.Json = False) -> None:
    """Add a user. The password is asked for, or read from the first line of stdin."""
    known, password = arguments.known_role(role), _password()

    async def work(service: "Service") -> "User":
        return await service.accounts.add_user(name, password, known, by=arguments.actor())

    _tell(ask(parts_of(context), work), "is", json=json)


def list_(context: typer.Context, json: arguments.Json = False) -> None:
    """List the users by name."""
    found = ask(parts_of(context), _all)
    if json:
        render.emit(found)
    elif not found:
        render.say("There are no users yet. Add one with: keepstep user add NAME --role admin")
    else:
        render.table(
            ["name", "role", "since", "last signed in"],
            [[user.name, user.role, user.created_at, user.last_login_at] for user in found],
        )


def change(
    context: typer.Context,
    name: Name,
    role: Annotated[str | None, typer.Option("--role", help="user, viewer, operator or admin.")] = None,
    password: Annotated[bool, typer.Option("--password", help="Ask for a new password; ends their sessions.")] = False,
    json: arguments.Json = False,
) -> None:
    """Give a user another role or password."""
    if role is None and not password:
        raise Usage("Nothing is to change.", fix="Give --role ROLE, --password, or both.")
    known = None if role is None else arguments.known_role(role)
    new = _password() if password else None

    async def work(service: "Service") -> "User":
        user = await _named(service, name)
        return await service.accounts.change_user(user.id, role=known, password=new, by=arguments.actor())

    _tell(ask(parts_of(context), work), "is now", json=json)


def remove(context: typer.Context, name: Name, json: arguments.Json = False) -> None:
    """Remove a user and end their sessions at once."""

    async def work(service: "Service") -> "User":
        user = await _named(service, name)
        await service.accounts.remove_user(user.id, by=arguments.actor())
        return user

    user = ask(parts_of(context), work)
    if json:
        render.emit({"removed": user.name})
    else:
        render.say(f"{user.name} is removed.")


async def _all(service: "Service") -> list["User"]:
    found: list[User] = []
    while page := await service.accounts.users(after=found[-1].id if found else None):
        found += page
    return found


async def _named(service: "Service", name: str) -> "User":
    user = await service.accounts.user_named(name)
    if user is None:
        some = await service.accounts.users()
        raise Usage(f"There is no user {name!r}.", fix=arguments.suggestion(name, [user.name for user in some]))
    return user


def _password() -> str:
    """A new password: typed twice on a terminal, else the first line of stdin."""
    if not sys.stdin.isatty():
        given = sys.stdin.readline().rstrip("\r\n")
        if not given:
            raise Usage("There is no password on stdin.", fix="Write it as the first line, or call this on a terminal.")
        return given
    given = getpass.getpass("Password: ")
    if getpass.getpass("Again: ") != given:
        raise Usage("These are two different passwords.", fix="Try again.")
    return given


def _tell(user: "User", verb: str, *, json: bool) -> None:
    if json:
        render.emit(user)
    else:
        render.say(f"{user.name} {verb} {user.role}.")
