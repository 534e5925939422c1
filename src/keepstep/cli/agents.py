"""``keepstep agents``: whose reports of the ERP are read."""

from typing import TYPE_CHECKING, Annotated

import typer

from keepstep.cli import arguments, render
from keepstep.cli.parts import parts_of
from keepstep.cli.session import ask

if TYPE_CHECKING:
    from keepstep.service.agents import Agent

Code = Annotated[str, typer.Argument(metavar="CODE", help="As the ERP calls the agent.")]


def group() -> typer.Typer:
    """The commands of ``agents``."""
    app = typer.Typer(name="agents", no_args_is_help=True, help="Say whose reports of the ERP are read.")
    app.command("list")(list_)
    for command in (add, enable, disable, remove):
        app.command()(command)
    return app


def list_(context: typer.Context, json: arguments.Json = False) -> None:
    """List the agents by code, with how each does."""
    found = ask(parts_of(context), lambda service: service.agents.all())
    if json:
        render.emit(found)
    elif not found:
        render.say("No agent is on the list. Add one with: keepstep agents add CODE")
    else:
        render.table(
            ["code", "name", "state", "next run", "last success", ">failures", "last error"],
            [
                [
                    agent.code, agent.name, agent.state if agent.enabled else "disabled", agent.next_run,
                    agent.last_success_at, agent.failures, render.short((agent.error or {}).get("message", ""), 60),
                ]
                for agent in found
            ],
        )  # fmt: skip


def add(
    context: typer.Context,
    code: Code,
    name: Annotated[str, typer.Option("--name", help="What people call the agent.")] = "",
    disabled: Annotated[bool, typer.Option("--disabled", help="Read nothing of the agent yet.")] = False,
    json: arguments.Json = False,
) -> None:
    """Put an agent on the list: their reports are read at once, if the ERP is configured and Keepstep is up."""
    who = arguments.actor()
    agent = ask(
        parts_of(context), lambda service: service.agents.add(code, name=name, enabled=not disabled, by=who)
    )  # fmt: skip
    _tell(agent, json=json)


def enable(context: typer.Context, code: Code, json: arguments.Json = False) -> None:
    """Read an agent's reports again."""
    who = arguments.actor()
    _tell(ask(parts_of(context), lambda service: service.agents.change(code, enabled=True, by=who)), json=json)


def disable(context: typer.Context, code: Code, json: arguments.Json = False) -> None:
    """Read nothing of an agent, and end what goes on. The rows stay."""
    who = arguments.actor()
    _tell(ask(parts_of(context), lambda service: service.agents.change(code, enabled=False, by=who)), json=json)


def remove(context: typer.Context, code: Code, json: arguments.Json = False) -> None:
    """Take an agent off the list, and end what goes on. The rows stay."""
    who = arguments.actor()
    ask(parts_of(context), lambda service: service.agents.remove(code, by=who))
    if json:
        render.emit({"removed": code})
    else:
        render.say(f"{code} is removed from the list; the rows of {code} stay.")


def _tell(agent: "Agent", *, json: bool) -> None:
    if json:
        render.emit(agent)
    elif not agent.enabled:
        render.say(f"{agent.code} is disabled; the rows of {agent.code} stay.")
    else:
        begins = "waits until the ERP is configured" if agent.next_run is None else "is read from now on"
        render.say(f"{agent.code} {begins}.")
