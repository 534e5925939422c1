"""What the emulator answers besides data, as facts: status, headers, body."""

from typing import Any

from keepstep.integrations.doorloop.emulator.world import encode
from keepstep.integrations.emulation.answers import HTML, Answer

APP_SHELL = Answer(
    200,
    b'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>DoorLoop</title>'
    b'<script defer src="/static/js/main.js"></script></head><body>'
    b"<noscript>You need to enable JavaScript to run this app.</noscript>"
    b'<div id="root"></div></body></html>',
    HTML,
)
"""What the application's host answers for every path it does not know: success, and not JSON (upstream-apis: FACT)."""

README_PAGE = Answer(
    404,
    b'<!DOCTYPE html><html lang="en" style="" data-color-mode="system" class=" useReactApp  "><head>'
    b'<meta charset="utf-8"><meta name="readme-deploy" content="5.544.0">'
    b'<meta name="readme-subdomain" content="doorloop-emulated">'
    b'<title>Page Not Found</title></head><body><div id="ssr-main"></div></body></html>',
    HTML,
)
"""What the documentation's host answers for every path (FACT)."""


def as_json(status: int, body: Any, **headers: str) -> Answer:
    """A JSON answer; header names are given with underscores."""
    return Answer(status, encode(body), headers={name.replace("_", "-"): value for name, value in headers.items()})


def message(status: int, text: str) -> Answer:
    """An error as DoorLoop phrases it. The ``message`` key is a FACT for 400 only, a guess for the rest."""
    return as_json(status, {"message": text})


def invalid(parameter: str, text: str) -> Answer:
    """A refused parameter (the shape is a FACT, captured from a report endpoint)."""
    return as_json(400, {"errors": {parameter: text}, "message": "Validation Failed"})


def listing(total: int, records: list[bytes], *, pretty: bool = False, data_first: bool = False) -> Answer:
    """One page in the envelope."""
    if pretty:
        return Answer(200, b'{\n  "total": %d,\n  "data": [\n%b\n  ]\n}\n' % (total, b",\n".join(records)))
    if data_first:
        return Answer(200, b'{"data":[%b],"total":%d}' % (b",".join(records), total))
    return Answer(200, b'{"total":%d,"data":[%b]}' % (total, b",".join(records)))
