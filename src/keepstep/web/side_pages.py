"""The pages beside the control center: runs, one run, dead letters, what people did, and the settings.

Each is one address: asked by a browser it is the whole page, asked by the page itself only what may have changed.
"""

from typing import Annotated, Any, Literal, get_args

from fastapi import APIRouter, Query, Request, Response

from keepstep.model.schedule import Identity
from keepstep.service import lists
from keepstep.service.core import Service
from keepstep.service.run_page import run_view
from keepstep.service.troubles import utc_now
from keepstep.web.parameters import NO_NUL, Id, Older
from keepstep.web.rendering import Pages
from keepstep.web.security import Viewer
from keepstep.web.sign_in import HOME

Name = Annotated[str, Query(max_length=200, pattern=NO_NUL)]
_Result = Literal["queued", "running", "waiting", "succeeded", "failed", "held", "stopped", "crashed"]


def router(service: Service, pages: Pages) -> APIRouter:
    """The routes."""
    routes = APIRouter(prefix=HOME, include_in_schema=False)
    _runs(routes, service, pages)
    _letters(routes, service, pages)
    _audit(routes, service, pages)
    _settings(routes, service, pages)
    return routes


def shown(request: Request, pages: Pages, name: str, who: Identity, **values: Any) -> Response:
    """The page of this name, or only its changing part where the page itself asks."""
    if "hx-request" in request.headers:
        return pages.fragment(request, name, who, **values)
    return pages.page(request, name, who, rendered=utc_now(), **values)


def _runs(routes: APIRouter, service: Service, pages: Pages) -> None:
    @routes.get("/runs")
    async def runs(
        request: Request, who: Viewer, entity: Name = "", result: _Result | Literal[""] = "", before: Older = ""
    ) -> Response:
        view = await lists.runs(service, entity=entity, result=result, before=_number(before))
        chosen = {"entity": entity, "result": result, "before": before}
        return shown(request, pages, "runs_list", who, view=view, chosen=chosen, results=get_args(_Result))

    @routes.get("/runs/{run_id}")
    async def run(request: Request, who: Viewer, run_id: Id, before: Older = "") -> Response:
        view = await run_view(service, run_id, before=_number(before))
        return shown(request, pages, "run_page", who, view=view, run=view.run)


def _letters(routes: APIRouter, service: Service, pages: Pages) -> None:
    @routes.get("/dlq")
    async def letters(
        request: Request, who: Viewer, entity: Name = "", kind: Name = "",
        state: Literal["open", "resolved", "discarded", "all"] = "open", before: Older = "",
    ) -> Response:  # fmt: skip
        view = await lists.letters(service, entity=entity, kind=kind, state=state, before=_number(before))
        chosen = {"entity": entity, "kind": kind, "state": state, "before": before}
        return shown(request, pages, "letters_list", who, view=view, chosen=chosen)


def _audit(routes: APIRouter, service: Service, pages: Pages) -> None:
    @routes.get("/audit")
    async def audit(request: Request, who: Viewer, user: Name = "", action: Name = "", before: Older = "") -> Response:
        view = await lists.acts(service, user=user, action=action, before=_number(before))
        chosen = {"user": user, "action": action, "before": before}
        return shown(request, pages, "audit_list", who, view=view, chosen=chosen)


def _settings(routes: APIRouter, service: Service, pages: Pages) -> None:
    @routes.get("/settings")
    async def settings(request: Request, who: Viewer) -> Response:
        return shown(request, pages, "settings_list", who, view=await lists.settings(service))


def _number(text: str) -> int | None:
    return int(text) if text else None
