"""Errors as problem documents (RFC 9457): the same for the API and for ``--json``."""

from typing import Annotated, ClassVar

from pydantic import Field

from keepstep.model.diagnosis import docs_of, fault_of
from keepstep.model.errors import KeepstepError
from keepstep.service.shapes import Absent, Shape

_STATUS = {
    "bad-request": 422, "usage": 422, "lock-held": 409, "conflict": 409, "not-found": 404, "store": 503,
    "not-signed-in": 401, "not-allowed": 403, "too-many-tries": 429, "busy": 503,
    "needs-reconnect": 409,
}  # fmt: skip
_BY_UPSTREAM = 502


class ProblemDocument(Shape):
    """What went wrong. ``code`` names it, ``detail`` is for people, ``fix`` may be empty.

    ``impact``: what it means for the data, ``docs``: where it is described; both where the diagnosis table has it.
    """

    media_type: ClassVar[str] = "application/problem+json"

    title: str
    status: int
    detail: str
    fix: Annotated[str, Field(exclude_if=lambda fix: not fix)] = ""
    code: str = ""
    impact: Annotated[str, Field(exclude_if=lambda impact: not impact)] = ""
    docs: Annotated[str, Field(exclude_if=lambda docs: not docs)] = ""
    run_id: Annotated[int | None, Absent] = None


UNFORESEEN = ProblemDocument(
    title="Internal Server Error",
    status=500,
    detail="Keepstep met an unexpected error.",
    fix="The details are in its log; please report them.",
    code="internal",
)
"""What is said of an error that nobody thought of."""


def problem(error: KeepstepError) -> ProblemDocument:
    """The document of an error."""
    run_id = getattr(error, "run_id", None)
    fault = fault_of(error)
    return ProblemDocument(
        title=fault.title if fault else error.code.replace("-", " ").capitalize(),
        status=_STATUS.get(error.kind, _BY_UPSTREAM),
        detail=error.message,
        fix=error.fix,
        code=error.code,
        impact=fault.impact if fault else "",
        docs=docs_of(fault.code) if fault else "",
        run_id=None if run_id is None else int(run_id),
    )
