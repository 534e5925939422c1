"""Google's own answers besides data: ``google.rpc.Status`` in JSON."""

from typing import Any

from keepstep.integrations.emulation.answers import Answer
from keepstep.integrations.google_contacts.emulator.people import encode

_STATUS = {
    400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 403: "PERMISSION_DENIED", 404: "NOT_FOUND",
    410: "FAILED_PRECONDITION", 429: "RESOURCE_EXHAUSTED", 500: "INTERNAL", 503: "UNAVAILABLE",
}  # fmt: skip
_EXPIRED = "Sync token is expired. Clear local cache and retry call without the sync token."


def error(
    code: int, message: str, *, reason: str = "", status: str = "", metadata: dict[str, str] | None = None,
    headers: dict[str, str] | None = None,
) -> Answer:  # fmt: skip
    """An error of the People API. ``reason`` stands in a ``google.rpc.ErrorInfo``."""
    body: dict[str, Any] = {"code": code, "message": message, "status": status or _STATUS.get(code, "UNKNOWN")}
    if reason:
        info = {
            "@type": "type.googleapis.com/google.rpc.ErrorInfo",
            "reason": reason,
            "domain": "people.googleapis.com",
        }
        body["details"] = [{**info, **({"metadata": metadata} if metadata else {})}]
    return Answer(code, encode({"error": body}), headers=headers or {})


def expired(form: str) -> Answer:
    """An expired sync token, in one of the forms that are told of it."""
    if form == "410-bare":
        return Answer(410, b'{"error":{"code":410,"message":"Gone"}}')
    code = 410 if form == "410" else 400
    status = "FAILED_PRECONDITION" if form == "400-failed-precondition" else ""
    return error(code, _EXPIRED, reason="EXPIRED_SYNC_TOKEN", status=status)
