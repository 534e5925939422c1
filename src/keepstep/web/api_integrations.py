"""Integrations: which there are, and whether they answer."""

from typing import Annotated

from fastapi import APIRouter, Query

from keepstep.model.schedule import Role
from keepstep.service.core import Service
from keepstep.service.inspection import IntegrationView, SchemaDiff
from keepstep.service.pinger import PingSample
from keepstep.service.setup import Setup
from keepstep.service.upstream import CheckAnswer, PingAnswer
from keepstep.web.parameters import InPath, Word
from keepstep.web.security import needs


def router(service: Service) -> APIRouter:
    """The routes."""
    routes = APIRouter(prefix="/api/admin/integrations", tags=["integrations"], dependencies=[needs(Role.VIEWER)])

    @routes.get("", summary="Every integration with its health")
    async def integrations() -> list[IntegrationView]:
        return await service.inspection.all()

    @routes.get(
        "/{integration}/ping", summary="Whether upstream answers and takes the credentials",
        description="200 also when it does not: the reason is the answer.",
    )  # fmt: skip
    async def ping(integration: InPath) -> PingAnswer:
        return await service.inspection.ping(integration)

    @routes.get(
        "/{integration}/pings", summary="How upstream answered lately when it was asked by itself, newest first"
    )
    async def pings(integration: InPath, limit: Annotated[int, Query(ge=1, le=500)] = 100) -> list[PingSample]:
        service.inspection.known(integration)
        return await service.pinger.samples(integration, limit=limit)

    @routes.get("/{integration}/check", summary="What one endpoint of upstream answers")
    async def check(
        integration: InPath,
        endpoint: Annotated[Word, Query(description="An entity, or a path of upstream's API.", examples=["owners"])],
        page_size: Annotated[int, Query(ge=1, le=1000)] = 1,
    ) -> CheckAnswer:
        return await service.inspection.check(integration, endpoint, page_size=page_size)

    @routes.get("/{integration}/config", summary="How it is set up, masked, and what is wrong with that")
    async def config(integration: InPath) -> Setup:
        return await service.inspection.config(integration)

    @routes.get("/{integration}/schema-diff", summary="The names that upstream gives against the table's columns")
    async def schema_diff(integration: InPath, entity: Annotated[Word, Query(examples=["owners"])]) -> SchemaDiff:
        return await service.inspection.schema_diff(integration, entity)

    return routes
