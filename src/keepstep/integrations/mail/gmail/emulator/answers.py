"""Gmail's own answers besides data."""

from datetime import UTC, datetime
from typing import Any

import msgspec

from keepstep.integrations.emulation.answers import Answer

_STATUS = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE",
}  # fmt: skip
encode = msgspec.json.Encoder().encode


def as_json(value: Any) -> Answer:
    """A good answer."""
    return Answer(200, encode(value))


def error(
    code: int, message: str, reason: str, *, domain: str = "global", headers: dict[str, str] | None = None
) -> Answer:
    """An error in the form that Gmail's captured ones have."""
    inner = {"message": message, "domain": domain, "reason": reason}
    status = _STATUS.get(code, "UNKNOWN")
    body = {"error": {"code": code, "message": message, "errors": [inner], "status": status}}
    return Answer(code, encode(body), headers=headers or {})


def not_found() -> Answer:
    """What is not there."""
    return error(404, "Requested entity was not found.", "notFound")


def throttled(code: int, reason: str, hint: str, seconds: float, now: float) -> Answer:
    """Too many requests: when they may come again stands in the message, in a header, or nowhere."""
    message, headers = "User-rate limit exceeded.", {}
    if hint == "message":
        until = datetime.fromtimestamp(now + seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        message = f"{message}  Retry after {until}"
    elif hint == "retry-after":
        headers = {"Retry-After": str(max(1, round(seconds)))}
    return error(code, message, reason, domain="usageLimits", headers=headers)
