"""Connecting the caller's own account: a browser goes to give consent, and comes back with it."""

from typing import Annotated, Any

from fastapi import APIRouter, Cookie, Query, Request, Response
from fastapi.responses import RedirectResponse

from keepstep.service.consent import LIVES, Consents
from keepstep.web.accounts_api import is_https
from keepstep.web.api_owners import Key
from keepstep.web.openapi import problems
from keepstep.web.parameters import NO_NUL
from keepstep.web.security import Caller

COOKIE = "keepstep_consent"
_PATH = "/api/connections"
_LOCAL = r"^(/([^/\\\x00-\x20\x7f][^\\\x00-\x20\x7f]*)?)?$"
"""An address of ours. Browsers read a backslash as a slash, and leave out what cannot be seen."""
_AWAY: dict[int | str, dict[str, Any]] = {
    303: {"description": "Go there.", "headers": {"location": {"schema": {"type": "string"}}}}
}


def router(consents: Consents) -> APIRouter:
    """The routes."""
    routes = APIRouter(prefix=_PATH, tags=["auto-sync"])

    @routes.get(
        "/{integration}/connect", summary="Send the caller's browser to give consent", status_code=303,
        response_class=RedirectResponse, responses={**_AWAY, **problems(404, 422)},
        description="A cookie holds the attempt, encrypted, for ten minutes.",
    )  # fmt: skip
    async def connect(
        request: Request,
        integration: Key,
        who: Caller,
        account: Annotated[
            str, Query(max_length=320, pattern=NO_NUL, description="The address of the account, if known.")
        ] = "",
        next: Annotated[  # noqa: A002
            str, Query(max_length=2000, pattern=_LOCAL, description="Where to go in the end: a path of this host.")
        ] = "",
    ) -> Response:
        here = f"{'https' if is_https(request) else 'http'}://{request.url.netloc}"
        begun = await consents.begin(integration, who, here=here, account=account, after=next)
        answer = RedirectResponse(begun.address, 303)
        answer.set_cookie(
            COOKIE, begun.kept, max_age=int(LIVES.total_seconds()), path=_PATH, httponly=True, samesite="lax",
            secure=is_https(request),
        )  # fmt: skip
        return answer

    @routes.get(
        "/{integration}/callback", summary="Where the browser comes back to", status_code=204,
        response_class=Response, responses={**_AWAY, **problems(404, 409, 422, 502)},
        description="The account is connected then, and what waits for it begins.",
    )  # fmt: skip
    async def callback(
        request: Request,
        integration: Key,
        who: Caller,
        code: Annotated[str, Query(max_length=4000, pattern=NO_NUL)] = "",
        state: Annotated[str, Query(max_length=200, pattern=NO_NUL)] = "",
        error: Annotated[str, Query(max_length=200, pattern=NO_NUL)] = "",
        kept: Annotated[str, Cookie(alias=COOKIE, include_in_schema=False)] = "",
    ) -> Response:
        query = {"code": code, "state": state, "error": error}
        after = await consents.finish(integration, who, kept, query)
        answer = RedirectResponse(after, 303) if after else Response(status_code=204)
        answer.delete_cookie(COOKIE, path=_PATH, httponly=True, samesite="lax", secure=is_https(request))
        return answer

    return routes
