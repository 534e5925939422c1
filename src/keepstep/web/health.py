"""Whether the process serves, and whether Keepstep does its work: for load balancers, orchestrators and people."""

from typing import Literal

from fastapi import APIRouter, Response

from keepstep.service.readiness import Lookout, Readiness
from keepstep.service.shapes import Shape
from keepstep.store.db import Database
from keepstep.web.security import anyone


class Health(Shape):
    """The process serves. ``version`` is Keepstep's own."""

    status: Literal["ok"] = "ok"
    version: str


def router(database: Database, *, version: str) -> APIRouter:
    """The routes. Both are open to all: who asks them has no credentials, and they tell nothing that needs any."""
    routes = APIRouter(tags=["health"], dependencies=[anyone])
    lookout = Lookout(database)

    @routes.get("/healthz", summary="Whether the process serves")
    async def healthz() -> Health:
        return Health(version=version)

    @routes.get(
        "/readyz",
        summary="Whether database, migrations, workers and scheduler do their work",
        responses={503: {"model": Readiness, "description": "Something does not; the checks say what to do."}},
    )
    async def readyz(response: Response) -> Readiness:
        found = await lookout.look()
        response.headers["cache-control"] = "no-store"
        if not found.ok:
            response.status_code = 503
        return found

    return routes
