"""The whole route table."""

from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException


def create_app(version: str) -> FastAPI:
    """The web application. ``version`` is what ``/healthz`` and ``/openapi.json`` give as Keepstep's own."""
    # The library's own documentation pages load scripts from elsewhere.
    app = FastAPI(title="Keepstep", version=version, docs_url=None, redoc_url=None)

    @app.get("/healthz", summary="Whether the process serves")
    async def healthz() -> dict[str, str]:
        return {"status": "ok", "version": version}

    app.exception_handler(HTTPException)(_problem)
    return app


async def _problem(_request: Request, error: HTTPException) -> JSONResponse:
    """An error as a problem document (RFC 9457)."""
    body = {"title": HTTPStatus(error.status_code).phrase, "status": error.status_code, "detail": str(error.detail)}
    return JSONResponse(
        body, status_code=error.status_code, headers=error.headers, media_type="application/problem+json"
    )
