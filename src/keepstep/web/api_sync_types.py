"""How often each sync type is read."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path
from pydantic import Field

from keepstep.model.schedule import Role
from keepstep.service.shapes import Absent, Shape
from keepstep.service.sync_types import LEAST_MINUTES, MOST_MINUTES, SyncTypes, SyncTypeView
from keepstep.web.parameters import Body
from keepstep.web.security import Admin, needs

TypeName = Annotated[str, Path(alias="type", max_length=200, description="Which type.", examples=["orders"])]


class Intervals(Shape):
    """Every type: its interval in minutes, and under ``types`` all that is known of it."""

    success: Literal[True] = True
    intervals: dict[str, int]
    types: dict[str, SyncTypeView]


class IntervalChange(Body):
    """What is to change; what is left out stays."""

    # The bounds are the service's to check: it says what to give instead.
    interval_minutes: Annotated[
        Annotated[int, Field(json_schema_extra={"minimum": LEAST_MINUTES, "maximum": MOST_MINUTES})] | None, Absent
    ] = None  # fmt: skip
    enabled: Annotated[bool | None, Absent] = None


class IntervalSet(SyncTypeView):
    """It is so now."""

    success: Literal[True] = True
    type: str


def router(types: SyncTypes) -> APIRouter:
    """The routes."""
    routes = APIRouter(prefix="/api/sync", tags=["sync types"])

    @routes.get("/intervals", summary="How often each type is read", dependencies=[needs(Role.VIEWER)])
    async def intervals() -> Intervals:
        known = await types.all()
        return Intervals(intervals={name: one.interval_minutes for name, one in known.items()}, types=known)

    @routes.post("/intervals/{type}", summary="Change one, at once; the next runs of the others stay")
    async def set_interval(name: TypeName, body: IntervalChange, who: Admin) -> IntervalSet:
        known = await types.set(name, minutes=body.interval_minutes, enabled=body.enabled, by=who.name)
        return IntervalSet(type=name, **known.model_dump(by_alias=False))

    return routes
