"""What users have connected: their own for themselves, everybody's for administrators."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query

from keepstep.service.owner_lines import OwnerLine, OwnerPage
from keepstep.service.owners import MOST_LISTED, OwnerConnections
from keepstep.service.shapes import RunSummary, Shape
from keepstep.web.openapi import problems
from keepstep.web.parameters import NO_NUL, Before, Body, Limit, Number, Reason, Word
from keepstep.web.security import Admin, Caller

Key = Annotated[str, Path(max_length=200, description="Which integration.", examples=["google_contacts"])]
_States = Literal["connected", "needs-connecting", "needs-reconnect", "paused"]


class Owned(Body):
    """Whose connection to which integration."""

    integration: Word
    owner: Word


class OwnedPause(Owned):
    """And why; its owner reads it."""

    reason: Reason


class OwnRun(Shape):
    """The run, also one that was live already."""

    run_id: int


def router(owners: OwnerConnections) -> APIRouter:
    """The routes."""
    routes = APIRouter(prefix="/api")
    _own(routes, owners)
    _everybodys(routes, owners)
    return routes


def _own(routes: APIRouter, owners: OwnerConnections) -> None:
    @routes.get("/auto-sync", summary="What the caller has connected, and how it does", tags=["auto-sync"])
    async def own(who: Caller) -> list[OwnerLine]:
        return await owners.of(who.owner)

    @routes.post(
        "/auto-sync/{integration}/run", summary="Sync one's own now", tags=["auto-sync"], status_code=202,
        responses=problems(404, 409), description="Gives the run that is live already, if one is.",
    )  # fmt: skip
    async def run(integration: Key, who: Caller) -> OwnRun:
        return OwnRun(run_id=await owners.run(owners.of_users(integration), who.owner, by=who.name))

    @routes.delete(
        "/auto-sync/{integration}", summary="Forget the caller's credentials", tags=["auto-sync"], status_code=204
    )
    async def disconnect(integration: Key, who: Caller) -> None:
        await owners.disconnect(integration, who.owner, by=who.name)

    @routes.get("/auto-sync/{integration}/runs", summary="The caller's runs, newest first", tags=["auto-sync"])
    async def history(integration: Key, who: Caller, limit: Limit = 50, before: Before = None) -> list[RunSummary]:
        return await owners.history(owners.of_users(integration), who.owner, before=before, limit=limit)


def _everybodys(routes: APIRouter, owners: OwnerConnections) -> None:
    @routes.get("/admin/owners", summary="Everybody's connections, page by page", tags=["owners"])
    async def everybodys(
        _who: Admin,
        integration: Annotated[str | None, Query(max_length=200, pattern=NO_NUL)] = None,
        state: Annotated[_States | None, Query(description="Only those that are so.")] = None,
        failing: Annotated[bool, Query(description="Only those whose last run failed.")] = False,
        search: Annotated[
            str | None, Query(max_length=200, pattern=NO_NUL, description="Part of an id, a name or a workspace.")
        ] = None,
        after: Annotated[Number | None, Query(description="The ``next`` of the page before.")] = None,
        limit: Annotated[int, Query(ge=1, le=MOST_LISTED)] = 100,
    ) -> OwnerPage:
        return await owners.page(
            integration=integration, state=state, failing=failing, search=search, after=after, limit=limit
        )

    @routes.post("/admin/owners/pause", summary="Let nothing of one begin", tags=["owners"], responses=problems(404))
    async def pause(body: OwnedPause, who: Admin) -> OwnerLine:
        return await owners.pause(body.integration, body.owner, reason=body.reason, by=who.name)

    @routes.post("/admin/owners/resume", summary="End a pause", tags=["owners"], responses=problems(404))
    async def resume(body: Owned, who: Admin) -> OwnerLine:
        return await owners.resume(body.integration, body.owner, by=who.name)

    @routes.post(
        "/admin/owners/run", summary="Sync one now", tags=["owners"], status_code=202, responses=problems(404, 409)
    )
    async def run(body: Owned, who: Admin) -> OwnRun:
        return OwnRun(run_id=await owners.run(body.integration, body.owner, by=who.name))
