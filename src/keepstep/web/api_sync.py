"""Runs: what is going on, what went on, starting and stopping."""

from datetime import timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import Field

from keepstep.model.schedule import Role
from keepstep.service.core import Service
from keepstep.service.errors_view import ErrorGroup
from keepstep.service.health_history import MOST_HOURS, HealthAt
from keepstep.service.limits import BreakerView, Outlook, RateSample
from keepstep.service.requests import run_request
from keepstep.service.shapes import Absent, HeldDeletions, RunDetail, RunSummary, Shape
from keepstep.service.status import Status
from keepstep.web.openapi import problems
from keepstep.web.parameters import Before, Body, Id, IntegrationKey, Limit, OfAgent, OfEntity, Older, Reason, Word
from keepstep.web.security import Admin, Operator, needs

_RESULTS = Literal["queued", "running", "waiting", "succeeded", "failed", "held", "stopped", "crashed", ""]
_UNITS = {"m": "minutes", "h": "hours", "d": "days"}
_MOST_EVENTS = 500
_USER, _VIEWER = [needs(Role.USER)], [needs(Role.VIEWER)]


class RunAsked(Body):
    """A run to start. Without ``entities`` those of the schedule are read. ``since`` replaces a delta's watermark."""

    entities: Annotated[list[Word] | None, Absent, Field(examples=[["owners", "leases"]])] = None
    mode: Literal["delta", "incremental", "backfill", "full"] = "delta"
    since: Annotated[Word | None, Absent, Field(examples=["2026-03-31"])] = None
    dry_run: bool = False
    integration: Annotated[Word, Field(examples=["doorloop"])] = "doorloop"


class Started(Shape):
    """The run is queued under this number."""

    run_id: int


class Stopped(Shape):
    """Whether a run was live, and which. It has ended."""

    stopped: bool
    run_id: int | None


class Decision(Body):
    """What becomes of the deletions that a run holds."""

    action: Literal["approve", "discard"]
    reason: Reason


class Decided(Shape):
    """What was done. ``deleted``: the rows that are now marked deleted; ``entities``: those that were decided."""

    run_id: int
    action: Literal["approve", "discard"]
    deleted: int
    entities: list[str]


def router(service: Service) -> APIRouter:
    """The routes."""
    routes = APIRouter(prefix="/api/admin/sync", tags=["sync"])
    _overview(routes, service)
    _acts(routes, service)
    _history(routes, service)
    return routes


def _overview(routes: APIRouter, service: Service) -> None:
    @routes.get("/status", summary="How everything stands", dependencies=_VIEWER, responses=problems(404))
    async def status(integration: IntegrationKey = "doorloop") -> Status:
        configured = await service.connectors.is_configured(integration)
        return await service.overview.status(integration, configured=configured)

    @routes.get(
        "/rate-limit", summary="How upstream's limits went lately", dependencies=_VIEWER, responses=problems(404)
    )
    async def rate_limit(
        window: Annotated[
            str, Query(pattern=r"^[1-9][0-9]{0,4}[mhd]$", description="Like 15m, 1h or 7d; at most 7 days.")
        ] = "1h",
        integration: IntegrationKey = "doorloop",
    ) -> list[RateSample]:
        service.inspection.known(integration)
        return await service.limits.samples(integration, timedelta(**{_UNITS[window[-1]]: int(window[:-1])}))

    @routes.get(
        "/rate-limit/outlook", summary="How upstream is asked, and whether its limit is enough for a full run",
        dependencies=_VIEWER, responses=problems(404),
    )  # fmt: skip
    async def outlook(integration: IntegrationKey = "doorloop") -> Outlook:
        service.inspection.known(integration)
        return await service.limits.outlook(integration)

    @routes.get("/health", summary="The health score, hour by hour", dependencies=_VIEWER, responses=problems(404))
    async def health_history(
        hours: Annotated[int, Query(ge=1, le=MOST_HOURS)] = 24, integration: IntegrationKey = "doorloop"
    ) -> list[HealthAt]:
        service.inspection.known(integration)
        return await service.health_history.since(integration, hours=hours)

    @routes.get(
        "/errors", summary="Errors, each kind once", dependencies=_VIEWER,
        description="The same status, path and words are one kind, whatever numbers, ids and times stand in them.",
    )  # fmt: skip
    async def errors(entity: OfEntity = None) -> list[ErrorGroup]:
        return await service.errors.groups(entity=entity)


