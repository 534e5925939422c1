"""``/metrics`` for Prometheus."""

from fastapi import APIRouter, Request, Response

from keepstep.model.schedule import Role
from keepstep.service.metrics import OPEN_METRICS, PLAIN, Metrics
from keepstep.store.db import Database
from keepstep.web.security import needs

_TEXT = {"schema": {"type": "string"}}


def router(database: Database, *, version: str) -> APIRouter:
    """The route. Entity names and failures are nobody's business but ours: it asks for the role viewer."""
    routes = APIRouter(tags=["health"], dependencies=[needs(Role.VIEWER)])
    metrics = Metrics(database, version=version)

    @routes.get(
        "/metrics",
        summary="Everything that can be counted, for Prometheus",
        response_class=Response,
        responses={200: {"content": {PLAIN: _TEXT, OPEN_METRICS: _TEXT}, "description": "The metrics."}},
    )
    async def exposition(request: Request) -> Response:
        body, media_type = await metrics.exposition(request.headers.get("accept", ""))
        return Response(body, headers={"content-type": media_type, "cache-control": "no-store"})

    return routes
