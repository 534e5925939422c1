"""Pages of auto-sync: everybody's connections for administrators, one's own contacts and mail for each user."""

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Request, Response

from keepstep.service.auto_sync import CONTACTS, KINDS, MAIL, Kind
from keepstep.service.core import Service
from keepstep.service.own_sync import own_sync
from keepstep.service.owner_lines import STATES
from keepstep.service.report_cells import ERP
from keepstep.web.parameters import NO_NUL, Older
from keepstep.web.rendering import Pages
from keepstep.web.security import Admin, Caller
from keepstep.web.side_pages import shown
from keepstep.web.sign_in import HOME

_PAGE = 50
_Text = Annotated[str, Query(max_length=200, pattern=NO_NUL)]
_State = Literal["", "connected", "needs-connecting", "needs-reconnect", "paused"]
MAIL_PAGE, CONTACTS_PAGE = "/settings/auto-sync", "/contacts"
_BY_PASSWORD = (" with a password", "#mailbox")


def router(service: Service, pages: Pages) -> APIRouter:
    """The routes."""
    routes = APIRouter(include_in_schema=False)
    _everybodys(routes, service, pages)
    _own(routes, service, pages)
    return routes


def _everybodys(routes: APIRouter, service: Service, pages: Pages) -> None:
    titles = {kind.integration: kind.title for kind in KINDS}
    titles |= {key: one.title for key, one in service.inspection.shared.items() if key != ERP}

    @routes.get(f"{HOME}/users")
    async def matrix(
        request: Request, who: Admin, integration: _Text = "", state: _State = "",
        failing: Literal["", "true"] = "", search: _Text = "", after: Older = "",
    ) -> Response:  # fmt: skip
        view = await service.owners.page(
            integration=integration or None, state=state or None, failing=bool(failing), search=search.strip() or None,
            after=int(after) if after else None, limit=_PAGE, users=True,
        )  # fmt: skip
        chosen = {"integration": integration, "state": state, "failing": failing, "search": search, "after": after}
        return shown(request, pages, "owners_list", who, view=view, chosen=chosen, titles=titles, states=STATES)


def _own(routes: APIRouter, service: Service, pages: Pages) -> None:
    @routes.get(CONTACTS_PAGE)
    async def contacts(request: Request, who: Caller) -> Response:
        view = await own_sync(service, CONTACTS, who)
        ways = [("", _consent(CONTACTS, CONTACTS_PAGE))]
        return shown(request, pages, "own_contacts", who, view=view, connect=ways)

    @routes.get(MAIL_PAGE)
    async def mail(request: Request, who: Caller) -> Response:
        view = await own_sync(service, MAIL, who)
        gmail = _consent(MAIL, MAIL_PAGE) if await service.consents.is_possible(MAIL.integration) else ""
        mailbox = await service.mailboxes.of(who.owner)
        ways = [_BY_PASSWORD] if mailbox and mailbox.by == "imap" else []
        ways = ways or [*([(" Gmail", gmail)] if gmail else []), _BY_PASSWORD]
        account = "" if mailbox is None else mailbox.title
        return shown(request, pages, "own_mail", who, view=view, connect=ways, gmail=gmail, account=account)


def _consent(kind: Kind, after: str) -> str:
    """Where a browser begins to give consent, and comes back from to a page of ours."""
    return f"/api/connections/{kind.integration}/connect?next={after}"
