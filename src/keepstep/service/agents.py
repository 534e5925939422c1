"""The ERP's agents: whose reports are read, and one of their types now.

Nothing here is kept in memory: a row of ``keepstep.agents`` has its connection and schedules in its own transaction,
whoever writes it (docs/adr/0041).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from keepstep.dispatch.queue import Queue
from keepstep.model.diagnosis import explained
from keepstep.model.errors import BadRequest, Conflict, NotFound
from keepstep.model.integration import Mode
from keepstep.service.audit import Audit
from keepstep.service.owner_lines import STATES
from keepstep.service.owners import OwnerConnections
from keepstep.service.shapes import Absent, Shape, one_of
from keepstep.store import agents as store
from keepstep.store import sync_types
from keepstep.store.db import Connection, Database

INTEGRATION = "erp"
LONGEST_CODE, LONGEST_NAME = 64, 200
_NOT_THE_END = "/credentials"
"""Of what an address of a code ends with, the API makes the agent's credentials (``migrations/0020``)."""
LOOK_EVERY = 5.0
"""Seconds between two looks for live runs of agents who were taken off the list by hand."""


class Agent(Shape):
    """One agent. ``code``: as the ERP calls them, and the owner of their rows.

    ``state`` is that of their connection, ``reason`` why it is paused or refused. ``nextRun``: of the first of their
    types, null while nothing is to come. ``failures``: runs in a row that failed, ``error`` of the last one.
    """

    code: str
    name: str
    enabled: bool
    state: Annotated[str, one_of(*STATES)]
    reason: str | None
    own_credentials: bool
    next_run: datetime | None
    last_success_at: datetime | None
    last_failure_at: datetime | None
    failures: int
    error: dict[str, Any] | None
    last_run_id: int | None
    created_at: datetime
    updated_at: datetime
    updated_by: str


class TypeRun(Shape):
    """What became of one connection. ``agent``: null for a type that all share.

    ``state``: its run is ``queued``; one of the same type is ``live`` already; or the connection is busy with another
    run (``runId``) and the type is ``due`` as soon as that has ended; ``busy``: it is not, because the type is off.
    """

    agent: str | None
    state: Annotated[str, one_of("queued", "live", "due", "busy")]
    run_id: int | None


class TypeRuns(Shape):
    """What was asked for. ``runIds``: the runs that are queued; ``busy``: the agents whose connection is busy."""

    success: Literal[True] = True
    type: str
    run_ids: list[int]
    busy: Annotated[list[str] | None, Absent] = None
    runs: list[TypeRun]


