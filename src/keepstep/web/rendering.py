"""Templates become answers. What every page knows is put together here."""

import gzip
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import Request, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from keepstep.model.schedule import Identity, Role
from keepstep.service.problems import ProblemDocument
from keepstep.web import static_files
from keepstep.web.filters import FILTERS

THEME_COOKIE = "keepstep_theme"
THEMES = ("system", "light", "dark")
_PACKED_FROM = 1000


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who looks at a page, as templates see them."""

    name: str
    role: Role
    is_user: bool

    def may(self, role: str) -> bool:
        """Whether they have a role, or a greater one."""
        return self.role.rank >= Role(role).rank

    def refusal(self, role: str) -> str:
        """Why something is not for them."""
        return f"Needs the role {role}; you are {self.role}."


class Pages:
    """Renders templates. A name that a template uses and nobody gives is an error, not a blank."""

    def __init__(self, *, version: str) -> None:
        self._environment = Environment(
            loader=FileSystemLoader(Path(__file__).parent / "templates"), autoescape=True, undefined=StrictUndefined,
            trim_blocks=True, lstrip_blocks=True,
        )  # fmt: skip
        self._environment.filters.update(FILTERS)
        self._environment.globals.update(static=static_files.address, version=version)

    def page(
        self, request: Request, template: str, who: Identity | None, *, status: int = 200, **values: Any
    ) -> Response:
        """A whole page, ``templates/pages/<template>.html``. ``who`` is None for one that is open to all."""
        return self._answer(request, f"pages/{template}.html", who, status, values)

    def fragment(self, request: Request, template: str, who: Identity, **values: Any) -> Response:
        """A part of a page, ``templates/fragments/<template>.html``."""
        return self._answer(request, f"fragments/{template}.html", who, 200, values)

    def error(self, request: Request, document: ProblemDocument) -> Response:
        """A problem as a page."""
        return self.page(request, "error", None, status=document.status, problem=document)

    def _answer(
        self, request: Request, template: str, who: Identity | None, status: int, values: Mapping[str, Any]
    ) -> Response:
        viewer = None if who is None else Viewer(who.name, who.role, who.user_id is not None)
        known = {"who": viewer, "theme": theme(request), "path": request.url.path}
        body = self._environment.get_template(template).render({**known, **values}).encode()
        headers = {"cache-control": "no-store", "vary": "accept-encoding"}
        if len(body) >= _PACKED_FROM and static_files.takes_gzip(request):
            body = gzip.compress(body, 4, mtime=0)
            headers["content-encoding"] = "gzip"
        return Response(body, status, headers, "text/html; charset=utf-8")


def theme(request: Request) -> str:
    """The theme that the caller has chosen."""
    chosen = request.cookies.get(THEME_COOKIE, "")
    return chosen if chosen in THEMES else THEMES[0]


def wants_page(request: Request) -> bool:
    """Whether a browser asks for something to show: then a problem is a page as well, or the way to sign in.

    Of the API it opens only what begins and ends a consent.
    """
    path = request.url.path
    return (
        request.method in ("GET", "POST")
        and (not path.startswith("/api/") or path.startswith("/api/connections/"))
        and "hx-request" not in request.headers
        and "text/html" in request.headers.get("accept", "")
    )
