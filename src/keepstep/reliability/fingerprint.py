"""Which errors are the same error: what changes from one to the next is taken out before they are compared."""

import hashlib
import re

_MOST = 300
"""Characters of a text that are compared."""
_CHANGING = (
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE), "<id>"),
    (re.compile(r"\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?"), "<time>"),
    (re.compile(r"\b(?=[a-z_-]*\d)(?=\d*[a-z_-])[\da-z_-]{16,}\b", re.IGNORECASE), "<id>"),
    (re.compile(r"\b(?=[a-f]*\d)[0-9a-f]{8,}\b", re.IGNORECASE), "<id>"),
    (re.compile(r"\d+(?:[.,]\d+)*"), "<n>"),
)


def normalised(text: str) -> str:
    """A text without what differs each time: times, ids, numbers, blanks. ``Run 12 failed`` -> ``run <n> failed``."""
    text = " ".join(text[: 4 * _MOST].split())
    for pattern, name in _CHANGING:
        text = pattern.sub(name, text)
    return text.lower()[:_MOST]


def fingerprint(status: int | None, path: str, text: str) -> str:
    """16 hexadecimal digits that are the same for the same kind of error.

    ``text`` is the beginning of the answer, or the error's message where there was none.
    """
    parts = ("" if status is None else str(status), normalised(path.partition("?")[0]), normalised(text))
    return hashlib.sha256("\0".join(parts).encode("utf-8", "backslashreplace")).hexdigest()[:16]
