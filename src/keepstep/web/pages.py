"""The control center: the page, its parts as they are now, and what opens beside it.

A part is rendered from the same dataclass by the same template, whether the whole page is asked for or the part alone.
"""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from keepstep.model.errors import BadRequest
from keepstep.service.control_center import PARTS, ControlCenter
from keepstep.service.core import Service
from keepstep.service.problems import ProblemDocument
from keepstep.service.troubles import utc_now
from keepstep.web.parameters import Before, Id, IntegrationKey
from keepstep.web.problems import AsPage
from keepstep.web.rendering import Pages, wants_page
from keepstep.web.security import Caller, Viewer
from keepstep.web.sign_in import HOME, home_of, way_in

Filter = Annotated[str, Query(max_length=200, pattern=r"^[\w.:+-]*$")]
_EVENTS_SHOWN = 200


def router(service: Service, pages: Pages) -> APIRouter:
    """The routes."""
    routes = APIRouter(include_in_schema=False)
    center = ControlCenter(service)
    _page(routes, center, pages)
    _beside(routes, center, pages)
    return routes


def _page(routes: APIRouter, center: ControlCenter, pages: Pages) -> None:
    @routes.get("/")
    async def root(who: Caller) -> Response:
        return RedirectResponse(home_of(who), 303)

    @routes.get(HOME)
    async def control_center(
        request: Request, who: Viewer, integration: IntegrationKey = "doorloop", entity: Filter = "",
        level: Filter = "", run_id: Annotated[Filter, Query(alias="runId")] = "", line: Filter = "",
    ) -> Response:  # fmt: skip
        look = center.look(integration)
        parts: dict[str, Any] = {}

        async def read() -> None:
            parts.update({name: await look.part(name) for name in PARTS})

        return pages.begun(
            request, "control_center", who, read, integration=integration, title=look.title, parts=parts,
            integrations=center.integrations(), rendered=utc_now(),
            filters={"entity": entity, "level": level, "run_id": run_id, "line": line},
        )  # fmt: skip

    @routes.get(f"{HOME}/live")
    async def live(
        request: Request, who: Viewer, parts: Annotated[str, Query(max_length=500)],
        integration: IntegrationKey = "doorloop", seen: Before = None,
    ) -> Response:  # fmt: skip
        names = list(dict.fromkeys(parts.split(",")))
        if unknown := [name for name in names if name not in PARTS]:
            raise BadRequest(f"The page has no part {unknown[0][:40]!r}.", fix=f"It has: {', '.join(PARTS)}.")
        look = center.look(integration, seen=seen)
        found = {name: await look.part(name) for name in names}
        return pages.fragment(request, "live", who, integration=integration, title=look.title, parts=found)

    @routes.get(f"{HOME}/patterns")
    async def patterns(request: Request, who: Viewer) -> Response:
        return pages.page(request, "patterns", who)


def _beside(routes: APIRouter, center: ControlCenter, pages: Pages) -> None:
    @routes.get(f"{HOME}/drawer/runs/{{run_id}}")
    async def run(request: Request, who: Viewer, run_id: Id) -> Response:
        detail = await center.service.views.run_detail(run_id, limit=_EVENTS_SHOWN)
        return pages.fragment(request, "run_drawer", who, run=detail)

    @routes.get(f"{HOME}/drawer/letters/{{letter_id}}")
    async def letter(request: Request, who: Viewer, letter_id: Id) -> Response:
        detail = await center.service.views.dead_letter(letter_id)
        return pages.fragment(request, "letter_drawer", who, letter=detail)

    @routes.get(f"{HOME}/ping")
    async def ping(request: Request, who: Viewer, integration: IntegrationKey = "doorloop") -> Response:
        answer = await center.service.inspection.ping(integration)
        return pages.fragment(request, "ping", who, ping=answer, integration=integration)


def problem_page(pages: Pages) -> AsPage:
    """How a problem of a page is shown: as a page, or as the way to sign in."""

    def shown(request: Request, document: ProblemDocument, error: Exception) -> Response | None:
        if not wants_page(request):
            return None
        return way_in(request, error) or pages.error(request, document)

    return shown
