"""``keepstep run`` where agents have entities of their own: what all share once, then one agent after another."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from keepstep.cli import exits, render, report
from keepstep.cli.exits import Usage
from keepstep.cli.parts import Parts
from keepstep.cli.session import opened
from keepstep.cli.signals import drive
from keepstep.model.errors import BadRequest, LockHeld

if TYPE_CHECKING:
    from keepstep.model.run import RunRequest
    from keepstep.service.core import Service
    from keepstep.service.shapes import RunSummary

_WORST = (exits.FAILED, exits.NEEDS_A_PERSON, exits.OK)


def perform(
    parts: Parts, key: str, request: "RunRequest", agent: str | None, *, named: bool, quiet: bool, json: bool
) -> int:
    """Run to the end of all; gives the exit code, the worst of all runs. ``named``: somebody named the entities."""
    entities = parts.registered[key].entities
    owned = tuple(one.name for one in entities if one.owned and one.name in request.entities)
    shared = tuple(name for name in request.entities if name not in owned)
    if agent is not None and not named:
        shared = ()
    if agent is not None and shared:
        raise Usage(f"{', '.join(shared)} is shared by all agents.", fix="Leave out --agent, or name something else.")

    async def work() -> int:
        async with opened(parts) as service:
            turns = await _turns(service, request, agent, owned=owned, shared=shared)
            ended = [await _one(service, key, turn, owner, quiet=quiet, json=json) for owner, turn in turns]
        runs = [run for run in ended if run is not None]
        if json:
            render.emit(runs[0] if len(turns) == 1 and runs else {"runs": runs})
        codes = {exits.FAILED if run is None else report.exit_code(run) for run in ended}
        return next((code for code in _WORST if code in codes), exits.OK)

    return drive(work())


async def _turns(
    service: "Service", request: "RunRequest", agent: str | None, *, owned: tuple[str, ...], shared: tuple[str, ...]
) -> "Sequence[tuple[str | None, RunRequest]]":
    """What is run, in order: for whom, and what."""
    if agent is not None:
        await service.agents.check(agent)
        return [(agent, replace(request, entities=owned))]
    turns: list[tuple[str | None, RunRequest]] = [(None, replace(request, entities=shared))] if shared else []
    codes = await service.agents.enabled() if owned else []
    if not turns and not codes:
        raise BadRequest("No agent is on the list.", fix="Add one with: keepstep agents add CODE")
    return [*turns, *((code, replace(request, entities=owned)) for code in codes)]


async def _one(
    service: "Service", key: str, request: "RunRequest", owner: str | None, *, quiet: bool, json: bool
) -> "RunSummary | None":
    """One run, shown as it ended; None where another one is live."""
    from keepstep.cli import sync  # it calls this

    def show(ended: "RunSummary") -> None:
        if json:
            report.errors(ended)
            return
        if owner is not None:
            render.say(f"Agent {owner}:", style="bold")
        report.show(ended)

    try:
        return await sync.perform(service, key, request, show, quiet=quiet, owner=owner)
    except LockHeld as held:
        whose = "what all share" if owner is None else f"the agent {owner}"
        render.complain(f"{whose}: {held.message}", held.fix, word="Busy", style="yellow")
        return None
