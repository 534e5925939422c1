"""The page's own files, from memory: read once, compressed once, kept by browsers for good.

The address holds a digest of all of them, so a new Keepstep has new addresses, and one may name another by a relative
one.
"""

import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

from keepstep.web.security import anyone

_ROOT = Path(__file__).parent / "static"
_SERVED = {".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
_FOR_GOOD = "public, max-age=31536000, immutable"
_LEAST_COMPRESSED = 400


@dataclass(frozen=True, slots=True)
class StaticFile:
    """A file as it goes over the wire; ``packed`` is empty where that saves nothing."""

    media_type: str
    plain: bytes
    packed: bytes


@cache
def files() -> dict[str, StaticFile]:
    """Every file by its path below ``static``. The sources of style sheets and scripts are not served."""
    found = {}
    for path in sorted(_ROOT.rglob("*")):
        name = path.relative_to(_ROOT).as_posix()
        if path.suffix in _SERVED and not name.startswith(("css/", "js/")):
            plain = path.read_bytes()
            packed = gzip.compress(plain, 9, mtime=0) if len(plain) >= _LEAST_COMPRESSED else b""
            found[name] = StaticFile(_SERVED[path.suffix], plain, packed if len(packed) < len(plain) else b"")
    return found


@cache
def version() -> str:
    """The digest of all of them."""
    digest = hashlib.sha256()
    for name, file in files().items():
        digest.update(name.encode() + b"\0" + file.plain)
    return digest.hexdigest()[:12]


def address(name: str) -> str:
    """Where a file is found. Raises ``KeyError`` for one that is not there."""
    if name not in files():
        raise KeyError(f"there is no file {name} in {_ROOT}")
    return f"/static/{version()}/{name}"


def takes_gzip(request: Request) -> bool:
    """Whether the caller understands what is compressed."""
    return "gzip" in request.headers.get("accept-encoding", "")


def router() -> APIRouter:
    """The route."""
    routes = APIRouter(dependencies=[anyone], include_in_schema=False)

    @routes.get("/static/{digest}/{name:path}")
    async def static(digest: str, name: str, request: Request) -> Response:
        file = files().get(name)
        if file is None:
            raise HTTPException(404)
        # A page of another version may still ask here while Keepstep is being upgraded: right, but not for good.
        headers = {"cache-control": _FOR_GOOD if digest == version() else "no-cache", "vary": "accept-encoding"}
        if file.packed and takes_gzip(request):
            return Response(file.packed, media_type=file.media_type, headers={**headers, "content-encoding": "gzip"})
        return Response(file.plain, media_type=file.media_type, headers=headers)

    return routes
