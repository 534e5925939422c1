"""The attachments of a message that is too large to be fetched, as the server describes its structure."""

from collections.abc import Iterator
from typing import Any

from keepstep.integrations.mail.charset import decoded
from keepstep.integrations.mail.headers import filename

_DEEPEST = 50


def attachments_in(structure: Any) -> list[dict[str, Any]]:
    """What is attached according to a BODYSTRUCTURE (RFC 3501, as IMAPClient gives it); as far as it makes sense."""
    try:
        return list(_leaves(structure, "", 0))
    except (TypeError, ValueError, IndexError, AttributeError):
        return []


def _leaves(part: Any, number: str, depth: int) -> Iterator[dict[str, Any]]:
    if depth > _DEEPEST or not isinstance(part, tuple) or not part:
        return
    if isinstance(part[0], list):
        for n, child in enumerate(part[0], start=1):
            yield from _leaves(child, f"{number}.{n}" if number else str(n), depth + 1)
        return
    kind = f"{_text(part[0])}/{_text(part[1])}".lower()
    disposition, parameters = _disposition(part)
    given = {**_pairs(part[2]), **parameters}
    name = filename(given.get("filename") or given.get("name") or "")
    if kind in ("text/plain", "text/html") and disposition != "attachment" and not name:
        return
    cid = _text(part[3]).strip("<>") or None
    yield {
        "part": number or "1",
        "filename": name,
        "mimeType": kind,
        "size": _decoded_size(part),
        "inline": disposition == "inline" or (disposition == "" and cid is not None),
        "contentId": cid,
        "hash": None,
    }


def _decoded_size(part: tuple[Any, ...]) -> int | None:
    """The size of the content; the server tells that of its encoding."""
    size = part[6]
    if not isinstance(size, int):
        return None
    # Base64 in lines of 76 characters: 57 bytes for every 78.
    return size * 57 // 78 if _text(part[5]).lower() == "base64" else size


def _disposition(part: tuple[Any, ...]) -> tuple[str, dict[str, str]]:
    for value in part[7:]:
        if isinstance(value, tuple) and len(value) == 2 and _text(value[0]).lower() in ("attachment", "inline"):
            return _text(value[0]).lower(), _pairs(value[1])
    return "", {}


def _pairs(values: Any) -> dict[str, str]:
    if not isinstance(values, tuple):
        return {}
    return {_text(name).lower(): _text(value) for name, value in zip(values[::2], values[1::2], strict=False)}


def _text(value: Any) -> str:
    return decoded(value, None)[0] if isinstance(value, bytes) else "" if value is None else str(value)
