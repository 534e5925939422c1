"""The pages of the ERP: its sync types, how fresh each report of each agent is, the agents, and kept reports."""

from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import RedirectResponse

from keepstep.model.errors import KeepstepError
from keepstep.service.core import Service
from keepstep.service.picture_child import Drawn
from keepstep.service.pictures import Pictures
from keepstep.service.report_board import NEWEST, agent_list, board, cell_view
from keepstep.service.report_cells import PER_AGENT, SHARED, STATES, TITLES
from keepstep.service.report_documents import report_document
from keepstep.service.report_statistics import ROUNDS, Statistics
from keepstep.service.sync_types import LEAST_MINUTES, MOST_MINUTES
from keepstep.web.filters import address
from keepstep.web.parameters import NO_NUL, Id
from keepstep.web.rendering import Pages
from keepstep.web.security import Admin, Operator, Viewer
from keepstep.web.side_pages import shown
from keepstep.web.sign_in import HOME

ERP_HOME = f"{HOME}/erp"
_Text = Annotated[str, Query(max_length=200, pattern=NO_NUL)]
_State = Literal["", "failing", "held", "late", "never", "fresh", "off"]
_After = Annotated[str, Query(pattern=r"^([1-9][0-9]{0,6})?$", description="So many agents are left out.")]
_Report = Annotated[str, Path(pattern=r"^[a-z]{1,40}$")]
_PageNumber = Annotated[int, Query(ge=1, le=100_000)]
_SEALED = {
    "content-security-policy": "default-src 'none'; sandbox; frame-ancestors 'none'", "cache-control": "no-store",
    "x-content-type-options": "nosniff", "cross-origin-resource-policy": "same-origin",
}  # fmt: skip
"""What came from outside does nothing but be looked at, and stays in no cache."""


def router(service: Service, pages: Pages) -> APIRouter:
    """The routes."""
    routes = APIRouter(prefix=ERP_HOME, include_in_schema=False)
    _board(routes, service, pages)
    _documents(routes, service, pages, Pictures(service.documents))
    return routes


def _board(routes: APIRouter, service: Service, pages: Pages) -> None:
    statistics = Statistics(service.database)
    words = {"titles": TITLES, "per_agent": PER_AGENT, "shared": SHARED, "states": tuple(STATES),
             "least": LEAST_MINUTES, "most": MOST_MINUTES, "newest": NEWEST, "rounds_shown": ROUNDS}  # fmt: skip

    @routes.get("")
    async def erp(
        request: Request, who: Viewer, search: _Text = "", state: _State = "", after: _After = ""
    ) -> Response:
        view = await board(service, statistics, search=search.strip(), state=state, first=int(after) if after else 0)
        chosen = {"search": search, "state": state, "after": after}
        return shown(request, pages, "erp", who, view=view, chosen=chosen, **words)

    @routes.get("/agents")
    async def agents(
        request: Request, who: Viewer, search: _Text = "", state: Literal["", "on", "off"] = "", after: _After = ""
    ) -> Response:
        view = await agent_list(service, search=search.strip(), state=state, first=int(after) if after else 0)
        chosen = {"search": search, "state": state, "after": after}
        return shown(request, pages, "erp_agents", who, view=view, chosen=chosen)

    @routes.get("/cells/{report}")
    async def cell(request: Request, who: Viewer, report: _Report, agent: _Text = "") -> Response:
        if "hx-request" not in request.headers:
            return RedirectResponse(f"{ERP_HOME}{address({'search': agent})}#freshness", 303)
        view = await cell_view(service, report, agent)
        return pages.fragment(request, "erp_cell_drawer", who, view=view, cell=view.cell, **words)


def _documents(routes: APIRouter, service: Service, pages: Pages, pictures: Pictures) -> None:
    @routes.get("/documents/{document_id}")
    async def document(request: Request, who: Viewer, document_id: Id, page: _PageNumber | None = None) -> Response:
        found, _ = await report_document(service, document_id)
        return shown(request, pages, "erp_document", who, document=found, page=page or found.page or 1)

    @routes.get("/documents/{document_id}/picture")
    async def picture(request: Request, who: Operator, document_id: Id, page: _PageNumber = 1) -> Response:
        found, row = await report_document(service, document_id)
        try:
            drawn = await pictures.of(row, page)
        except KeepstepError as error:  # said where the picture would be
            drawn = Drawn(refusal=f"{error.message} {error.fix}")
        return pages.fragment(request, "erp_picture", who, document=found, page=page, drawn=drawn)

    @routes.get("/documents/{document_id}/page.png")
    async def png(_who: Operator, document_id: Id, page: _PageNumber = 1, close: bool = False) -> Response:
        found, row = await report_document(service, document_id)
        body = await pictures.png(row, page, close=close)
        named = {"content-disposition": f'inline; filename="{found.name}-{page}.png"'}
        return Response(body, 200, {**_SEALED, **named}, "image/png")

    @routes.get("/documents/{document_id}/file")
    async def file(who: Admin, document_id: Id) -> Response:
        found, _ = await report_document(service, document_id)
        body = await service.documents.open(found.hash)
        whose = {"id": found.id, "report": found.report, "agent": found.agent, "hash": found.hash}
        await service.audit.record(who.name, "document.download", whose, f"{found.size} bytes")
        is_pdf = body.startswith(b"%PDF-")
        named = {"content-disposition": f'attachment; filename="{found.name}{".pdf" if is_pdf else ".bin"}"'}
        return Response(body, 200, {**_SEALED, **named}, "application/pdf" if is_pdf else "application/octet-stream")
