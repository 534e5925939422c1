"""The log as it is now: what a listener of the feed has missed by coming late."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query

from keepstep.model.schedule import Role
from keepstep.service.log import Log, LoggedLine
from keepstep.service.ring import LEVELS, Wanted
from keepstep.web.parameters import Limit, Older
from keepstep.web.security import needs

OfEntity = Annotated[str, Query(pattern=r"^[A-Za-z0-9_]*$", max_length=100, description="Only events of this entity.")]
OfLevel = Annotated[
    Literal["", "debug", "info", "warning", "error"], Query(description="Only events of this level or above.")
]
OfRun = Annotated[str, Query(alias="runId", pattern=r"^[0-9]{0,18}$", description="Only events of this run.")]


def wanted(entity: OfEntity = "", level: OfLevel = "", run: OfRun = "") -> Wanted:
    """The events that are asked for."""
    return Wanted(entity or None, level or LEVELS[0], int(run) if run else None)


def router(log: Log) -> APIRouter:
    """The route."""
    routes = APIRouter(tags=["sync"], dependencies=[needs(Role.USER)])

    @routes.get("/api/admin/sync/logs", summary="The newest events of all runs, the newest last")
    async def logs(
        entity: OfEntity = "", level: OfLevel = "", run: OfRun = "", limit: Limit = 200, before: Older = ""
    ) -> list[LoggedLine]:
        older_than = int(before) if before else None
        return await log.newest(wanted(entity, level, run), limit=limit, before=older_than)

    return routes
