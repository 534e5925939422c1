"""The ERP's agents, and one of their types now."""

from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import Field, StringConstraints
from starlette.convertors import PathConvertor, register_url_convertor

from keepstep.model.schedule import Role
from keepstep.service.agents import LONGEST_CODE, LONGEST_NAME, Agent, TypeRuns
from keepstep.service.core import Service
from keepstep.service.shapes import Absent
from keepstep.web.api_sync_types import TypeName
from keepstep.web.openapi import problems
from keepstep.web.parameters import NO_NUL, Body, Word
from keepstep.web.security import Admin, Operator, needs


class _CodeConvertor(PathConvertor):
    """A code in an address, slashes and all; what ends like the address of an agent's credentials is that one."""

    regex = r"(?!.*/credentials$).+"


register_url_convertor("agent", _CodeConvertor())

Code = Annotated[
    str,
    Path(
        min_length=1,
        max_length=LONGEST_CODE,
        pattern=NO_NUL,
        description="Which agent; a slash in it as ``%2F``.",
        examples=["007"],
    ),
]
_CodeWord = Annotated[str, StringConstraints(min_length=1, max_length=LONGEST_CODE, pattern=NO_NUL)]
_Name = Annotated[str, StringConstraints(max_length=LONGEST_NAME, pattern=NO_NUL)]


class NewAgent(Body):
    """Somebody for the list. ``code``: as the ERP calls them."""

    code: Annotated[_CodeWord, Field(examples=["007"])]
    name: _Name = ""
    enabled: bool = True


class AgentChange(Body):
    """What is to change; what is left out stays."""

    name: Annotated[_Name | None, Absent] = None
    enabled: Annotated[bool | None, Absent] = None


class AgentCredentials(Body):
    """What the agent signs in to the ERP with."""

    username: Word
    password: Annotated[str, StringConstraints(min_length=1, max_length=1000, pattern=NO_NUL), Field(repr=False)]


class TypeRunAsked(Body):
    """Of whom; of all enabled agents where it is left out."""

    agent: Annotated[_CodeWord | None, Absent] = None


def router(service: Service) -> APIRouter:
    """The routes."""
    routes = APIRouter(prefix="/api/sync", tags=["sync types"])
    agents = service.agents

    @routes.get("/agents", summary="Whose reports are read, and how each does", dependencies=[needs(Role.VIEWER)])
    async def everybody() -> list[Agent]:
        return await agents.all()

    @routes.post(
        "/agents", summary="Put an agent on the list", status_code=201, responses=problems(409),
        description="Their types are due at once.",
    )  # fmt: skip
    async def add(body: NewAgent, who: Admin) -> Agent:
        return await agents.add(body.code, name=body.name, enabled=body.enabled, by=who.name)

    # A code may hold a slash, which arrives decoded; none ends like the longer address.

    @routes.put(
        "/agents/{code:path}/credentials", summary="Give an agent credentials of their own", responses=problems(404),
        description="They are used in place of the service account, and never shown.",
    )  # fmt: skip
    async def connect(code: Code, body: AgentCredentials, who: Admin) -> Agent:
        return await agents.connect(code, username=body.username, password=body.password, by=who.name)

    @routes.delete(
        "/agents/{code:path}/credentials", summary="Read with the service account again", responses=problems(404)
    )
    async def disconnect(code: Code, who: Admin) -> Agent:
        return await agents.disconnect(code, by=who.name)

    @routes.patch(
        "/agents/{code:agent}", summary="Rename, disable or enable an agent", responses=problems(404),
        description="Of one who is disabled nothing begins any more, and what goes on is ended; their rows stay.",
    )  # fmt: skip
    async def change(code: Code, body: AgentChange, who: Admin) -> Agent:
        return await agents.change(code, name=body.name, enabled=body.enabled, by=who.name)

    @routes.delete(
        "/agents/{code:agent}", summary="Take an agent off the list", status_code=204, responses=problems(404),
        description="What goes on is ended. Their rows and past runs stay.",
    )  # fmt: skip
    async def remove(code: Code, who: Admin) -> None:
        await agents.remove(code, by=who.name)

    @routes.post(
        "/run/{type}", summary="Read one type now, ahead of scheduled runs", status_code=202,
        responses=problems(404, 409),
        description="Of every enabled agent, or of one; a type that all share once. Where an agent is busy with another"
        " type, this one has its turn as soon as that has ended.",
    )  # fmt: skip
    async def run(name: TypeName, who: Operator, body: TypeRunAsked | None = None) -> TypeRuns:
        full = (await service.preferences.effective()).allow_backfill
        return await agents.run(name, agent=body.agent if body else None, by=who.name, full=full)

    return routes
