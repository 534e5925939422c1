"""Templates become answers. What every page knows is put together here."""

import gzip
import logging
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fastapi import Request, Response
from fastapi.responses import StreamingResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from keepstep.model.errors import KeepstepError
from keepstep.model.schedule import Identity, Role
from keepstep.service.problems import UNFORESEEN, ProblemDocument, problem
from keepstep.web import static_files
from keepstep.web.filters import FILTERS
from keepstep.web.guard import API, CONSENTS

THEME_COOKIE = "keepstep_theme"
THEMES = ("system", "light", "dark")
_PACKED_FROM, _LEVEL = 1000, 4
_PAUSE = "\0"
"""Where a template stops until the rest of its values is there (``Pages.begun``)."""
_HTML = "text/html; charset=utf-8"
_HEADERS = {"cache-control": "no-store", "vary": "accept-encoding"}

_log = logging.getLogger("keepstep.web")


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

    def begun(
        self, request: Request, template: str, who: Identity, read: Callable[[], Awaitable[None]], **values: Any
    ) -> Response:
        """A whole page whose header is on its way while ``read`` puts the rest into ``values``.

        So a browser has the style sheet, and something to show, before the database has answered. What fails then can
        no longer change the status: its problem stands in ``failed``, for the template to show in place of the rest.
        """
        failed: list[ProblemDocument] = []
        known = self._known(request, who, {**values, "failed": failed, "pause": _PAUSE})
        chunks = self._environment.get_template(f"pages/{template}.html").generate(known)

        async def parts() -> AsyncIterator[str]:
            yield "".join(iter(chunks.__next__, _PAUSE))
            try:
                await read()
            except KeepstepError as error:
                failed.append(problem(error))
            except Exception:
                _log.exception("%s %s failed", request.method, request.url.path)
                failed.append(UNFORESEEN)
            yield "".join(chunks)

        if not static_files.takes_gzip(request):
            return StreamingResponse(parts(), headers=_HEADERS, media_type=_HTML)
        headers = {**_HEADERS, "content-encoding": "gzip"}
        return StreamingResponse(_packed(parts()), headers=headers, media_type=_HTML)

    def fragment(self, request: Request, template: str, who: Identity, **values: Any) -> Response:
        """A part of a page, ``templates/fragments/<template>.html``."""
        return self._answer(request, f"fragments/{template}.html", who, 200, values)

    def error(self, request: Request, document: ProblemDocument) -> Response:
        """A problem as a page."""
        return self.page(request, "error", None, status=document.status, problem=document)

    def _answer(
        self, request: Request, template: str, who: Identity | None, status: int, values: Mapping[str, Any]
    ) -> Response:
        body = self._environment.get_template(template).render(self._known(request, who, values)).encode()
        headers = _HEADERS
        if len(body) >= _PACKED_FROM and static_files.takes_gzip(request):
            body = gzip.compress(body, _LEVEL, mtime=0)
            headers = {**headers, "content-encoding": "gzip"}
        return Response(body, status, headers, _HTML)

    def _known(self, request: Request, who: Identity | None, values: Mapping[str, Any]) -> dict[str, Any]:
        viewer = None if who is None else Viewer(who.name, who.role, who.user_id is not None)
        return {"who": viewer, "theme": theme(request), "path": request.url.path, "pause": "", **values}


async def _packed(parts: AsyncIterator[str]) -> AsyncIterator[bytes]:
    """Each part so that it can be read before the next one comes."""
    packer = zlib.compressobj(_LEVEL, wbits=zlib.MAX_WBITS | 16)
    async for part in parts:
        yield packer.compress(part.encode()) + packer.flush(zlib.Z_SYNC_FLUSH)
    yield packer.flush()


def theme(request: Request) -> str:
    """The theme that the caller has chosen."""
    chosen = request.cookies.get(THEME_COOKIE, "")
    return chosen if chosen in THEMES else THEMES[0]


def wants_page(request: Request) -> bool:
    """Whether a browser asks for something to show: then a problem is a page as well, or the way to sign in."""
    path = request.url.path
    return (
        request.method in ("GET", "POST")
        and (not path.startswith(API) or path.startswith(CONSENTS))
        and "hx-request" not in request.headers
        and "text/html" in request.headers.get("accept", "")
    )
