"""Pages of other sites that may use the API: those of the application that has signed its users in.

They come with a token and with nothing else: a session's cookie does not count from there.
"""

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response

_ASKED = "access-control-request-method"
_ALLOWED = {
    "access-control-allow-methods": "GET, HEAD, POST, PUT, PATCH, DELETE",
    "access-control-allow-headers": "Authorization, Content-Type, Last-Event-ID",
    "access-control-max-age": "600",
}


def is_question(method: str, headers: Headers) -> bool:
    """Whether a browser asks beforehand if it may send a request (a preflight)."""
    return method == "OPTIONS" and _ASKED in headers


def permission() -> Response:
    """The answer to a browser that may."""
    return Response(status_code=204, headers=_ALLOWED)


def let_read(headers: MutableHeaders, origin: str) -> None:
    """Let a page of this origin read an answer."""
    headers["access-control-allow-origin"] = origin
    headers["access-control-expose-headers"] = "Location, Retry-After"
    headers["cross-origin-resource-policy"] = "cross-origin"
    headers.add_vary_header("Origin")
