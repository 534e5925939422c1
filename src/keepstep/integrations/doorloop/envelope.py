"""A page taken out of its envelope, ``{"total": n, "data": [...]}``, with the records left undecoded.

Source of the shape: https://api.doorloop.com/reference/pagination.
"""

import re
from collections.abc import Callable
from typing import Annotated, Any

import msgspec
from msgspec import Raw

from keepstep.integrations.doorloop.answers import DOCS, FACTS
from keepstep.integrations.http import Response
from keepstep.integrations.lenient import split_list
from keepstep.model.errors import Answer, NotData


class Envelope(msgspec.Struct):
    """One page as it came: upstream's count of the whole listing, and the records undecoded."""

    total: Annotated[int, msgspec.Meta(ge=0)]
    data: list[Raw]


_ENVELOPE = msgspec.json.Decoder(Envelope)
_BOM = b"\xef\xbb\xbf"


def decode_envelope(response: Response, shown: Callable[[], Answer]) -> Envelope:
    """The page of an answer, records undecoded. Raises ``NotData`` where it is not ``{"total": n, "data": [...]}``."""
    body = response.body.removeprefix(_BOM)
    try:
        return _ENVELOPE.decode(body)
    except msgspec.ValidationError:
        raise _wrong_envelope(body, shown()) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        why = error
    # One record that is not strict JSON (a lone surrogate, NaN) must not take its page with it.
    page = split_leniently(body)
    if page is None:
        raise _broken(body, why, shown())
    return page


def _broken(body: bytes, why: Exception, answer: Answer) -> NotData:
    facts = {**FACTS, "path": answer.path, "count": len(body)}
    if "truncated" in str(why):
        return NotData.named("json-cut-off", facts=facts, answer=answer)
    return NotData.named("bad-json", facts={**facts, "detail": _where(why)}, answer=answer)


def _where(why: Exception) -> str:
    """Where it goes wrong, without a byte of what stands there."""
    if isinstance(why, RecursionError):
        return "it is nested too deeply"
    if isinstance(why, UnicodeDecodeError):
        return "it is no UTF-8"
    place = re.search(r"byte ([0-9]+)", str(why))
    return f"it goes wrong at byte {place[1]}" if place else "it cannot be decoded"


def _wrong_envelope(body: bytes, answer: Answer) -> NotData:
    facts = {**FACTS, "path": answer.path, "detail": _envelope_fault(body), "see": f" ({DOCS}/pagination)"}
    return NotData.named("wrong-envelope", facts=facts, answer=answer)


def _envelope_fault(body: bytes) -> str:
    try:
        value: Any = msgspec.json.decode(body, type=dict[str, Raw])
    except (msgspec.MsgspecError, UnicodeDecodeError):
        return "it has no {total, data} around the records"
    missing = [name for name in ("total", "data") if name not in value]
    if missing:
        return " and ".join(f'"{name}"' for name in missing) + (" are" if len(missing) > 1 else " is") + " missing"
    if bytes(value["data"])[:1] != b"[":
        return '"data" is not a list'
    return '"total" is not a whole number of at least 0'


def split_leniently(body: bytes) -> Envelope | None:
    """The page of a body that strict JSON does not allow, or None when it is not a whole one."""
    page = split_list(body, "data")
    if page is None:
        return None
    total = _COUNT.fullmatch(page.heads.get("total", b""))
    return Envelope(int(total[0]), page.records) if total else None


_COUNT = re.compile(rb"[0-9]{1,18}")
