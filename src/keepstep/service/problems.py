"""Errors as problem documents (RFC 9457): the same for the API and for ``--json``."""

from typing import ClassVar

from keepstep.model.errors import KeepstepError
from keepstep.service.shapes import Shape

_STATUS = {"bad-request": 422, "usage": 422, "lock-held": 409, "store": 503}
_BY_UPSTREAM = 502


class ProblemDocument(Shape, frozen=True, kw_only=True):
    """What went wrong. ``code`` names the kind, ``detail`` is for people, ``fix`` may be empty."""

    media_type: ClassVar[str] = "application/problem+json"

    title: str
    status: int
    detail: str
    fix: str = ""
    code: str = ""
    run_id: str | None = None


def problem(error: KeepstepError) -> ProblemDocument:
    """The document of an error."""
    return ProblemDocument(
        title=error.code.replace("-", " ").capitalize(),
        status=_STATUS.get(error.code, _BY_UPSTREAM),
        detail=error.message,
        fix=error.fix,
        code=error.code,
        run_id=getattr(error, "run_id", None),
    )
