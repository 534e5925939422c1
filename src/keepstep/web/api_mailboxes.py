"""Connecting a mailbox by its address and password: the caller's own, and for an administrator anybody's."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query
from pydantic import Field, StringConstraints

from keepstep.model.errors import NotFound
from keepstep.service.mailboxes import Given, Mailbox, Mailboxes
from keepstep.web.api_owners import Key
from keepstep.web.openapi import problems
from keepstep.web.parameters import HOST, LINE, NO_NUL, Body
from keepstep.web.security import Caller

_Line = Annotated[str, StringConstraints(max_length=320, pattern=LINE)]
_Whose = Annotated[
    str | None, Query(max_length=200, pattern=NO_NUL, description="An administrator gives a user's id or name.")
]


class MailboxGiven(Body):
    """The e-mail address, or all of it as ``imaps://user@host/folders``. What is left out is found out."""

    address: Annotated[
        str, StringConstraints(min_length=1, max_length=2000, pattern=LINE), Field(examples=["anna@example.test"])
    ]
    password: Annotated[str, StringConstraints(min_length=1, max_length=1000, pattern=LINE)]
    user: _Line = ""
    host: Annotated[str, StringConstraints(max_length=253, pattern=HOST)] = ""
    port: Annotated[int | None, Field(ge=1, le=65535)] = None
    security: Literal["tls", "starttls", "none"] | None = None
    folders: Annotated[list[_Line], Field(max_length=100, description="Names; * stands for anything.")] = Field(
        default_factory=list
    )


def router(mailboxes: Mailboxes) -> APIRouter:
    """The routes."""
    routes = APIRouter(prefix="/api/connections", tags=["auto-sync"])
    owners = mailboxes.owners

    @routes.get("/mail", summary="The mailbox that is connected, without its password", responses=problems(404))
    async def shown(who: Caller, user: _Whose = None) -> Mailbox:
        found = await mailboxes.of(await owners.whose(who, user))
        if found is None:
            raise NotFound("No mailbox is connected.", fix="Connect one with: POST /api/connections/mail/imap")
        return found

    @routes.post(
        "/mail/imap", summary="Connect a mailbox on an IMAP server", responses=problems(404, 422, 429, 502),
        description="It is logged in to first: what is wrong is told, and nothing is stored then.",
    )  # fmt: skip
    async def connect(body: MailboxGiven, who: Caller, user: _Whose = None) -> Mailbox:
        given = Given(
            body.address, body.password, body.user, body.host, body.port, body.security,
            tuple(folder for folder in body.folders if folder.strip()),
        )  # fmt: skip
        return await mailboxes.connect(await owners.whose(who, user), given, by=who.name)

    @routes.delete(
        "/{integration}", summary="Forget the credentials, and end what runs with them", status_code=204,
        responses=problems(404),
    )  # fmt: skip
    async def disconnect(integration: Key, who: Caller, user: _Whose = None) -> None:
        await owners.disconnect(integration, await owners.whose(who, user), by=who.name)

    return routes
