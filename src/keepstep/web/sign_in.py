"""Signing in and out with a browser: plain forms, which work without any script."""

from typing import Annotated
from urllib.parse import parse_qs, quote

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from keepstep.model.errors import NotSignedIn, TooManyTries
from keepstep.model.schedule import Identity, Role
from keepstep.service.accounts import Accounts
from keepstep.service.problems import problem
from keepstep.web.accounts_api import caller_address, is_https
from keepstep.web.guard import SESSION_COOKIE, session_cookie
from keepstep.web.rendering import Pages
from keepstep.web.security import anyone

HOME = "/systems/integrations"
LOGIN = "/login"
_MOST = 1024


def router(accounts: Accounts, pages: Pages) -> APIRouter:
    """The routes."""
    routes = APIRouter(dependencies=[anyone], include_in_schema=False)

    @routes.get(LOGIN)
    async def login(request: Request, next: Annotated[str, Query(max_length=2000)] = "") -> Response:  # noqa: A002
        known = await accounts.identify(token=None, session=session_cookie(request.headers))
        if known is not None:
            return RedirectResponse(_beginning(place(next), known), 303)
        return pages.page(request, "login", None, next=place(next), name="", problem=None)

    @routes.post(LOGIN)
    async def sign_in(request: Request) -> Response:
        form = parse_qs((await request.body()).decode("utf-8", "replace"), max_num_fields=10)
        name, password, after = (form.get(field, [""])[0] for field in ("name", "password", "next"))
        try:
            if not name.strip() or not password or max(len(name), len(password)) > _MOST:
                raise NotSignedIn("A name and a password are needed.", fix="Give both.")
            signed_in = await accounts.sign_in(name, password, address=caller_address(request))
        except (NotSignedIn, TooManyTries) as error:
            document = problem(error)
            answer = pages.page(
                request, "login", None, status=document.status, next=place(after), name=name, problem=document
            )
            if isinstance(error, TooManyTries):
                answer.headers["retry-after"] = f"{max(error.after, 1):.0f}"
            return answer
        answer = RedirectResponse(_beginning(place(after), signed_in.who), 303)
        answer.set_cookie(
            SESSION_COOKIE, signed_in.session, max_age=int(signed_in.lives), httponly=True, samesite="lax",
            secure=is_https(request),
        )  # fmt: skip
        return answer

    @routes.post("/logout")
    async def sign_out(request: Request) -> Response:
        if (session := session_cookie(request.headers)) is not None:
            await accounts.sign_out(session)
        answer = RedirectResponse(LOGIN, 303)
        answer.delete_cookie(SESSION_COOKIE, httponly=True, samesite="lax", secure=is_https(request))
        return answer

    return routes


def place(after: str) -> str:
    """Where to go after signing in: an address of ours, or home. Browsers read a backslash as a slash."""
    ours = after.startswith("/") and not after.startswith(("//", "/\\", LOGIN)) and after.isprintable()
    return after if ours else HOME


def home_of(who: Identity) -> str:
    """The page that somebody begins with: users have none of the control center."""
    return "/contacts" if who.role is Role.USER else HOME


def _beginning(wanted: str, who: Identity) -> str:
    """What was wanted, unless it is one of the pages that users have not."""
    path = wanted.partition("?")[0]
    ours = any(path == place or path.startswith(f"{place}/") for place in (HOME, "/admin"))
    return home_of(who) if wanted in ("/", HOME) or (ours and who.role is Role.USER) else wanted


def way_in(request: Request, error: Exception) -> Response | None:
    """The way to sign in, for a page that needs it."""
    if not isinstance(error, NotSignedIn) or request.method != "GET":
        return None
    wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    suffix = "" if wanted in ("/", HOME) else f"?next={quote(wanted, safe='')}"
    return RedirectResponse(LOGIN + suffix, 303)
