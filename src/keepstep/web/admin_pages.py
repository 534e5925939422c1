"""Pages of whoever looks after Keepstep: the raw state with a run by hand, users and tokens, and one's own account."""

from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from keepstep.model.errors import NotFound
from keepstep.service.control_center import ControlCenter
from keepstep.service.core import Service
from keepstep.service.lists import LISTED
from keepstep.web.parameters import NO_NUL, Id, IntegrationKey, Older
from keepstep.web.rendering import Pages
from keepstep.web.security import Admin, Caller, Viewer
from keepstep.web.side_pages import shown

_Text = Annotated[str, Query(max_length=200, pattern=NO_NUL)]
RAW = {
    "status": ("Status", "/api/admin/sync/status?integration={key}"),
    "schedule": ("Schedule", "/api/admin/sync/schedule?integration={key}"),
    "settings": ("Settings", "/api/admin/sync/settings"),
    "config": ("Configuration", "/api/admin/integrations/{key}/config"),
    "integrations": ("Integrations", "/api/admin/integrations"),
    "runs": ("Newest runs", "/api/admin/sync/runs?limit=5"),
    "held": ("Held deletions", "/api/admin/sync/held"),
    "errors": ("Errors", "/api/admin/sync/errors"),
    "limits": ("Rate limit", "/api/admin/sync/rate-limit?window=15m&integration={key}"),
    "ready": ("Readiness", "/readyz"),
    "metrics": ("Metrics", "/metrics"),
}
"""What /admin/sync shows as it is: words and address by name."""


def router(service: Service, pages: Pages) -> APIRouter:
    """The routes."""
    routes = APIRouter(include_in_schema=False)
    _sync(routes, ControlCenter(service), pages)
    _accounts(routes, service, pages)
    return routes


def _sync(routes: APIRouter, center: ControlCenter, pages: Pages) -> None:
    @routes.get("/admin/sync")
    async def sync(
        request: Request, who: Viewer, integration: IntegrationKey = "doorloop",
        show: Annotated[str, Query(max_length=40)] = "status",
    ) -> Response:  # fmt: skip
        if show not in RAW:
            raise NotFound(f"There is no such state: {show!r}.", fix=f"There are: {', '.join(RAW)}.")
        look = center.look(integration)
        raw = {name: (words, address.format(key=integration)) for name, (words, address) in RAW.items()}
        return shown(
            request, pages, "admin_sync", who, integration=integration, title=look.title, raw=raw, show=show,
            integrations=center.integrations(), panel=await look.part("run"), limits=await look.part("limits"),
        )  # fmt: skip


def _accounts(routes: APIRouter, service: Service, pages: Pages) -> None:
    accounts = service.accounts

    @routes.get("/admin/users")
    async def users(request: Request, who: Admin, search: _Text = "", after: Older = "") -> Response:
        found = await accounts.users(search=search, after=int(after) if after else None, limit=LISTED + 1)
        return shown(
            request, pages, "users", who, users=found[:LISTED], more=len(found) > LISTED,
            count=await accounts.count_users(), chosen={"search": search, "after": after},
            tokens=await accounts.tokens.all(), me=who.user_id,
        )  # fmt: skip

    @routes.get("/admin/tokens")
    async def tokens(_who: Admin) -> Response:
        return RedirectResponse("/admin/users#tokens", 303)

    @routes.get("/admin/users/{user_id}")
    async def user(request: Request, who: Admin, user_id: Id) -> Response:
        found = await accounts.user(user_id)
        if "hx-request" not in request.headers:
            many = await accounts.count_users() > LISTED
            query = f"?{urlencode({'search': found.name})}" if many else ""
            return RedirectResponse(f"/admin/users{query}#user-{user_id}", 303)
        return pages.fragment(request, "user_drawer", who, user=found, me=who.user_id)

    @routes.get("/account")
    async def account(request: Request, who: Caller) -> Response:
        return pages.page(request, "account", who)
