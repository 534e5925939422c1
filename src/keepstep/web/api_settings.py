"""What can be changed while Keepstep runs: the schedule, the settings, and where alerts go."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from pydantic import Field, StringConstraints

from keepstep.model.errors import BadRequest
from keepstep.model.schedule import Role
from keepstep.service.alerts import MOST_LISTED, AlertList, TestDelivery
from keepstep.service.core import Service
from keepstep.service.schedules import LEAST_MINUTES, MOST_MINUTES, ScheduleView
from keepstep.service.setup import SettingLine, Setup
from keepstep.service.shapes import Absent
from keepstep.web.openapi import problems
from keepstep.web.parameters import Body, IntegrationKey, Word
from keepstep.web.security import Admin, needs

_VIEWER = [needs(Role.VIEWER)]
Variable = Annotated[str, Path(description="Its name in the environment.", examples=["KEEPSTEP_DROP_GUARD_PERCENT"])]


class ScheduleChange(Body):
    """What is to change; what is left out stays. ``fullAtHourUtc`` null: no nightly full run."""

    enabled: Annotated[bool | None, Absent] = None
    interval_minutes: Annotated[
        Annotated[int, Field(ge=LEAST_MINUTES, le=MOST_MINUTES)] | None, Absent
    ] = None  # fmt: skip
    full_at_hour_utc: Annotated[int, Field(ge=0, le=23)] | None = None
    entities: Annotated[Annotated[list[Word], Field(min_length=1, max_length=100)] | None, Absent] = None


class NewValue(Body):
    """A setting's value, as one would write it in the environment."""

    value: Annotated[
        str,
        StringConstraints(min_length=1, max_length=4000, pattern=r"^[^\x00]*[^\s\x00][^\x00]*$"),
        Field(examples=["40"]),
    ]


def router(service: Service) -> APIRouter:
    """The routes."""
    routes = APIRouter(prefix="/api/admin")
    _schedule(routes, service)
    _settings(routes, service)
    _alerts(routes, service)
    return routes


def _schedule(routes: APIRouter, service: Service) -> None:
    @routes.get(
        "/sync/schedule", summary="When an integration is synced by itself", tags=["schedule"],
        dependencies=_VIEWER, responses=problems(404),
    )  # fmt: skip
    async def schedule(integration: IntegrationKey = "doorloop") -> ScheduleView:
        return await service.schedules.get(integration)

    @routes.put(
        "/sync/schedule", summary="Change that, at once", tags=["schedule"], responses=problems(404, 409),
        description="409 for what the environment sets.",
    )  # fmt: skip
    async def set_schedule(body: ScheduleChange, who: Admin, integration: IntegrationKey = "doorloop") -> ScheduleView:
        changes: dict[str, Any] = {name: getattr(body, name) for name in body.model_fields_set}
        if not changes:
            raise BadRequest("Nothing is to change.", fix="Give enabled, intervalMinutes, fullAtHourUtc or entities.")
        return await service.schedules.set(integration, changes, by=who.name)


def _settings(routes: APIRouter, service: Service) -> None:
    @routes.get("/sync/settings", summary="Every setting, secrets masked", tags=["settings"], dependencies=_VIEWER)
    async def settings() -> Setup:
        return await service.preferences.setup()

    @routes.put(
        "/sync/settings/{variable}", summary="Change one setting, without a restart", tags=["settings"],
        responses=problems(409), description="409 for what the environment gives, or only it can give.",
    )  # fmt: skip
    async def choose(variable: Variable, body: NewValue, who: Admin) -> SettingLine:
        return await service.preferences.choose(variable, body.value, by=who.name)

    @routes.delete(
        "/sync/settings/{variable}", summary="Go back to a setting's default", tags=["settings"],
        responses=problems(409),
    )  # fmt: skip
    async def forget(variable: Variable, who: Admin) -> SettingLine:
        return await service.preferences.choose(variable, None, by=who.name)


def _alerts(routes: APIRouter, service: Service) -> None:
    @routes.get("/alerts", summary="What somebody must look at", tags=["alerts"], dependencies=_VIEWER)
    async def alerts(
        state: Annotated[Literal["open", "ended"] | None, Query(description="Only those that are so.")] = None,
        limit: Annotated[int, Query(ge=1, le=MOST_LISTED)] = 100,
    ) -> AlertList:
        return await service.alerts.list(state=state, limit=limit)

    @routes.post(
        "/alerts/test", summary="Send a test message to where alerts go", tags=["alerts"], responses=problems(409),
        description="200 also when it does not arrive: what became of it is the answer. 409 where no webhook is set.",
    )  # fmt: skip
    async def test_alert(who: Admin) -> TestDelivery:
        return await service.alerts.test(by=who.name)
