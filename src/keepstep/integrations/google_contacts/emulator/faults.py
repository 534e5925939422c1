"""Faults on command: what can go wrong, which request it hits, and what it does to a page that was ready."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from keepstep.integrations.emulation.answers import Answer
from keepstep.integrations.emulation.faults import ApiFault, retry_headers
from keepstep.integrations.emulation.grants import SIGN_IN_PAGE
from keepstep.integrations.google_contacts.emulator import answers

_MESSAGES = {
    400: "Request contains an invalid argument.", 403: "The caller does not have permission.",
    404: "Requested entity was not found.", 429: "Quota exceeded.", 500: "Internal error encountered.",
    503: "The service is currently unavailable.",
}  # fmt: skip
_PAGE_KINDS = frozenset(("truncate", "envelope", "repeat", "no-sync-token", "bad-json", "bad-utf8", "shift"))
_NEXT = re.compile(rb'"nextPageToken":"[^"]*"')


@dataclass(frozen=True, slots=True)
class Fault(ApiFault):
    """One fault and the requests it waits for. ``path``, ``page`` and ``account`` narrow it.

    ``rows``: how many people a shift moves.
    """

    KINDS: ClassVar[Mapping[str, tuple[str, ...]]] = {
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

    path: str | None = "connections"
    page: int | None = None
    account: str | None = None
    rows: int = 1

    def fits(self, account: str | None, path: str, page: int | None) -> bool:
        """Whether a request is one that this fault waits for."""
        return (
            self.account in (None, account)
            and (self.path is None or self.path in path)
            and (self.page is None or self.page == page)
            and (self.kind not in _PAGE_KINDS or page is not None)
        )


def answered(fault: Fault, now: float) -> Answer | None:
    """The whole answer of a fault that needs no data; None for the other kinds."""
    match fault.kind:
        case "html":
            return SIGN_IN_PAGE
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
            return fault.truncated(page)
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
