"""Auto-sync of the caller's own contacts and mail: what the pages of the CRM were written against, names included."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from keepstep.service.auto_sync import CONTACTS, MAIL, AutoSync, Config, Kind
from keepstep.web.openapi import problems
from keepstep.web.parameters import NO_NUL
from keepstep.web.security import Caller

Workspace = Annotated[str, StringConstraints(max_length=200, pattern=NO_NUL)]
_WORKSPACE = "The front end's workspace; an administrator gives the id of a user for that user's config."


class _Snake(BaseModel):
    """These paths have snake_case names."""

    model_config = ConfigDict(extra="forbid", strict=True)


def _interval(kind: Kind) -> object:
    """The bounds are the service's to check: it says what to give instead."""
    return Field(json_schema_extra={"minimum": kind.least, "maximum": kind.most})


class ContactsChange(_Snake):
    """What is to be; what is left out stays."""

    workspace_id: Workspace | None = None
    enabled: bool | None = None
    interval_hours: Annotated[int | None, _interval(CONTACTS)] = None


class ContactsConfig(_Snake):
    """The auto-sync of contacts. ``next_sync_at`` is null while it is not enabled."""

    enabled: bool
    interval_hours: int
    last_sync_at: datetime | None
    next_sync_at: datetime | None


class MailChange(_Snake):
    """What is to be; what is left out stays."""

    enabled: bool | None = None
    interval_minutes: Annotated[int | None, _interval(MAIL)] = None


class MailSettings(_Snake):
    """The auto-sync of mail."""

    enabled: bool
    interval_minutes: int


class Saved(_Snake):
    """It is so now."""

    success: Literal[True] = True


class Loaded(Saved):
    """The caller's settings."""

    settings: MailSettings


def router(auto_sync: AutoSync) -> APIRouter:
    """The routes."""
    routes = APIRouter(prefix="/api", tags=["auto-sync"])

    @routes.get(
        "/logos-vision/auto-sync/config", summary="The auto-sync of one's own contacts", responses=problems(409)
    )
    async def contacts(
        who: Caller, workspace_id: Annotated[Workspace | None, Query(description=_WORKSPACE)] = None
    ) -> ContactsConfig:
        return _contacts(await auto_sync.get(CONTACTS, who, workspace=workspace_id))

    @routes.put(
        "/logos-vision/auto-sync/config", summary="Change that; enabled, the first sync begins at once",
        responses=problems(409),
    )  # fmt: skip
    async def set_contacts(body: ContactsChange, who: Caller) -> ContactsConfig:
        config = await auto_sync.put(
            CONTACTS, who, enabled=body.enabled, interval=body.interval_hours, workspace=body.workspace_id
        )
        return _contacts(config)

    @routes.post("/settings/save-auto-sync", summary="Change the auto-sync of one's own mail")
    async def save_mail(body: MailChange, who: Caller) -> Saved:
        await auto_sync.put(MAIL, who, enabled=body.enabled, interval=body.interval_minutes)
        return Saved()

    @routes.get("/settings/load-auto-sync", summary="The auto-sync of one's own mail")
    async def load_mail(who: Caller) -> Loaded:
        config = await auto_sync.get(MAIL, who)
        return Loaded(settings=MailSettings(enabled=config.enabled, interval_minutes=config.interval))

    return routes


def _contacts(config: Config) -> ContactsConfig:
    return ContactsConfig(
        enabled=config.enabled, interval_hours=config.interval, last_sync_at=config.last_sync_at,
        next_sync_at=config.next_sync_at,
    )  # fmt: skip