def _acts(routes: APIRouter, service: Service) -> None:
    @routes.post(
        "/run", summary="Start a run", status_code=202, responses=problems(404, 409),
        description="409 while a run is queued, running or waiting, with its runId.",
    )  # fmt: skip
    async def run(body: RunAsked, who: Operator) -> Started:
        key = body.integration
        known = service.inspection.known(key)
        names = body.entities if body.entities is not None else (await service.schedules.get(key)).entities
        request = run_request(
            key, known.entities, entities=names, mode=body.mode, since=body.since, dry_run=body.dry_run,
            actor=who.name, allow_backfill=(await service.preferences.effective()).allow_backfill,
        )  # fmt: skip
        run_id = await service.commands.enqueue(key, request)
        asked = {"integration": key, **body.model_dump(mode="json", exclude_none=True), "entities": request.entities}
        await service.audit.record(who.name, "run.start", asked, f"run {run_id}")
        return Started(run_id=run_id)

    @routes.post(
        "/stop", summary="End the live run, whatever it is doing", responses=problems(404),
        description="What it committed stays, and the next run goes on from there. Harmless when none is live.",
    )  # fmt: skip
    async def stop(
        who: Operator, integration: IntegrationKey = "doorloop", agent: OfAgent = None
    ) -> Stopped:  # fmt: skip
        service.inspection.known(integration)
        run_id = await service.commands.stop(integration, owner=agent)
        if run_id is not None:
            asked = {"integration": integration, **({} if agent is None else {"agent": agent})}
            await service.audit.record(who.name, "run.stop", asked, f"run {run_id}")
        return Stopped(stopped=run_id is not None, run_id=run_id)

    @routes.post(
        "/runs/{run_id}/held", summary="Decide about the deletions that a run holds", responses=problems(409)
    )  # fmt: skip
    async def decide(run_id: Id, body: Decision, who: Operator) -> Decided:
        await service.views.run(run_id)
        if body.action == "approve":
            names = [one.entity for one in await service.views.held() if one.run_id == run_id]
            deleted = await service.commands.approve(run_id, by=who.name, reason=body.reason)
        else:
            names, deleted = await service.commands.discard_held(run_id, by=who.name, reason=body.reason), 0
        return Decided(run_id=run_id, action=body.action, deleted=deleted, entities=names)

    @routes.post("/breaker/close", summary="Let requests leave again at once", responses=problems(404))
    async def close_breaker(who: Admin, integration: IntegrationKey = "doorloop") -> BreakerView:
        service.inspection.known(integration)
        return await service.limits.close_breaker(integration, by=who.name)


def _history(routes: APIRouter, service: Service) -> None:
    @routes.get("/runs", summary="Runs, newest first", dependencies=_USER)
    async def runs(
        limit: Limit = 50, entity: OfEntity = None, result: _RESULTS = "", before: Older = ""
    ) -> list[RunSummary]:
        older_than = int(before) if before else None
        return await service.views.runs(limit=limit, entity=entity or None, result=result or None, before=older_than)

    @routes.get("/runs/{run_id}", summary="One run with its pages and its newest events", dependencies=_USER)
    async def run_detail(
        run_id: Id,
        before: Before = None,
        events: Annotated[int, Query(ge=0, le=5000, description="How many events, at most.")] = _MOST_EVENTS,
    ) -> RunDetail:
        return await service.views.run_detail(run_id, before=before, limit=events)

    @routes.get("/held", summary="Deletions that wait for a decision, newest first", dependencies=_VIEWER)
    async def held(
        state: Literal["open", "approved", "discarded", "void", "all"] = "open",
    ) -> list[HeldDeletions]:
        return await service.views.held(state=None if state == "all" else state)
