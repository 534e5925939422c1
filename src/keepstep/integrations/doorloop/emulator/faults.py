"""Faults on command: what can go wrong, which request it hits, and what it does to a page that was ready."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

from keepstep.integrations.doorloop.emulator.answers import APP_SHELL, README_PAGE, message
from keepstep.integrations.emulation.answers import Answer
from keepstep.integrations.emulation.faults import HEADER_STYLES, ApiFault, limit_headers, retry_headers

_TOTAL = re.compile(rb'"total":\s*(\d+)')
_MESSAGES = {
    400: "Validation Failed", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 405: "METHOD_NOT_ALLOWED",
    429: "RATE_LIMIT_EXCEEDED", 500: "Internal Server Error", 502: "Bad Gateway", 503: "Service Unavailable",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fault(ApiFault):
    """One fault and the requests it waits for. ``entity``, ``path`` and ``page`` narrow it.

    ``rows``: how many records a shift moves. ``headers``: which family of rate limit headers a status comes with.
    """

    KINDS: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "status": (),
        "html": (),
        "readme": (),
        "reset": ("rst", "close"),
        "hang": (),
        "latency": (),
        "truncate": ("connection", "body"),
        "empty": (),
        "envelope": ("items", "list", "null", "total-text", "no-total", "no-data", "wrapped"),
        "repeat": (),
        "bad-json": (),
        "bad-utf8": (),
        "shift": ("rename", "replace"),
    }

    entity: str | None = None
    page: int | None = None
    headers: str = "none"
    rows: int = 1

    def fits(self, entity: str | None, path: str, page: int | None) -> bool:
        """Whether a request is one that this fault waits for."""
        return (
            self.entity in (None, entity)
            and (self.path is None or self.path in path)
            and (self.page is None or self.page == page)
            and (self.kind not in _PAGE_KINDS or entity is not None)
        )

    def check(self) -> None:
        """Raise ``ValueError`` for what is not possible besides numbers below 0."""
        ApiFault.check(self)
        if self.headers not in HEADER_STYLES:
            raise ValueError(f"headers is one of {', '.join(HEADER_STYLES)}")


_PAGE_KINDS = frozenset({"truncate", "empty", "envelope", "repeat", "bad-json", "bad-utf8", "shift"})


def answered(fault: Fault, now: float) -> Answer | None:
    """The whole answer of a fault that needs no data; None for the other kinds."""
    if fault.kind == "html":
        return APP_SHELL
    if fault.kind == "readme":
        return README_PAGE
    if fault.kind != "status":
        return None
    plain = message(fault.status, _MESSAGES.get(fault.status, "Error"))
    seconds = fault.retry_after
    if seconds is None and fault.status == 429 and fault.retry_after_as != "absent":
        seconds = 1.0
    headers = retry_headers(seconds, fault.retry_after_as, now) | limit_headers(
        fault.headers, 50, 0, seconds or 60.0, now
    )
    return replace(plain, headers=headers)


def spoiled(fault: Fault, page: Answer) -> Answer:
    """A page after a fault of its body."""
    body = page.body
    if fault.kind == "truncate":
        return fault.truncated(page)
    if fault.kind == "empty":
        return replace(page, body=b'{"total":0,"data":[]}')
    if fault.kind == "bad-json":
        return replace(page, body=body.replace(b'":', b'" ', 1)[:-1] + b",}")
    if fault.kind == "bad-utf8":
        return replace(page, body=body.replace(b'"name":"', b'"name":"\xff\xfe\xc3(', 1))
    if fault.kind == "envelope":
        return replace(page, body=_wrong_envelope(fault.variant, body))
    return page


def _wrong_envelope(variant: str, body: bytes) -> bytes:
    start, end = body.index(b"["), body.rindex(b"]") + 1
    rows = body[start:end]
    total: bytes = _TOTAL.findall(body)[0 if body.lstrip(b"{ \n").startswith(b'"total"') else -1]
    shapes = {
        "items": b'{"items":' + rows + b"}",
        "list": rows,
        "null": b'{"total":' + total + b',"data":null}',
        "total-text": b'{"total":' + json.dumps(total.decode()).encode() + b',"data":' + rows + b"}",
        "no-total": b'{"data":' + rows + b"}",
        "no-data": b'{"total":' + total + b"}",
        "wrapped": b'{"result":' + body + b"}",
    }
    return shapes[variant]
