"""``/openapi.json``: what the routes say of themselves, and the problems that every one of them can answer with."""

from collections.abc import Iterator, Mapping
from typing import Any

from fastapi import FastAPI

from keepstep.service.problems import ProblemDocument

_PROBLEM = {"$ref": "#/components/schemas/ProblemDocument"}
_WORDS = {
    400: "The body cannot be read.",
    401: "There are no valid credentials.",
    403: "The caller may not do this, or not from another site's page.",
    404: "There is no such thing.",
    409: "It cannot be so as long as something else is; the detail says what.",
    413: "The body is too large.",
    422: "Something in the request is not as it should be; the detail says what.",
    429: "Too many tries; Retry-After says when the next one counts.",
    500: "A fault in Keepstep.",
    503: "The database cannot be reached, or Keepstep is too busy.",
}
_METHODS = frozenset(("get", "put", "post", "delete", "patch"))


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For ``responses=`` of a route: statuses beyond those that every route has."""
    return {status: _response(status) for status in statuses}


def document(app: FastAPI) -> None:
    """Let the application describe itself with every problem that a route can answer with."""
    plain = app.openapi

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            schema = plain()
            components = schema.setdefault("components", {}).setdefault("schemas", {})
            components["ProblemDocument"] = ProblemDocument.model_json_schema(mode="serialization")
            for name in ("HTTPValidationError", "ValidationError"):
                components.pop(name, None)
            for path, operation in _operations(schema):
                _complete(path, operation)
        return app.openapi_schema or {}

    app.openapi = described  # type: ignore[method-assign]


def _operations(schema: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in schema.get("paths", {}).items():
        for method, operation in methods.items():
            if method in _METHODS:
                yield path, operation


def _complete(path: str, operation: dict[str, Any]) -> None:
    """Add what follows from how the route is made: its credentials, its parameters, its body."""
    responses = operation["responses"]
    if "HTTPValidationError" in str(responses.get("422")):  # the library's own shape, which is never sent
        del responses["422"]
    takes_body = "requestBody" in operation
    asks_who = bool(operation.get("security"))
    applies = {
        400: takes_body, 401: asks_who, 403: asks_who or takes_body, 404: "{" in path, 413: True,
        422: takes_body or bool(operation.get("parameters")), 500: True, 503: asks_who,
    }  # fmt: skip
    for status in (status for status, does in applies.items() if does):
        responses.setdefault(str(status), _response(status))
    operation["responses"] = dict(sorted(responses.items()))


def _response(status: int) -> dict[str, Any]:
    content = {ProblemDocument.media_type: {"schema": _PROBLEM}}
    return {"description": _WORDS.get(status, "It is not possible."), "content": content}
