"""Faults on command: what can go wrong, which request it hits, and what it does to a page that was ready."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from keepstep.integrations.emulation.answers import Answer
from keepstep.integrations.emulation.faults import RETRY_STYLES, retry_headers
from keepstep.integrations.google_contacts.emulator import answers

KINDS: Mapping[str, tuple[str, ...]] = {
    "status": (),
    "expired": ("400", "400-failed-precondition", "410", "410-bare"),
    "usage-limit": (),
    "disabled": (),
    "html": (),
    "reset": ("rst", "close"),
    "hang": (),
    "latency": (),
    "truncate": ("connection", "body"),
    "envelope": ("items", "list", "null", "token-number", "total-text", "wrapped"),
    "repeat": (),
    "no-sync-token": (),
    "bad-json": (),
    "bad-utf8": (),
    "shift": (),
}
"""Kind -> its variants, the first being the default. A kind may also be a status: ``429``, ``503``."""

_MESSAGES = {
    400: "Request contains an invalid argument.", 403: "The caller does not have permission.",
    404: "Requested entity was not found.", 429: "Quota exceeded.", 500: "Internal error encountered.",
    503: "The service is currently unavailable.",
}  # fmt: skip
_PAGE_KINDS = frozenset(("truncate", "envelope", "repeat", "no-sync-token", "bad-json", "bad-utf8", "shift"))
_NEXT = re.compile(rb'"nextPageToken":"[^"]*"')


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault and the requests it waits for.

    ``count``: how many requests it hits (None: all, for ever); ``after``: how many fitting ones it lets pass first.
    ``path`` (a part of it), ``page`` and ``account`` narrow it. ``seconds``: how long latency lasts. ``keep``: the
    share of a truncated body that arrives. ``rows``: how many people a shift moves. ``retry_after`` is in seconds.
    """

    kind: str
    variant: str = ""
    count: int | None = 1
    after: int = 0
    path: str | None = "connections"
    page: int | None = None
    account: str | None = None
    status: int = 500
    retry_after: float | None = None
    retry_after_as: str = "seconds"
    seconds: float = 1.0
    keep: float = 0.6
    rows: int = 1

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
        """Whether a request is one that this fault waits for. ``entity`` is the account that asks."""
        return (
            self.account in (None, entity)
            and (self.path is None or self.path in path)
            and (self.page is None or self.page == page)
            and (self.kind not in _PAGE_KINDS or page is not None)
        )

    def _check(self) -> None:
        whole = {"after": self.after, "status": self.status, "rows": self.rows}
        whole |= {name: value for name, value in (("count", self.count), ("page", self.page)) if value is not None}
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
    match fault.kind:
        case "html":
            return answers.WEB_PAGE
        case "expired":
            return answers.expired(fault.variant)
        case "usage-limit":
            return answers.error(403, "Quota exceeded.", reason="userRateLimitExceeded")
        case "disabled":
            words = "People API has not been used in project 1234 before or it is disabled."
            return answers.error(403, words, reason="SERVICE_DISABLED")
        case "status":
            plain = answers.error(fault.status, _MESSAGES.get(fault.status, "Error"))
            return replace(plain, headers=retry_headers(fault.retry_after, fault.retry_after_as, now))
        case _:
            return None


def spoiled(fault: Fault, page: Answer, asked: str) -> Answer:
    """A page after a fault of its body. ``asked``: the page token that it was asked for with."""
    body = page.body
    match fault.kind:
        case "truncate":
            cut = max(1, int(len(body) * fault.keep))
            return replace(page, cut=cut) if fault.variant == "connection" else replace(page, body=body[:cut])
        case "bad-json":
            return replace(page, body=body.replace(b'":', b'" ', 1)[:-1] + b",}")
        case "bad-utf8":
            return replace(page, body=body.replace(b'"displayName":"', b'"displayName":"\xff\xfe\xc3(', 1))
        case "repeat":
            return replace(page, body=_NEXT.sub(b'"nextPageToken":"%b"' % asked.encode(), body)) if asked else page
        case "no-sync-token":
            return replace(page, body=re.sub(rb'"nextSyncToken":"[^"]*",?', b"", body))
        case "envelope":
            return replace(page, body=_wrong_envelope(fault.variant, body))
        case _:
            return page


def _wrong_envelope(variant: str, body: bytes) -> bytes:
    people = b"[]"
    if b'"connections":[' in body:
        people = body[body.index(b"[") : body.rindex(b"]") + 1]
    shapes = {
        "items": body.replace(b'"connections":', b'"items":', 1),
        "list": people,
        "null": b'{"connections":null,"totalItems":0}',
        "token-number": b'{"connections":' + people + b',"nextPageToken":17}',
        "total-text": b'{"connections":' + people + b',"totalItems":"many"}',
        "wrapped": b'{"result":' + body + b"}",
    }
    return shapes[variant]