@dataclass(frozen=True, slots=True)
class Agents:
    """The whitelist, and what people may do with it. ``given``: what the environment gives of the ERP's settings."""

    database: Database
    audit: Audit
    owners: OwnerConnections
    given: Sequence[str] = ()

    async def all(self) -> list[Agent]:
        """Every agent, in the order of their codes."""
        async with self.database.connection() as connection:
            return [_view(row) for row in await store.select(connection)]

    async def get(self, code: str) -> Agent:
        """One agent. Raises ``NotFound``."""
        async with self.database.connection() as connection:
            return await self._known(connection, code)

    async def add(self, code: str, *, name: str = "", enabled: bool = True, by: str) -> Agent:
        """Put one on the list: their types are due at once. Raises ``BadRequest``, ``Conflict`` for a known code."""
        code, name = _checked_code(code), _checked_name(name)
        async with self.database.connection() as connection, connection.transaction():
            if not await store.add(connection, code, name=name, enabled=enabled, by=by):
                raise Conflict(
                    f"There is an agent {code} already.", fix=f"Change it with: PATCH /api/sync/agents/{code}"
                )
            payload = {"code": code, "name": name, "enabled": enabled}
            await self.audit.record(by, "agent.add", payload, "done", within=connection)
            return await self._known(connection, code)

    async def change(self, code: str, *, name: str | None = None, enabled: bool | None = None, by: str) -> Agent:
        """Change an agent. One that is disabled has no schedules, and no run that goes on; their rows stay.

        Raises ``NotFound``, ``BadRequest``.
        """
        if name is None and enabled is None:
            raise BadRequest("Nothing is to change.", fix="Give name, enabled or both.")
        name = None if name is None else _checked_name(name)
        async with self.database.connection() as connection, connection.transaction():
            before = await store.lock(connection, code)
            if before is None:
                raise _nobody(code)
            await store.change(connection, code, name=name, enabled=enabled, by=by)
            payload: dict[str, object] = {"code": code}
            payload |= {} if name is None else {"name": name}
            payload |= {} if enabled is None else {"enabled": enabled}
            after = await self._known(connection, code)
            same = (before["name"], before["enabled"]) == (after.name, after.enabled)
            result = "nothing changed" if same else "enabled" if after.enabled else "disabled"
            await self.audit.record(by, "agent.change", payload, result, within=connection)
        if enabled is False:
            await Queue(self.database).cancel(INTEGRATION, owner=code)
        return after

    async def remove(self, code: str, *, by: str) -> None:
        """Take an agent off the list and end what goes on; their rows and past runs stay. Raises ``NotFound``."""
        async with self.database.connection() as connection, connection.transaction():
            if not await store.remove(connection, code):
                raise _nobody(code)
            await self.audit.record(by, "agent.remove", {"code": code}, "done", within=connection)
        await Queue(self.database).cancel(INTEGRATION, owner=code)

    async def connect(self, code: str, *, username: str, password: str, by: str) -> Agent:
        """Give an agent credentials of their own, in place of the service account.

        Raises ``NotFound``, ``BadRequest``.
        """
        await self.get(code)
        if not username.strip() or not password:
            raise BadRequest("A user name and a password are needed.", fix="Give both.")
        await self.owners.connect(INTEGRATION, code, {"username": username.strip(), "password": password}, by=by)
        return await self.get(code)

    async def disconnect(self, code: str, *, by: str) -> Agent:
        """Forget an agent's own credentials: the service account reads for them again. Raises ``NotFound``."""
        async with self.database.connection() as connection, connection.transaction():
            await self._known(connection, code)
            if not await store.disconnect(connection, code):
                raise NotFound(f"{code} has no credentials of their own.", fix="There is nothing to remove.")
            await self.audit.record(by, "agent.disconnect", {"code": code}, "done", within=connection)
            return await self._known(connection, code)

    async def run(self, name: str, *, agent: str | None = None, by: str, full: bool = True) -> TypeRuns:
        """Read one type now: of every enabled agent, of one, or once where all share it. ``full``: also deletions.

        Runs are queued ahead of scheduled ones. Raises ``NotFound``, ``Conflict`` where nothing can be asked, and
        ``BadRequest`` for an agent where all share the type.
        """
        async with self.database.connection() as connection, connection.transaction():
            await self._check_run(connection, name, agent)
            mode = Mode.BACKFILL if full else Mode.DELTA
            rows = await store.run_now(connection, name, agent=agent, mode=mode, by=by)
            if not rows and agent is not None:
                raise _cannot(await self._known(connection, agent))
            runs = await self._told(connection, name, rows)
            payload: dict[str, object] = {"type": name, **({} if agent is None else {"agent": agent})}
            await self.audit.record(by, "sync-type.run", payload, _summary(runs), within=connection)
        return TypeRuns(
            type=name,
            run_ids=[run.run_id for run in runs if run.state == "queued" and run.run_id is not None],
            busy=[run.agent for run in runs if run.state in ("due", "busy") and run.agent is not None],
            runs=runs,
        )

    async def enabled(self) -> list[str]:
        """The codes of those whose reports are read."""
        async with self.database.connection() as connection:
            return await store.enabled(connection)

    async def check(self, code: str) -> None:
        """Raises ``NotFound`` for an agent who is not on the list, ``Conflict`` for one who is disabled."""
        async with self.database.connection() as connection:
            known = await store.is_enabled(connection, code)
        if known is None:
            raise _nobody(code)
        if not known:
            raise _disabled(code)

    async def stop(self) -> list[int]:
        """End the live runs of all agents; gives their ids."""
        async with self.database.connection() as connection:
            codes = await store.live(connection)
        ended = [await Queue(self.database).cancel(INTEGRATION, owner=code) for code in codes]
        return [run for run in ended if run is not None]

    async def settle(self) -> None:
        """For processes that start runs: what waits for what the environment gives begins, what has lost it rests."""
        async with self.database.connection() as connection, connection.transaction():
            await store.give(connection, self.given)

    async def round(self) -> float:
        """End live runs of agents who were taken off the list by hand; gives the seconds until the next round."""
        async with self.database.connection() as connection:
            codes = await store.unwanted(connection)
        for code in codes:
            await Queue(self.database).cancel(INTEGRATION, owner=code)
        return LOOK_EVERY

    async def _check_run(self, connection: Connection, name: str, agent: str | None) -> None:
        known = {one.name: one for one in await sync_types.select(connection)}
        if name not in known:
            raise NotFound(f"There is no sync type {name[:40]}.", fix=f"Known are: {', '.join(known)}.")
        if agent is not None and not known[name].per_agent:
            raise BadRequest(f"{name} is shared by all agents.", fix="Leave the agent out.")
        if agent is not None and not (await self._known(connection, agent)).enabled:
            raise _disabled(agent)
        if agent is None and not await store.is_ready(connection):
            raise Conflict("The ERP is not configured.", fix="Set ERP_BASE_URL, ERP_USERNAME and ERP_PASSWORD.")

    async def _told(self, connection: Connection, name: str, rows: Sequence[Mapping[str, Any]]) -> list[TypeRun]:
        """What becomes of each: where a connection is busy with something else, the type has its turn next."""
        blocked = [row["connection_id"] for row in rows if row["run"] is None]
        live = await store.busy(connection, blocked) if blocked else {}
        same = {place for place, run in live.items() if run["run"] is not None and run["entities"] == [name]}
        due = await store.make_due(connection, name, [place for place in blocked if place not in same])
        told = []
        for row in rows:
            place = row["connection_id"]
            if row["run"] is not None:
                told.append(TypeRun(agent=row["agent"], state="queued", run_id=row["run"]))
            else:
                state = "live" if place in same else "due" if place in due else "busy"
                told.append(TypeRun(agent=row["agent"], state=state, run_id=live[place]["run"]))
        return told

    async def _known(self, connection: Connection, code: str) -> Agent:
        rows = await store.select(connection, code=code)
        if not rows:
            raise _nobody(code)
        return _view(rows[0])


