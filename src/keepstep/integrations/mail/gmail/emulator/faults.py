"""Faults on command: what can go wrong, which request it hits, and what it does to an answer that was ready."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from keepstep.integrations.emulation.answers import Answer
from keepstep.integrations.emulation.faults import RETRY_STYLES, retry_headers
from keepstep.integrations.mail.gmail.emulator import answers

KINDS: Mapping[str, tuple[str, ...]] = {
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
"""Kind -> its variants, the first being the default. A kind may also be a status: ``429``, ``503``."""

_MESSAGES = {
    400: ("Bad Request", "badRequest"), 401: ("Invalid Credentials", "authError"),
    403: ("Delegation denied for me@example.test", "forbidden"), 404: ("Requested entity was not found.", "notFound"),
    429: ("Too many concurrent requests for user.", "rateLimitExceeded"), 500: ("Backend Error", "backendError"),
    503: ("Service unavailable.", "backendError"),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault and the requests it waits for.

    ``count``: how many requests it hits (None: all, for ever); ``after``: how many fitting ones it lets pass first.
    ``path`` (a part of it) narrows it: ``batch``, ``history``, ``messages``, ``profile``, ``token``. ``seconds``: how
    long latency lasts. ``keep``: the share of a truncated body that arrives. ``retry_after`` is in seconds.
    """

    kind: str
    variant: str = ""
    count: int | None = 1
    after: int = 0
    path: str | None = None
    status: int = 500
    retry_after: float | None = None
    retry_after_as: str = "seconds"
    seconds: float = 1.0
    keep: float = 0.6

    @classmethod
    def parsed(cls, given: Mapping[str, Any]) -> "Fault":
        """A fault from JSON. Raises ``ValueError`` saying which value is not possible."""
        values = dict(given)
        if values.pop("forever", False):
            values["count"] = None
        kind = str(values.pop("kind", ""))
        if kind.isdigit():
            values["status"], kind = int(kind), "status"
        if unknown := sorted(set(values) - {f.name for f in fields(cls)}):
            known = ", ".join(f.name for f in fields(cls))
            raise ValueError(f"a fault has no {unknown[0]!r}; it has {known}, forever")
        if kind not in KINDS:
            raise ValueError(f"no fault is called {kind!r}; there are {', '.join(KINDS)} and statuses such as 429")
        fault = cls(kind, **values)
        fault._check()
        variants = KINDS[kind]
        if fault.variant and fault.variant not in variants:
            raise ValueError(f"{kind} comes as {', '.join(variants) or 'one variant only'}, not {fault.variant!r}")
        return fault if fault.variant or not variants else replace(fault, variant=variants[0])

    def fits(self, entity: str | None, path: str, page: int | None) -> bool:
        """Whether a request is one that this fault waits for."""
        return self.path is None or self.path in path

    def _check(self) -> None:
        whole = {"after": self.after, "status": self.status, **({} if self.count is None else {"count": self.count})}
        for name, value in whole.items():
            if not isinstance(value, int) or isinstance(value, bool) or value < 0:
                raise ValueError(f"{name} is a whole number of 0 or more, not {value!r}")
        for name, amount in (("retry_after", self.retry_after), ("seconds", self.seconds), ("keep", self.keep)):
            if amount is not None and (not isinstance(amount, int | float) or amount < 0):
                raise ValueError(f"{name} is a number of 0 or more, not {amount!r}")
        if not 200 <= self.status <= 599 or self.keep >= 1:
            raise ValueError("status lies between 200 and 599, keep below 1")
        if self.retry_after_as not in RETRY_STYLES:
            raise ValueError(f"retry_after_as is one of {', '.join(RETRY_STYLES)}")


def answered(fault: Fault, now: float) -> Answer | None:
    """The whole answer of a fault that needs no data; None for the other kinds."""
    headers = retry_headers(fault.retry_after, fault.retry_after_as, now)
    match fault.kind:
        case "html":
            return answers.WEB_PAGE
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
    keep = int(len(body) * fault.keep)
    match fault.kind:
        case "truncate":
            return replace(answer, body=body[:keep]) if fault.variant == "body" else replace(answer, cut=keep)
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
