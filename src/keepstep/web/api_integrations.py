"""Integrations: which there are, and whether they answer."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import Field

from keepstep.model.schedule import Role
from keepstep.service.core import Service
from keepstep.service.inspection import IntegrationView
from keepstep.service.pinger import PingSample
from keepstep.service.schema import PolicyView, SchemaDiff
from keepstep.service.setup import Setup
from keepstep.service.upstream import CheckAnswer, PingAnswer
from keepstep.web.openapi import problems
from keepstep.web.parameters import Body, InPath, OfAgent, Word
from keepstep.web.security import Admin, needs

_VIEWER = [needs(Role.VIEWER)]


class NewPolicy(Body):
    """The policy of one entity; without one it goes back to the default."""

    entity: Annotated[Word, Field(examples=["owners"])]
    policy: Literal["evolve", "keep", "stop"] | None = None


def router(service: Service) -> APIRouter:
    """The routes."""
    routes = APIRouter(prefix="/api/admin/integrations", tags=["integrations"])

    @routes.get("", summary="Every integration with its health", dependencies=_VIEWER)
    async def integrations() -> list[IntegrationView]:
        return await service.inspection.all()

    @routes.get(
        "/{integration}/ping", summary="Whether upstream answers and takes the credentials",
        description="200 also when it does not: the reason is the answer.", dependencies=_VIEWER,
    )  # fmt: skip
    async def ping(integration: InPath) -> PingAnswer:
        return await service.inspection.ping(integration)

    @routes.get(
        "/{integration}/pings", summary="How upstream answered lately when it was asked by itself, newest first",
        dependencies=_VIEWER,
    )  # fmt: skip
    async def pings(integration: InPath, limit: Annotated[int, Query(ge=1, le=500)] = 100) -> list[PingSample]:
        service.inspection.known(integration)
        return await service.pinger.samples(integration, limit=limit)

    @routes.get("/{integration}/check", summary="What one endpoint of upstream answers", dependencies=_VIEWER)
    async def check(
        integration: InPath,
        endpoint: Annotated[Word, Query(description="An entity, or a path of upstream's API.", examples=["owners"])],
        page_size: Annotated[int, Query(ge=1, le=1000)] = 1,
        agent: OfAgent = None,
    ) -> CheckAnswer:
        return await service.inspection.check(integration, endpoint, page_size=page_size, agent=agent)

    @routes.get(
        "/{integration}/config", summary="How it is set up, masked, and what is wrong with that", dependencies=_VIEWER
    )
    async def config(integration: InPath) -> Setup:
        return await service.inspection.config(integration)

    @routes.get(
        "/{integration}/schema-diff",
        summary="The names that upstream gives against the table's columns",
        dependencies=_VIEWER,
    )
    async def schema_diff(integration: InPath, entity: Annotated[Word, Query(examples=["owners"])]) -> SchemaDiff:
        return await service.schemas.diff(integration, entity)

    @routes.get(
        "/{integration}/schema-policy", summary="What becomes of fields that are not documented", dependencies=_VIEWER
    )
    async def policies(integration: InPath) -> list[PolicyView]:
        return await service.schemas.policies(integration)

    @routes.put(
        "/{integration}/schema-policy", summary="Choose what becomes of an entity's undocumented fields",
        description="It holds from the entity's next run on. 409 where the environment gives it.",
        responses=problems(409),
    )  # fmt: skip
    async def choose(integration: InPath, body: NewPolicy, who: Admin) -> PolicyView:
        return await service.schemas.choose(integration, body.entity, body.policy, by=who.name)

    return routes