def _checked_code(code: str) -> str:
    code = code.strip()
    if not code or len(code) > LONGEST_CODE or not code.isprintable():
        raise BadRequest(
            f"An agent's code has 1 to {LONGEST_CODE} characters that one can see.",
            fix="Give the code that the ERP has for the agent.",
        )
    if code in (".", "..") or code.endswith(_NOT_THE_END):
        raise BadRequest(
            f"An agent cannot be called {code}: no address leads to it.",
            fix=f"Let the ERP have a code for the agent that is no dots and does not end with {_NOT_THE_END}.",
        )
    return code


def _checked_name(name: str) -> str:
    name = name.strip()
    if len(name) > LONGEST_NAME or (name and not name.isprintable()):
        raise BadRequest(f"A name has at most {LONGEST_NAME} characters that one can see.", fix="Give a shorter one.")
    return name


def _nobody(code: str) -> NotFound:
    return NotFound(f"There is no agent {code[:40]}.", fix="List them with: keepstep agents list")


def _disabled(code: str) -> Conflict:
    return Conflict(f"The agent {code[:40]} is disabled.", fix=f"Enable it with: keepstep agents enable {code[:40]}")


def _cannot(agent: Agent) -> Conflict:
    """Why nothing can be asked for an agent who is enabled."""
    if agent.state == "connected":
        return Conflict("The ERP is not configured.", fix="Set ERP_BASE_URL, ERP_USERNAME and ERP_PASSWORD.")
    return Conflict(
        f"The connection of the agent {agent.code} is {agent.state}.", fix=agent.reason or "Store its credentials."
    )


def _summary(runs: Sequence[TypeRun]) -> str:
    counts = {state: sum(run.state == state for run in runs) for state in ("queued", "live", "due", "busy")}
    return ", ".join(f"{count} {state}" for state, count in counts.items() if count) or "nobody is on the list"


def _view(row: Mapping[str, Any]) -> Agent:
    error = row["error"]
    return Agent(**{**row, "error": None if error is None else explained(error)})
