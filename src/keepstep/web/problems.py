"""Whatever goes wrong leaves as a problem document (RFC 9457)."""

from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.routing import iter_route_contexts
from starlette.exceptions import HTTPException
from starlette.routing import compile_path

from keepstep.model.errors import KeepstepError, TooManyTries
from keepstep.service.problems import ProblemDocument, problem
from keepstep.web.parameters import PATTERNS

_MOST_NAMED = 5
"""How many faults of one request are named."""
AsPage = Callable[[Request, ProblemDocument, Exception], Response | None]
"""How a problem is shown to somebody who looks with a browser; None for everybody else."""


def answer(document: ProblemDocument, headers: Mapping[str, str] | None = None) -> Response:
    """A problem document as a response."""
    return Response(
        document.model_dump_json(),
        status_code=document.status,
        headers=dict(headers or {}),
        media_type=document.media_type,
    )


def handle_problems(app: FastAPI, as_page: AsPage = lambda *_: None) -> None:
    """Make problem documents of every error that a route raises, and of the router's own; or pages, of a page's."""
    app.state.as_page = as_page
    app.exception_handler(KeepstepError)(_ours)
    app.exception_handler(HTTPException)(_http)
    app.exception_handler(RequestValidationError)(_invalid)


async def _ours(request: Request, error: KeepstepError) -> Response:
    headers = {"retry-after": f"{max(error.after, 1):.0f}"} if isinstance(error, TooManyTries) else None
    return _shown(request, problem(error), error) or answer(problem(error), headers)


def _shown(request: Request, document: ProblemDocument, error: Exception) -> Response | None:
    as_page: AsPage = request.app.state.as_page
    return as_page(request, document, error)


async def _http(request: Request, error: HTTPException) -> Response:
    headers = dict(error.headers or {})
    if error.status_code == 405:
        headers = {"allow": ", ".join(_allowed(request))}
    detail, fix = _words(error, request, headers)
    title = HTTPStatus(error.status_code).phrase
    code = title.lower().replace(" ", "-")
    document = ProblemDocument(title=title, status=error.status_code, detail=detail, fix=fix, code=code)
    return _shown(request, document, error) or answer(document, headers)


def _allowed(request: Request) -> list[str]:
    """The methods of this address: the library names only those of one of its routes."""
    path = request.scope["path"]
    found: dict[str, set[str]] = {}
    for route in iter_route_contexts(request.app.routes):
        template = route.path or ""
        if compile_path(template)[0].fullmatch(path):
            found.setdefault(template, set()).update(route.methods or ())
    return sorted(found.get(path) or set().union(*found.values()))


def _words(error: HTTPException, request: Request, headers: Mapping[str, str]) -> tuple[str, str]:
    """What to say, and what to do."""
    match error.status_code:
        case 404:
            return "There is nothing at this address.", "The addresses are listed in /openapi.json."
        case 405:
            return f"{request.method} is not possible here.", f"Use {' or '.join(headers['allow'].split(', '))}."
        case 400:
            return "The body of the request cannot be read.", "Send JSON in UTF-8."
        case _:
            return str(error.detail), ""


async def _invalid(request: Request, error: RequestValidationError) -> Response:
    faults = error.errors()
    if any(fault["type"] == "json_invalid" for fault in faults):
        return await _http(request, HTTPException(400))
    document = ProblemDocument(
        title="Bad request", status=422, detail=_sentence(faults), code="bad-request",
        fix="What each request takes is described in /openapi.json.",
    )  # fmt: skip
    return _shown(request, document, error) or answer(document)


def _sentence(faults: Sequence[Any]) -> str:
    """``limit: Input should be less than or equal to 1000; ...`` What was sent is not repeated: it may be a secret."""
    named = [f"{_place(fault['loc'])}: {_fault(fault)}" for fault in faults[:_MOST_NAMED]]
    more = len(faults) - len(named)
    return "; ".join(dict.fromkeys(named)) + (f"; and {more} more." if more else ".")


def _place(location: Sequence[Any]) -> str:
    """Where in the request: without ``body`` before a name within it."""
    parts = [str(part) for part in location]
    return ".".join(parts[1:]) if len(parts) > 1 and parts[0] in ("body", "query", "path") else ".".join(parts)


def _fault(fault: Any) -> str:
    """What is wrong, without a pattern where that can be said better."""
    message = str(fault["msg"]).removeprefix("Value error, ").removeprefix("Assertion failed, ").rstrip(".")
    return PATTERNS.get((fault.get("ctx") or {}).get("pattern", ""), message)
