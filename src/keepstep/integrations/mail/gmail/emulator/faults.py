"""Faults on command: what can go wrong, which request it hits, and what it does to an answer that was ready."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from keepstep.integrations.emulation.answers import Answer
from keepstep.integrations.emulation.faults import ApiFault, retry_headers
from keepstep.integrations.emulation.grants import SIGN_IN_PAGE
from keepstep.integrations.mail.gmail.emulator import answers

_MESSAGES = {
    400: ("Bad Request", "badRequest"), 401: ("Invalid Credentials", "authError"),
    403: ("Delegation denied for me@example.test", "forbidden"), 404: ("Requested entity was not found.", "notFound"),
    429: ("Too many concurrent requests for user.", "rateLimitExceeded"), 500: ("Backend Error", "backendError"),
    503: ("Service unavailable.", "backendError"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fault(ApiFault):
    """One fault and the requests it waits for. ``path`` narrows it: ``batch``, ``history``, ``messages``, ``profile``,
    ``token``.
    """

    KINDS: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "status": (),
        "usage-limit": ("userRateLimitExceeded", "rateLimitExceeded", "dailyLimitExceeded"),
        "disabled": (),
        "scope": (),
        "html": (),
        "reset": ("rst", "close"),
        "hang": (),
        "latency": (),
        "truncate": ("connection", "body"),
        "envelope": ("nameless", "other-messages", "null", "no-parts", "list"),
        "repeat": (),
        "bad-json": (),
    }

    def fits(self, path: str) -> bool:
        """Whether a request is one that this fault waits for."""
        return self.path is None or self.path in path


def answered(fault: Fault, now: float) -> Answer | None:
    """The whole answer of a fault that needs no data; None for the other kinds."""
    headers = retry_headers(fault.retry_after, fault.retry_after_as, now)
    match fault.kind:
        case "html":
            return SIGN_IN_PAGE
        case "usage-limit":
            words = "Quota exceeded." if fault.variant == "dailyLimitExceeded" else "User-rate limit exceeded."
            return answers.error(403, words, fault.variant, domain="usageLimits", headers=headers)
        case "disabled":
            words = "Gmail API has not been used in project 1234 before or it is disabled."
            return answers.error(403, words, "accessNotConfigured", domain="usageLimits")
        case "scope":
            return answers.error(403, "Insufficient Permission", "insufficientPermissions")
        case "status":
            message, reason = _MESSAGES.get(fault.status, ("Failed.", "failed"))
            return answers.error(fault.status, message, reason, headers=headers)
        case _:
            return None


def spoiled(fault: Fault, answer: Answer, before: Answer | None) -> Answer:
    """An answer that was ready, with what the fault does to it. ``before``: the answer to the batch before it."""
    body = answer.body
    match fault.kind:
        case "truncate":
            return fault.truncated(answer)
        case "bad-json":
            return replace(answer, body=body.replace(b'":', b'" ', 1))
        case "repeat":
            return before or answer
        case "envelope":
            shapes = {
                "nameless": body.replace(b'"raw":', b'"row":').replace(b'"id":', b'"identity":', 1),
                "other-messages": body.replace(b'{"id":"', b'{"id":"f'),
                "null": b"null",
                "no-parts": body.rpartition(b"\r\n--")[0][-40:] + b"--\r\n",
                "list": b"[" + body + b"]",
            }
            return replace(answer, body=shapes[fault.variant])
        case _:
            return answer
