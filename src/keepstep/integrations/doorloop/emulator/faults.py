"""Faults on command: what can go wrong, which request it hits, and what it does to a page that was ready."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from keepstep.integrations.doorloop.emulator.answers import APP_SHELL, README_PAGE, message
from keepstep.integrations.emulation.answers import Answer
from keepstep.integrations.emulation.faults import HEADER_STYLES, RETRY_STYLES, limit_headers, retry_headers

KINDS: Mapping[str, tuple[str, ...]] = {
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
"""Kind -> its variants, the first being the default. A kind may also be a status: ``429``, ``503``."""

_TOTAL = re.compile(rb'"total":\s*(\d+)')
_MESSAGES = {
    400: "Validation Failed", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found", 405: "METHOD_NOT_ALLOWED",
    429: "RATE_LIMIT_EXCEEDED", 500: "Internal Server Error", 502: "Bad Gateway", 503: "Service Unavailable",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault and the requests it waits for.

    ``count``: how many requests it hits (None: all, for ever); ``after``: how many fitting ones it lets pass first.
    ``entity``, ``path`` (a part of it) and ``page`` narrow it. ``seconds``: how long latency lasts. ``keep``: the
    share of a truncated body that arrives. ``rows``: how many records a shift moves. ``retry_after`` is in seconds.
    """

    kind: str
    variant: str = ""
    count: int | None = 1
    after: int = 0
    entity: str | None = None
    path: str | None = None
    page: int | None = None
    status: int = 500
    retry_after: float | None = None
    retry_after_as: str = "seconds"
    headers: str = "none"
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
        unknown = set(values) - {f.name for f in fields(cls)}
        if unknown:
            raise ValueError(
                f"a fault has no {sorted(unknown)[0]!r}; it has {', '.join(f.name for f in fields(cls))}, forever"
            )
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
        return (
            self.entity in (None, entity)
            and (self.path is None or self.path in path)
            and (self.page is None or self.page == page)
            and (self.kind not in _PAGE_KINDS or entity is not None)
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
        if self.retry_after_as not in RETRY_STYLES or self.headers not in HEADER_STYLES:
            raise ValueError(
                f"retry_after_as is one of {', '.join(RETRY_STYLES)}; headers one of {', '.join(HEADER_STYLES)}"
            )


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
        cut = max(1, int(len(body) * fault.keep))
        return replace(page, cut=cut) if fault.variant == "connection" else replace(page, body=body[:cut])
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
